"""The incident book: one cause is one incident, and how one begins, goes on and ends."""

from typing import Any, Final

import pytest
from msgspec.structs import replace

from schemas.control import CommandRecord
from schemas.incident import EVIDENCE_MAX, Incident, Severity, Slice
from schemas.times import format_ms
from streams.guard.book import (
    AFTER_MS,
    ALONE_MS,
    DECLARED_MS_MAX,
    FREEZE_AFTER_MS,
    GROWN_MS,
    KEPT_MS,
    QUIET_MS,
    UPDATE_MS,
    Book,
    open_of,
)
from streams.guard.detector import Verdict

NOW: Final = 1_760_000_000_000
TWITTER, MASTODON = Slice(network="twitter"), Slice(network="mastodon")
WEST, EAST = Slice(network="twitter", source="west"), Slice(network="twitter", source="east")
PARTITION_2, PARTITION_3, ALL = Slice(partition=2), Slice(partition=3), Slice()


def verdict(
    of: Slice = TWITTER, severity: Severity = "major", *, firing: bool = True, kind: Any = "feed_partial", **rest: Any
) -> Verdict:
    return Verdict(kind, of, firing, severity, rest.pop("detail", "half of it is missing"), {"share": 0.5}, **rest)


def record(command: Any, at_ms: int = NOW, *, accepted: bool = True, **about: Any) -> CommandRecord:
    at = format_ms(at_ms)
    given: dict[str, Any] = {
        "id": f"{command}-{at_ms}",
        "key": "ops",
        "reason": "because",
        "epoch": 0,
        "why": None,
    } | about
    return CommandRecord(command=command, subject="", issued=at, received=at, accepted=accepted, **given)


class Written:
    """A book, and the topic that it writes to."""

    def __init__(self, **options: Any) -> None:
        self.book = Book("1", **options)
        self.topic: list[Incident] = []

    def look(self, now_ms: int = NOW) -> list[Incident]:
        """Let the book write what is due, and take it back as the topic brings it; return it."""
        self.book.look(now_ms)
        due = self.book.due(now_ms)
        for incident in due:
            self.book.wrote(incident, now_ms)
            self.topic.append(incident)
        for incident in due:
            self.book.take(incident)
        return due

    def say(self, *verdicts: Verdict, now_ms: int = NOW, detector: str = "") -> list[Incident]:
        for of in verdicts:
            self.book.judge(detector or of.kind, of, now_ms)
        return self.look(now_ms)

    def order(self, of: CommandRecord, now_ms: int = NOW) -> list[Incident]:
        self.book.obey(of, now_ms)
        return self.look(now_ms)

    @property
    def last(self) -> Incident:
        return self.topic[-1]


@pytest.fixture
def written() -> Written:
    return Written()


def of_a_task(partition: int = 2, status: Any = "investigating", at_ms: int = NOW, **more: Any) -> Incident:
    return Incident(
        id=f"law_violation:1:{partition}:17:0",
        kind="law_violation",
        slice=Slice(partition=partition),
        severity="critical",
        status=status,
        title="it stands still",
        opened=format_ms(at_ms),
        updated=format_ms(at_ms),
        evidence=[],
        affected_users=1,
        users=["t:1"],
        model="1",
        **more,
    )


def test_a_finding_opens_an_incident_that_is_named_after_what_it_is_about(written: Written) -> None:
    [incident] = written.say(verdict(WEST, since_ms=NOW - 5_000, users=("t:1", "t:2")))
    assert incident.id == f"feed_partial/twitter:west/{format_ms(NOW)}"
    assert (incident.kind, incident.slice, incident.severity, incident.status) == (
        "feed_partial",
        WEST,
        "major",
        "investigating",
    )
    assert (incident.since, incident.users, incident.affected_users) == (format_ms(NOW - 5_000), ["t:1", "t:2"], 2)
    [found] = incident.evidence
    assert (found.finding, found.numbers, found.at) == ("feed_partial", {"share": 0.5}, format_ms(NOW))


def test_a_consequence_joins_the_incident_that_it_names_and_changes_nothing_else_of_it(written: Written) -> None:
    [before] = written.order(record("declare", incident="flood", network="twitter"))
    lowered = verdict(ALL, "critical", firing=False, kind="population_fall", incident="flood", finding="taken_back")
    assert written.say(lowered, now_ms=NOW + 1) == []
    [after] = written.look(NOW + UPDATE_MS)
    [found] = after.evidence
    assert (found.finding, found.detail) == ("taken_back", lowered.detail)
    assert replace(after, evidence=[], updated=before.updated) == before
    assert written.book.firing() == []


def test_a_consequence_of_what_is_not_open_opens_nothing(written: Written) -> None:
    written.order(record("declare", incident="flood"))
    written.order(record("resolve", incident="flood"))
    lowered = verdict(ALL, firing=False, kind="population_fall", incident="flood", finding="taken_back")
    assert written.say(lowered, lowered._replace(incident="never heard of"), now_ms=NOW + UPDATE_MS) == []


FELL: Final = verdict(ALL, kind="population_fall", detail="many fell")
AT_FLOOR: Final = [verdict(of, kind="population_at_floor", detail="at 1") for of in (TWITTER, MASTODON)]


@pytest.mark.parametrize("order", [[*AT_FLOOR, FELL], [FELL, *AT_FLOOR]])
def test_what_all_scores_do_those_of_each_network_do_and_it_is_one_incident(
    written: Written, order: list[Verdict]
) -> None:
    for of in order:
        written.say(of, detector=f"{of.kind} {of.slice.network}")
    assert [(of.kind, of.slice) for of in written.look(NOW + ALONE_MS + UPDATE_MS)] == [("population_fall", ALL)]
    assert len(written.last.evidence) == 3
    assert len(written.book.incidents()) == 1


def test_what_is_found_of_the_scores_of_one_network_alone_is_about_it_until_all_are_found_to_fall(
    written: Written,
) -> None:
    assert written.say(AT_FLOOR[0]) == []
    [incident] = written.look(NOW + ALONE_MS)
    assert incident.slice == TWITTER
    written.say(FELL, now_ms=NOW + ALONE_MS + UPDATE_MS)
    assert (written.last.id, written.last.slice) == (incident.id, ALL)
    assert "many fell" in written.last.title


def test_what_is_found_of_the_scores_of_several_networks_at_a_time_is_one_incident_about_all(written: Written) -> None:
    for of in AT_FLOOR:
        written.say(of, detector=str(of.slice.network))
    assert [of.slice for of in written.look(NOW + ALONE_MS)] == [ALL]
    assert len(written.book.incidents()) == 1
    assert written.last.title.startswith("population at floor, all: ")


def test_what_is_found_of_another_network_once_that_is_over_is_an_incident_of_its_own(written: Written) -> None:
    for of, at_ms in zip(AT_FLOOR, (NOW, NOW + 60_000), strict=True):
        written.say(of, detector=str(of.slice.network), now_ms=at_ms)
        written.look(at_ms + ALONE_MS)
        written.say(of._replace(firing=False), detector=str(of.slice.network), now_ms=at_ms + 10_000)
    assert {of.slice for of in written.book.incidents()} == {TWITTER, MASTODON}


def test_a_headline_says_how_bad_it_was_while_it_eases(written: Written) -> None:
    written.say(verdict(detail="half of it is missing"))
    written.say(verdict(detail="a third is missing", eases=True), now_ms=NOW + UPDATE_MS)
    assert "half of it" in written.last.title
    assert written.last.evidence[-1].detail == "a third is missing"
    written.say(verdict(detail="all of it is missing"), now_ms=NOW + 2 * UPDATE_MS)
    assert "all of it" in written.last.title


def test_a_count_that_has_grown_much_is_written_soon(written: Written) -> None:
    [incident] = written.say(verdict())
    written.book.touch(incident.id, 10, ["t:1"])
    assert [of.affected_users for of in written.look(NOW + 1)] == [10], "the first of them at once"
    written.book.touch(incident.id, 14, ["t:1"])
    assert written.look(NOW + 1 + GROWN_MS) == []
    written.book.touch(incident.id, 15, ["t:1"])
    assert written.look(NOW + GROWN_MS) == []
    assert [of.affected_users for of in written.look(NOW + 1 + GROWN_MS)] == [15]


def test_what_is_said_before_anybody_looks_opens_nothing_when_it_is_over_by_then(written: Written) -> None:
    written.book.judge("feed_partial", verdict(), NOW)
    written.book.judge("feed_partial", verdict(firing=False), NOW)
    assert written.look() == []


@pytest.mark.parametrize(
    ("first", "second", "slice_after"),
    [
        (TWITTER, TWITTER, TWITTER),
        (TWITTER, WEST, TWITTER),
        (WEST, TWITTER, TWITTER),
        (TWITTER, Slice(network="twitter", raw_partition=3), TWITTER),
        (PARTITION_2, PARTITION_2, PARTITION_2),
        (ALL, ALL, ALL),
    ],
)
def test_findings_about_the_same_are_one_incident(
    written: Written, first: Slice, second: Slice, slice_after: Slice
) -> None:
    written.say(verdict(first))
    written.say(verdict(second, "critical", kind="feed_stalled"), now_ms=NOW + 1)
    assert len({incident.id for incident in written.topic}) == 1
    assert (written.last.severity, written.last.slice) == ("critical", slice_after)
    assert [found.finding for found in written.last.evidence] == ["feed_partial", "feed_stalled"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (TWITTER, MASTODON),
        (WEST, EAST),
        (ALL, TWITTER),
        (TWITTER, ALL),
        (PARTITION_2, Slice(partition=3)),
        (ALL, PARTITION_2),
    ],
)
def test_findings_about_different_things_are_two_incidents(written: Written, first: Slice, second: Slice) -> None:
    assert len(written.say(verdict(first), verdict(second))) == 2


def test_severity_never_falls(written: Written) -> None:
    written.say(verdict(severity="critical"))
    written.say(verdict(severity="minor", detail="better"), now_ms=NOW + UPDATE_MS)
    assert (written.last.severity, written.last.evidence[-1].detail) == ("critical", "better")


def test_numbers_alone_are_written_seldom_and_worse_ones_at_once(written: Written) -> None:
    written.say(verdict())
    assert written.say(verdict(detail="a third"), now_ms=NOW + UPDATE_MS - 1) == []
    [later] = written.look(NOW + UPDATE_MS)
    assert later.evidence[-1].detail == "a third"
    assert [of.severity for of in written.say(verdict(severity="critical"), now_ms=NOW + UPDATE_MS + 1)] == ["critical"]
    assert written.look(NOW + 10 * UPDATE_MS) == []


def test_the_first_finding_of_each_detector_is_kept_and_then_the_newest(written: Written) -> None:
    written.say(verdict(detail="first"))
    for number in range(2 * EVIDENCE_MAX):
        written.say(verdict(kind="feed_stalled", detail=str(number)), now_ms=NOW + number * UPDATE_MS)
    details = [found.detail for found in written.last.evidence]
    assert len(details) == EVIDENCE_MAX
    assert details[:2] == ["first", "0"]
    assert details[-1] == str(2 * EVIDENCE_MAX - 1)


def test_an_incident_is_monitored_when_nothing_fires_and_ends_when_it_stays_so(written: Written) -> None:
    written.say(verdict(), verdict(kind="feed_stalled"))
    assert written.say(verdict(firing=False), now_ms=NOW + 1) == []
    [quiet] = written.say(verdict(kind="feed_stalled", firing=False), now_ms=NOW + 2)
    assert quiet.status == "monitoring"
    written.look(NOW + 1 + QUIET_MS)
    assert written.last.status == "monitoring"
    [ended] = written.look(NOW + 2 + QUIET_MS)
    assert (ended.status, ended.reference) == ("resolved", None)


def test_what_fires_again_while_it_is_monitored_goes_on_with_the_incident(written: Written) -> None:
    written.say(verdict())
    written.say(verdict(firing=False), now_ms=NOW + 1)
    [again] = written.say(verdict(), now_ms=NOW + QUIET_MS)
    assert (again.id, again.status) == (written.topic[0].id, "investigating")
    written.say(verdict(firing=False), now_ms=NOW + QUIET_MS + 1)
    written.look(NOW + 2 * QUIET_MS)
    assert written.last.status == "monitoring"


def test_what_is_found_in_quiet_time_is_another_incident_unless_both_are_of_the_population(written: Written) -> None:
    of_all = Slice()
    written.say(verdict(of_all, kind="population_fall"))
    written.say(verdict(of_all, kind="population_fall", firing=False), now_ms=NOW + 1)
    [again] = written.say(verdict(of_all, kind="population_shift"), now_ms=NOW + 2)
    assert (again.id, again.status) == (written.topic[0].id, "investigating")
    written.say(verdict(of_all, kind="population_shift", firing=False), now_ms=NOW + 3)
    [other] = written.say(verdict(of_all, kind="feed_stalled"), now_ms=NOW + 4)
    assert other.id != again.id


def test_what_fires_again_after_its_end_is_a_new_incident(written: Written) -> None:
    written.say(verdict())
    written.say(verdict(firing=False), now_ms=NOW + 1)
    written.look(NOW + 1 + QUIET_MS)
    written.say(verdict(), now_ms=NOW + 2 * QUIET_MS)
    assert written.last.id != written.topic[0].id
    assert written.last.status == "investigating"


def test_a_note_says_that_the_cause_is_known_and_is_taken_once(written: Written) -> None:
    [incident] = written.say(verdict())
    [noted] = written.order(record("note", NOW + 1, incident=incident.id, reason="a cable"), NOW + 2)
    assert (noted.status, [note.text for note in noted.notes]) == ("identified", ["a cable"])
    assert written.order(record("note", NOW + 1, incident=incident.id, reason="a cable"), NOW + 3) == []


def test_an_operator_ends_an_incident_and_what_goes_on_firing_opens_none(written: Written) -> None:
    [incident] = written.say(verdict())
    [ended] = written.order(record("resolve", NOW + 1, incident=incident.id), NOW + 2)
    assert (ended.status, ended.reference) == ("resolved", f"resolve-{NOW + 1}")
    assert written.say(verdict(detail="the same"), now_ms=NOW + 3) == []
    assert written.look(NOW + 2 * QUIET_MS) == []


def test_what_gets_worse_after_an_operator_ended_it_opens_a_new_incident(written: Written) -> None:
    [incident] = written.say(verdict())
    written.order(record("resolve", NOW + 1, incident=incident.id), NOW + 2)
    [worse] = written.say(verdict(severity="critical"), now_ms=NOW + 3)
    assert worse.id != incident.id


@pytest.mark.parametrize("first", ["1", "2"])
@pytest.mark.parametrize("skew_ms", [-5_000, 5_000])
def test_of_two_guards_of_two_models_one_answers_for_a_declared_incident(first: str, skew_ms: int) -> None:
    books = {model: Book(model) for model in sorted("12", key=lambda model: model != first)}
    topic: list[Incident] = []
    for book in books.values():
        book.obey(record("declare", incident="mine", network="twitter", reason="half"), NOW)
    for turn in range(3):
        written = []
        for model, book in books.items():
            now_ms = NOW + 1_000 * turn + (skew_ms if model == "2" else 0)
            book.look(now_ms)
            for incident in book.due(now_ms):
                book.wrote(incident, now_ms)
                written.append(incident)
        topic += written
        for incident in written:
            for book in books.values():
                book.take(incident)
    assert topic[-1].model == "1"
    assert len(topic) <= 3
    assert [incident.model for book in books.values() for incident in book.incidents()] == ["1", "1"]
    assert [book.due(NOW + 9_000) for book in books.values()] == [[], []]


def test_a_declared_incident_stays_until_an_operator_ends_it(written: Written) -> None:
    [incident] = written.order(record("declare", incident="mine", network="twitter", source="west", reason="half"))
    assert (incident.id, incident.kind, incident.slice, incident.title) == ("mine", "declared", WEST, "half")
    assert written.look(NOW + 10 * QUIET_MS) == []
    [joined] = written.say(verdict(), now_ms=NOW + 10 * QUIET_MS + 1)
    assert (joined.id, joined.slice) == ("mine", WEST)
    written.say(verdict(firing=False), now_ms=NOW + 11 * QUIET_MS)
    written.look(NOW + 13 * QUIET_MS)
    assert open_of(written.book.incidents())
    written.order(record("resolve", NOW + 14 * QUIET_MS, incident="mine"), NOW + 14 * QUIET_MS)
    assert written.last.status == "resolved"


def test_a_declaration_is_taken_once_and_not_when_it_is_older_than_the_topic(written: Written) -> None:
    declaration = record("declare", incident="mine")
    written.order(declaration)
    assert written.order(declaration, NOW + 1) == []
    other = Written()
    assert other.order(declaration, NOW + DECLARED_MS_MAX + 1) == []


def test_commands_that_were_refused_or_name_nothing_change_nothing(written: Written) -> None:
    assert written.order(record("declare", incident="mine", accepted=False, why="no_reason")) == []
    assert written.order(record("note", incident="unheard-of")) == []
    assert written.order(record("resolve", incident="unheard-of")) == []


def test_a_critical_finding_about_one_network_freezes_it_once(written: Written) -> None:
    written.say(verdict(severity="critical"))
    [freeze] = written.book.to_freeze(NOW)
    assert (freeze.network, freeze.incident) == ("twitter", written.last.id)
    written.book.froze(freeze)
    assert written.book.to_freeze(NOW) == []
    assert [of.frozen for of in written.look()] == [["twitter"]]
    written.order(record("freeze", network="twitter", incident=written.last.id, id="guard-1"))
    assert written.last.status == "investigating"
    written.order(record("resume", NOW + 1, network="twitter"), NOW + 1)
    written.say(verdict(severity="critical", detail="still"), now_ms=NOW + UPDATE_MS)
    assert written.book.to_freeze(NOW) == []


@pytest.mark.parametrize(
    "found",
    [
        verdict(severity="major"),
        verdict(ALL, "critical"),
        verdict(PARTITION_2, "critical"),
        verdict(severity="critical", kind="feed_stalled"),
    ],
)
def test_nothing_else_freezes_a_network(written: Written, found: Verdict) -> None:
    written.say(found)
    assert written.book.to_freeze(NOW) == []


def test_nothing_freezes_where_the_settings_say_so_or_it_is_frozen() -> None:
    never, already = Written(freeze=False), Written()
    never.say(verdict(severity="critical"))
    assert never.book.to_freeze(NOW) == []
    already.order(record("freeze", network="twitter"))
    already.say(verdict(severity="critical"))
    assert already.book.to_freeze(NOW) == []


def test_a_freeze_that_was_overtaken_is_ordered_again(written: Written) -> None:
    written.say(verdict(severity="critical"))
    [freeze] = written.book.to_freeze(NOW)
    written.book.froze(freeze)
    refused: dict[str, Any] = {"network": "twitter", "incident": freeze.incident, "accepted": False, "id": "guard-1"}
    written.order(record("freeze", **refused, why="not_permitted"))
    assert written.book.to_freeze(NOW) == []
    written.order(record("freeze", **refused, why="issued_before"))
    assert written.book.to_freeze(NOW) == [freeze]


def test_an_incident_that_froze_a_network_does_not_end_before_it_is_resumed(written: Written) -> None:
    written.say(verdict(severity="critical"))
    [freeze] = written.book.to_freeze(NOW)
    written.book.froze(freeze)
    written.order(record("freeze", network="twitter", incident=freeze.incident, id="guard-1"))
    written.say(verdict(severity="critical", firing=False), now_ms=NOW + 1)
    written.look(NOW + 3 * QUIET_MS)
    assert written.last.status == "monitoring"
    resumed_ms = NOW + 3 * QUIET_MS
    [resumed] = written.order(record("resume", resumed_ms, network="twitter"), resumed_ms)
    assert (resumed.reference, resumed.frozen) == (f"resume-{resumed_ms}", [])
    assert written.look(resumed_ms + QUIET_MS - 1) == []
    assert [of.status for of in written.look(resumed_ms + QUIET_MS)] == ["resolved"]


def test_a_network_that_was_resumed_is_not_said_to_be_frozen_and_is_not_frozen_again_for_the_same(
    written: Written,
) -> None:
    written.say(verdict(severity="critical"))
    [freeze] = written.book.to_freeze(NOW)
    written.book.froze(freeze)
    written.order(record("freeze", network="twitter", incident=freeze.incident, id="guard-1"))
    assert list(written.book.frozen()) == ["twitter"]
    [resumed] = written.order(record("resume", NOW + 1, network="twitter"), NOW + 1)
    assert (resumed.frozen, resumed.status) == ([], "identified")
    assert written.book.frozen() == {}
    for book in (written, gone_on_with(written)):
        book.say(verdict(severity="critical", detail="still"), now_ms=NOW + UPDATE_MS)
        assert book.book.to_freeze(NOW) == []


def test_an_incident_that_was_resolved_while_its_network_was_frozen_says_when_that_goes_on(written: Written) -> None:
    written.say(verdict(severity="critical"))
    [freeze] = written.book.to_freeze(NOW)
    written.book.froze(freeze)
    written.order(record("freeze", network="twitter", incident=freeze.incident, id="guard-1"))
    [resolved] = written.order(record("resolve", NOW + 1, incident=freeze.incident), NOW + 1)
    assert (resolved.status, resolved.frozen) == ("resolved", ["twitter"])
    assert list(written.book.frozen()) == ["twitter"]
    [resumed] = written.order(record("resume", NOW + 2, network="twitter"), NOW + 2)
    assert (resumed.status, resumed.frozen, resumed.notes[-1].text) == ("resolved", [], "twitter is resumed: because")


def frozen_and_resumed(written: Written) -> str:
    """A critical finding that froze its network, was resumed, and ended; return its incident's id."""
    written.say(verdict(severity="critical"))
    [freeze] = written.book.to_freeze(NOW)
    written.book.froze(freeze)
    written.order(record("freeze", network="twitter", incident=freeze.incident, id="guard-1"))
    written.order(record("resume", NOW + 1, network="twitter"), NOW + 1)
    written.say(verdict(firing=False, severity="critical"), now_ms=NOW + 2)
    return freeze.incident


def test_what_begins_again_is_not_known_yet_has_its_own_headline_and_freezes_again(written: Written) -> None:
    incident = frozen_and_resumed(written)
    assert written.last.status == "monitoring"
    [again] = written.say(verdict(severity="critical", detail="all of it is missing"), now_ms=NOW + 60_000)
    assert (again.id, again.status) == (incident, "investigating")
    assert again.title == "feed partial, twitter: all of it is missing"
    for book in (written, gone_on_with(written)):
        book.look(NOW + 60_001)
        assert [freeze.network for freeze in book.book.to_freeze(NOW + 60_001)] == ["twitter"]
        assert book.last.status == "investigating"


def test_the_headline_says_how_it_is_now_and_not_what_joined(written: Written) -> None:
    written.say(verdict(kind="feed_stalled", detail="no collector sends"))
    written.say(verdict(kind="feed_stalled", detail="no collector sends for 20 s"), now_ms=NOW + UPDATE_MS)
    assert written.last.title == "feed stalled, twitter: no collector sends for 20 s"
    written.say(verdict(kind="canary", severity="critical"), now_ms=NOW + 2 * UPDATE_MS)
    written.say(verdict(kind="feed_stalled", firing=False, detail="it sends"), now_ms=NOW + 3 * UPDATE_MS)
    assert written.last.title == "feed stalled, twitter: no collector sends for 20 s"


def test_a_wrong_score_of_one_network_freezes_it_when_nothing_is_known_of_all(written: Written) -> None:
    written.say(verdict(kind="canary", severity="critical"))
    assert written.book.to_freeze(NOW + FREEZE_AFTER_MS - 1) == []
    assert [freeze.network for freeze in written.book.to_freeze(NOW + FREEZE_AFTER_MS)] == ["twitter"]


@pytest.mark.parametrize(
    "also",
    [
        verdict(ALL, "critical", kind="population_fall"),
        verdict(Slice(network="mastodon"), "critical", kind="canary"),
    ],
)
def test_wrong_scores_of_all_networks_are_no_feeds_fault_and_freeze_none(written: Written, also: Verdict) -> None:
    written.say(verdict(kind="canary", severity="critical"))
    written.say(also, now_ms=NOW + 1)
    assert written.book.to_freeze(NOW + FREEZE_AFTER_MS) == []


@pytest.mark.parametrize(
    "also",
    [
        verdict(ALL, "critical", kind="population_fall"),
        verdict(Slice(network="mastodon"), "critical", kind="canary"),
    ],
)
def test_the_last_network_that_is_right_again_is_not_frozen_for_what_was_wrong_with_all(
    written: Written, also: Verdict
) -> None:
    written.say(verdict(kind="canary", severity="critical"))
    written.say(also, now_ms=NOW + 1)
    over = NOW + 2 * FREEZE_AFTER_MS
    assert written.book.to_freeze(over) == []
    written.say(also._replace(firing=False), now_ms=over)
    assert written.book.to_freeze(over + AFTER_MS - 1) == []
    assert [freeze.network for freeze in written.book.to_freeze(over + AFTER_MS)] == ["twitter"]


def test_what_something_else_explained_until_lately_freezes_nothing_yet(written: Written) -> None:
    written.say(verdict(ALL, "critical", kind="population_fall"))
    written.say(verdict(kind="canary", severity="critical"), now_ms=NOW + 1)
    written.say(verdict(ALL, "critical", kind="population_fall", firing=False), now_ms=NOW + 2)
    opened = NOW + 2 + AFTER_MS
    assert [of.kind for of in [*written.look(opened - 1), *written.look(opened)]] == ["canary"]
    assert written.book.to_freeze(opened + FREEZE_AFTER_MS) == []


def test_what_joined_a_declaration_explains_canaries_as_its_own_incident_would(written: Written) -> None:
    written.order(record("declare", incident="mine", reason="scores look odd"))
    written.say(verdict(ALL, "critical", kind="population_fall"))
    assert written.last.id == "mine"
    assert written.say(verdict(MASTODON, "critical", kind="canary"), now_ms=NOW + 1) == []
    written.say(verdict(ALL, "critical", kind="population_fall", firing=False), now_ms=NOW + 2)
    assert {of.id for of in written.look(NOW + 1 + AFTER_MS)} <= {"mine"}
    assert "canary" in {of.kind for of in written.look(NOW + 3 + AFTER_MS)}


def test_a_feeds_own_surge_freezes_it_also_where_the_population_falls_by_it(written: Written) -> None:
    written.say(verdict(ALL, "critical", kind="population_fall"))
    written.say(verdict(kind="retraction_surge", severity="critical"))
    assert [freeze.network for freeze in written.book.to_freeze(NOW)] == ["twitter"]


def test_wrong_canaries_are_one_case_with_the_fall_of_all(written: Written) -> None:
    written.say(verdict(ALL, "critical", kind="population_fall"))
    assert written.say(verdict(kind="canary", severity="critical"), now_ms=NOW + 1) == []
    written.say(verdict(ALL, "critical", kind="population_fall", firing=False), now_ms=NOW + 2)
    assert written.look(NOW + 2 + AFTER_MS - 1) == []
    assert [of.kind for of in written.look(NOW + 2 + AFTER_MS)] == ["canary"]


def test_that_somebody_is_touched_is_written_at_once(written: Written) -> None:
    [incident] = written.say(verdict())
    written.book.touch(incident.id, 7, ["t:1"])
    [touched] = written.look(NOW + 1)
    assert touched.affected_users == 7
    written.book.touch(incident.id, 9, ["t:1"])
    assert written.look(NOW + 2) == []


LATE = verdict(kind="canary_late", detail="no change came")


def test_what_is_late_because_a_partition_stands_is_no_case_of_its_own(written: Written) -> None:
    written.book.take(of_a_task())
    assert written.say(LATE) == []
    written.book.take(of_a_task(status="resolved", at_ms=NOW + 60_000))
    assert written.look(NOW + 60_000 + AFTER_MS - 1) == []
    [late] = written.look(NOW + 60_000 + AFTER_MS)
    assert late.kind == "canary_late"


def test_what_is_late_where_nothing_else_is_wrong_is_a_case(written: Written) -> None:
    mastodon = Slice(network="mastodon")
    written.say(verdict(mastodon, kind="feed_stalled"))
    [late] = written.say(LATE)
    assert (late.kind, late.slice, late.severity, late.affected_users) == ("canary_late", TWITTER, "major", 0)


def test_a_cause_that_is_found_later_explains_what_was_late(written: Written) -> None:
    written.say(LATE)
    [silent, late] = written.say(verdict(PARTITION_2, kind="partition_silent"), now_ms=NOW + 1)[::-1]
    assert (silent.kind, late.status) == ("partition_silent", "identified")
    assert late.evidence[-1].detail == f"explained by {silent.id}"


def test_an_operators_freeze_says_that_the_cause_is_known(written: Written) -> None:
    [incident] = written.say(verdict())
    [frozen] = written.order(record("freeze", network="twitter", incident=incident.id, reason="stop it"), NOW + 1)
    assert (frozen.status, frozen.frozen) == ("identified", ["twitter"])
    assert frozen.notes[0].text == "twitter is frozen: stop it"


def test_a_partition_that_tells_its_own_incident_gets_no_second_one(written: Written) -> None:
    written.book.take(of_a_task())
    assert written.say(verdict(PARTITION_2, "critical", kind="partition_silent")) == []
    written.book.take(of_a_task(status="resolved", at_ms=NOW + 1))
    assert [of.kind for of in written.look(NOW + 2)] == ["partition_silent"]


def test_a_partitions_own_incident_explains_what_was_found_there_before(written: Written) -> None:
    [before] = written.say(verdict(PARTITION_2, kind="partition_silent"))
    written.book.take(of_a_task(at_ms=NOW + 1))
    [after] = written.look(NOW + 2)
    assert (after.id, after.status) == (before.id, "identified")
    assert after.evidence[-1].detail == "explained by law_violation:1:2:17:0"


def test_an_operator_does_not_resolve_what_a_partition_resolves_itself(written: Written) -> None:
    task = of_a_task()
    written.book.take(task)
    assert written.order(record("resolve", incident=task.id)) == []


def test_a_note_on_a_partitions_incident_stays_when_the_partition_writes_it_again(written: Written) -> None:
    task = of_a_task()
    written.book.take(task)
    [noted] = written.order(record("note", incident=task.id, reason="a cable"), NOW + 1)
    assert replace(noted, notes=[], updated=task.updated) == task
    written.book.take(of_a_task(status="resolved", at_ms=NOW + 2))
    [again] = written.look(NOW + 2 + UPDATE_MS)
    assert (again.status, [note.text for note in again.notes]) == ("resolved", ["a cable"])


def test_the_book_forgets_what_ended_long_ago(written: Written) -> None:
    [incident] = written.say(verdict())
    written.order(record("resolve", incident=incident.id))
    written.look(NOW + KEPT_MS)
    assert [of.id for of in written.book.incidents()] == [incident.id]
    written.look(NOW + KEPT_MS + 1)
    assert written.book.incidents() == []


def gone_on_with(former: Written) -> Written:
    """Return a book that goes on with what the topic and the stored state of another one say."""
    standby = Written()
    for incident in former.topic:
        standby.book.take(incident)
    standby.book.restore(former.book.state())
    standby.topic = [*former.topic]
    return standby


def test_a_standby_goes_on_with_what_fires_and_opens_nothing_again(written: Written) -> None:
    [incident] = written.say(verdict(severity="critical"))
    standby = gone_on_with(written)
    assert standby.look(NOW + QUIET_MS) == []
    [quiet] = standby.say(verdict(firing=False), now_ms=NOW + QUIET_MS + 1)
    assert (quiet.id, quiet.status) == (incident.id, "monitoring")


def test_a_standby_that_hears_of_an_end_before_it_looked_notes_it_with_its_numbers(written: Written) -> None:
    [incident] = written.say(verdict())
    standby = Written()
    standby.book.take(incident)
    # Nothing was stored: the finding is read again, and so is its end.
    standby.book.judge("feed_partial", verdict(), NOW + 1)
    standby.book.judge("feed_partial", verdict(firing=False, detail="all of it comes"), NOW + 2)
    [ended] = standby.look(NOW + 3)
    assert (ended.id, ended.status, ended.evidence[-1].detail) == (incident.id, "monitoring", "all of it comes")


def test_a_standby_counts_quiet_time_from_where_it_began(written: Written) -> None:
    written.say(verdict())
    written.say(verdict(firing=False), now_ms=NOW + 1)
    standby = gone_on_with(written)
    assert [of.status for of in standby.look(NOW + 1 + QUIET_MS)] == ["resolved"]


def test_a_standby_knows_what_is_frozen_and_what_an_operator_ended(written: Written) -> None:
    [incident] = written.say(verdict(severity="critical"))
    written.order(record("freeze", network="twitter"))
    written.order(record("resolve", incident=incident.id))
    standby = gone_on_with(written)
    assert standby.say(verdict(severity="critical", detail="still"), now_ms=NOW + 1) == []
    standby.say(verdict(kind="canary", severity="critical"), now_ms=NOW + 2)
    assert standby.book.to_freeze(NOW) == []


def test_a_finding_stored_before_its_incident_was_joins_what_the_topic_has(written: Written) -> None:
    stored = written.book.state()
    [incident] = written.say(verdict())
    standby = Written()
    standby.book.take(incident)
    standby.book.restore(stored)
    standby.say(verdict(), now_ms=NOW + 1)
    assert [of.id for of in standby.book.incidents()] == [incident.id]


@pytest.mark.parametrize("damaged", [b"", b"\xc1", b"\x93\x01\x02\x03"])
def test_a_state_that_cannot_be_read_is_an_error(written: Written, damaged: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        written.book.restore(damaged)


def test_of_two_records_of_an_incident_the_newer_one_counts(written: Written) -> None:
    [incident] = written.say(verdict())
    newer = replace(incident, updated=format_ms(NOW + 5), affected_users=7)
    written.book.take(newer)
    written.book.take(replace(incident, updated=format_ms(NOW - 5), title="old"))
    assert written.book.incidents() == [newer]


def test_whom_an_incident_touches_is_written_with_the_next_record(written: Written) -> None:
    [incident] = written.say(verdict(users=("t:1",)))
    written.book.touch(incident.id, 2_000, ["t:2", "t:1"])
    assert written.look(NOW + 1) == []
    [later] = written.look(NOW + UPDATE_MS)
    assert (later.affected_users, later.users) == (2_000, ["t:1", "t:2"])
