"""Whom an incident touches, and nobody else: by the rule of its kind, and through a real Kafka."""

import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, Final

import pytest
from confluent_kafka import Producer
from msgspec.structs import replace

from schemas.change import Cause, ScoreChange, encode_change
from schemas.incident import (
    INCIDENT_KINDS,
    USERS_NAMED_MAX,
    Evidence,
    Incident,
    IncidentKind,
    IncidentUsers,
    Slice,
    decode_incident_users,
)
from schemas.times import format_ms
from schemas.users import canary
from streams import clients
from streams.guard import affected, affected_reader
from streams.guard.affected import (
    FALLING_MS,
    KEPT_MS,
    MARGIN_MS,
    MOVED_MARGIN_MS,
    READ_BACK_MS_MAX,
    RULES,
    SETTLED_MS,
    WARM_UP_MS,
    Affected,
    Touched,
)
from streams.guard.affected_reader import AffectedReader
from streams.guard.cases import TAKEN_BACK
from streams.names import Names
from streams.settings import KafkaSettings
from tests.checks import committed
from tests.roles import eventually

OPENED_MS: Final = 1_341_100_973_000
NOW_MS: Final = OPENED_MS + 60_000
SEQUENCES: Final = count(1)
"""Those of each user grow, and have gaps, as if others' were not read."""


def an_incident(kind: IncidentKind = "feed_partial", *, name: str = "i", **fields: Any) -> Incident:
    described: dict[str, Any] = {
        "slice": Slice(network="twitter"),
        "severity": "major",
        "status": "investigating",
        "title": "",
        "opened": format_ms(OPENED_MS),
        "updated": format_ms(OPENED_MS),
        "evidence": [],
        "affected_users": 0,
    }
    return Incident(id=name, kind=kind, **(described | fields))


def resolved(incident: Incident, at_ms: int) -> Incident:
    return replace(incident, status="resolved", updated=format_ms(at_ms))


def a_change(
    user: str,
    networks: dict[str, float],
    cause: Cause = "interaction",
    *,
    score: float | None = 20.0,
    previous: float | None = 19.0,
    as_of_ms: int = NOW_MS,
    reference: str | None = None,
) -> ScoreChange:
    number = next(SEQUENCES)
    return ScoreChange(user, number, score, previous, None, networks, format_ms(as_of_ms), cause, "1", reference)


class Story:
    """Changes in their order, a second apart unless said otherwise."""

    def __init__(self, *incidents: Incident) -> None:
        self.affected = Affected("1")
        self.begins_ms = [self.affected.tell(incident) for incident in incidents]
        self.times_ms = count(NOW_MS, 1_000)

    def take(self, *changes: ScoreChange, time_ms: int | None = None, partition: int = 0) -> "Story":
        for change in changes:
            self.affected.take(change, partition, next(self.times_ms) if time_ms is None else time_ms)
        return self

    def users(self, incident: str = "i") -> list[str]:
        return self.affected.touched()[incident].users


def test_every_kind_of_incident_has_a_rule() -> None:
    assert RULES.keys() == INCIDENT_KINDS.keys()


def test_a_feed_touches_those_whose_score_on_its_network_it_moved() -> None:
    story = Story(an_incident())
    story.take(a_change("moved", {"twitter": 20.0}), a_change("elsewhere", {"mastodon": 20.0}))
    assert story.users() == ["moved"]


def joined(incident: Incident, kind: IncidentKind, at_ms: int) -> Incident:
    found = Evidence(finding=kind, detail="more", at=format_ms(at_ms))
    return replace(incident, evidence=[*incident.evidence, found], updated=format_ms(at_ms))


def test_what_joins_an_incident_that_touches_nobody_touches_whom_it_would_by_itself() -> None:
    incident = an_incident(kind="duplicate_surge")
    story = Story(incident).take(a_change("before", {"twitter": 20.0}), time_ms=NOW_MS)
    later_ms = NOW_MS + 600_000
    assert story.affected.tell(joined(incident, "dead_letter_surge", later_ms)) == (
        later_ms - MOVED_MARGIN_MS - WARM_UP_MS
    )
    story.take(a_change("before", {"twitter": 20.0}), time_ms=NOW_MS)
    story.take(a_change("moved", {"twitter": 20.0}), a_change("elsewhere", {"mastodon": 20.0}), time_ms=later_ms)
    assert story.users() == ["moved"]


def test_a_fall_that_joins_a_declaration_about_all_touches_those_who_fell() -> None:
    incident = an_incident(kind="declared", slice=Slice())
    story = Story(incident)
    assert story.affected.tell(joined(incident, "population_fall", NOW_MS)) == NOW_MS - MARGIN_MS - WARM_UP_MS
    story.take(a_change("fell", {"twitter": 1.0}, score=1.0), a_change("rose", {"twitter": 21.0}, score=21.0))
    assert story.users() == ["fell"]


def test_what_explains_an_incident_touches_nobody_more() -> None:
    incident = an_incident(kind="canary_late")
    found = Evidence(finding="population_fall", detail="explained by population_fall/all/x", at=format_ms(NOW_MS))
    story = Story(replace(incident, evidence=[found])).take(a_change("u", {"twitter": 1.0}, score=1.0))
    assert story.users() == []


def test_duplicates_touch_nobody_as_they_count_once() -> None:
    story = Story(an_incident(kind="duplicate_surge")).take(a_change("u", {"twitter": 20.0}))
    assert story.users() == []


def test_what_moved_before_an_operator_declared_it_is_not_its_doing_unless_they_say_since_when() -> None:
    before_ms = OPENED_MS - 1
    declared = an_incident(kind="declared")
    assert Story(declared).take(a_change("u", {"twitter": 20.0}), time_ms=before_ms).users() == []
    since = replace(declared, since=format_ms(OPENED_MS - 600_000))
    assert Story(since).take(a_change("u", {"twitter": 20.0}), time_ms=before_ms).users() == ["u"]


def test_whose_events_are_taken_back_because_of_it_is_touched_however_long_it_is_over() -> None:
    incident = an_incident()
    story = Story(incident)
    story.affected.tell(replace(incident, status="monitoring", updated=format_ms(OPENED_MS + 1)))
    change = a_change("late", {"twitter": 20.0}, "retraction")
    story.take(a_change("other", {"twitter": 20.0}, "retraction"), time_ms=OPENED_MS + 900_000)
    story.take(replace(change, reference="i"), time_ms=OPENED_MS + 900_000)
    assert story.users() == ["late"]


def test_of_a_user_on_two_networks_only_what_moved_counts() -> None:
    story = Story(an_incident())
    before = OPENED_MS - MARGIN_MS - 1
    story.take(a_change("both", {"twitter": 20.0, "mastodon": 5.0}), time_ms=before)
    story.take(a_change("both", {"twitter": 20.0, "mastodon": 7.0}))
    assert story.users() == []
    story.take(a_change("both", {"twitter": 21.0, "mastodon": 7.0}))
    assert story.users() == ["both"]


@pytest.mark.parametrize(
    ("cause", "touches"),
    [("interaction", True), ("retraction", True), ("correction", True), ("decay", False), ("model", False)],
)
def test_only_what_a_feed_can_cause_counts(cause: Cause, touches: bool) -> None:
    story = Story(an_incident()).take(a_change("u", {"twitter": 20.0}, cause))
    assert story.users() == (["u"] if touches else [])


def test_a_user_all_of_whose_events_were_taken_back_is_touched() -> None:
    story = Story(an_incident("retraction_surge"))
    story.take(a_change("u", {}, "retraction", score=None))
    assert story.users() == ["u"]


def test_what_was_written_before_or_after_an_incident_or_tells_of_earlier_does_not_count() -> None:
    incident = an_incident(since=format_ms(OPENED_MS - 10_000))
    story = Story(incident)
    story.take(a_change("early", {"twitter": 20.0}), time_ms=OPENED_MS - MARGIN_MS - 1)
    story.take(a_change("of earlier", {"twitter": 20.0}, as_of_ms=OPENED_MS - 10_001))
    story.affected.tell(resolved(incident, NOW_MS + 60_000))
    story.take(a_change("in time", {"twitter": 20.0}), time_ms=NOW_MS + 60_000)
    story.take(a_change("late", {"twitter": 20.0}), time_ms=NOW_MS + 60_001)
    assert story.users() == ["in time"]


def test_nobody_more_is_touched_once_its_finding_has_ended_until_that_begins_again() -> None:
    incident = an_incident()
    story = Story(incident).take(a_change("before", {"twitter": 20.0}), time_ms=NOW_MS)
    quiet_ms = NOW_MS + 1_000
    for status, at_ms in (("monitoring", quiet_ms), ("monitoring", quiet_ms + 50_000), ("resolved", quiet_ms + 60_000)):
        assert story.affected.tell(replace(incident, status=status, updated=format_ms(at_ms))) is None
        story.take(a_change(f"{status} since", {"twitter": 20.0}), time_ms=quiet_ms + 1)
    story.take(a_change("on its way", {"twitter": 20.0}), time_ms=quiet_ms)
    assert story.users() == ["before", "on its way"]
    story.affected.settle(quiet_ms + SETTLED_MS + 1)
    assert not story.affected.is_listing
    again_ms = quiet_ms + 3 * MARGIN_MS
    begins_ms = story.affected.tell(replace(incident, updated=format_ms(again_ms)))
    assert begins_ms == again_ms - MOVED_MARGIN_MS - WARM_UP_MS
    story.affected.rewind()
    story.take(a_change("between", {"twitter": 20.0}), time_ms=again_ms - MARGIN_MS - 1)
    story.take(a_change("again", {"twitter": 20.0}), time_ms=again_ms)
    assert story.users() == ["before", "on its way", "again"]


def test_a_fall_touches_those_who_stand_a_point_lower_than_when_it_opened_in_however_many_steps() -> None:
    story = Story(an_incident("population_fall", slice=Slice()))
    story.take(a_change("steps", {"twitter": 19.5}, "decay", score=19.5, previous=20.0))
    story.take(a_change("rose", {"twitter": 25.0}, "interaction", score=25.0, previous=20.0))
    assert story.users() == []
    story.take(a_change("steps", {"twitter": 19.0}, "decay", score=19.0, previous=19.5))
    story.take(a_change("gone", {}, "retraction", score=None, previous=20.0))
    assert story.users() == ["steps", "gone"]


def test_a_fall_touches_those_whom_decay_lowered_as_of_an_earlier_hour_but_not_long_before_it_was_found() -> None:
    hour_ms = OPENED_MS - 600_000
    story = Story(an_incident("population_fall", slice=Slice(), since=format_ms(hour_ms)))

    def lowered(user: str, written_ms: int) -> None:
        change = a_change(user, {"twitter": 12.0}, "decay", score=12.0, previous=20.0, as_of_ms=hour_ms - 7_200_000)
        story.take(change, time_ms=written_ms)

    lowered("long before", OPENED_MS - FALLING_MS - 1)
    lowered("shortly before", OPENED_MS - FALLING_MS)
    lowered("after", OPENED_MS + 5_000)
    assert story.users() == ["shortly before", "after"]


def test_who_rose_before_a_fall_was_found_fell_from_there() -> None:
    story = Story(an_incident("population_fall", slice=Slice(), since=format_ms(OPENED_MS - 600_000)))
    story.take(a_change("u", {"twitter": 20.0}, score=20.0, previous=10.0), time_ms=OPENED_MS - 5_000)
    story.take(a_change("u", {"twitter": 11.0}, "decay", score=11.0, previous=20.0), time_ms=OPENED_MS - 1_000)
    story.take(a_change("v", {"twitter": 20.0}, score=20.0, previous=10.0), time_ms=OPENED_MS + 1_000)
    story.take(a_change("v", {"twitter": 10.5}, "decay", score=10.5, previous=20.0), time_ms=OPENED_MS + 2_000)
    story.take(a_change("w", {"twitter": 20.0}, score=20.0, previous=10.0), time_ms=OPENED_MS - 5_000)
    story.take(a_change("w", {"twitter": 11.0}, "decay", score=11.0, previous=20.0), time_ms=OPENED_MS + 3_000)
    assert story.users() == ["u", "w"]


def test_who_rose_before_a_fall_did_not_fall_when_changes_are_read_again_for_another_incident() -> None:
    story = Story(an_incident("population_fall", slice=Slice()))
    rose = [
        a_change("u", {"twitter": 1.8}, score=1.8, previous=None),
        a_change("u", {"twitter": 4.1}, score=4.1, previous=1.8),
    ]
    story.take(*rose, time_ms=OPENED_MS - 1_000)
    story.affected.rewind()
    story.take(*rose, time_ms=OPENED_MS - 1_000)
    assert story.users() == []


def test_who_falls_shortly_after_a_fall_was_said_to_have_ended_fell_by_it() -> None:
    incident = an_incident("population_fall", slice=Slice())
    story = Story(incident)
    story.affected.tell(replace(incident, status="monitoring", updated=format_ms(NOW_MS)))
    for user, at_ms in (("soon", NOW_MS + FALLING_MS), ("late", NOW_MS + FALLING_MS + 1)):
        story.take(a_change(user, {}, "decay", score=10.0, previous=20.0), time_ms=at_ms)
    assert story.users() == ["soon"]
    story.affected.settle(NOW_MS + SETTLED_MS + 1)
    assert story.affected.is_listing
    story.affected.settle(NOW_MS + FALLING_MS + SETTLED_MS + 1)
    assert not story.affected.is_listing


def test_an_incident_that_turns_out_to_be_about_all_touches_users_of_every_network() -> None:
    incident = an_incident("population_at_floor")
    story = Story(incident)
    story.affected.tell(replace(incident, slice=Slice(), updated=format_ms(NOW_MS)))
    story.take(a_change("u", {"mastodon": 10.0}, "decay", score=10.0, previous=20.0))
    assert story.users() == ["u"]


def test_a_guard_that_hears_of_an_incident_whose_finding_has_ended_counts_to_that_end_whatever_was_said_since() -> None:
    found = [
        Evidence(finding="feed_partial", detail="", at=format_ms(OPENED_MS)),
        Evidence(finding="feed_partial", detail="", at=format_ms(NOW_MS)),
        Evidence(finding=TAKEN_BACK, detail="", at=format_ms(NOW_MS + 30_000)),
    ]
    noted_ms = NOW_MS + 3_600_000
    story = Story(an_incident(status="monitoring", updated=format_ms(noted_ms), evidence=found))
    story.take(a_change("in time", {"twitter": 20.0}), time_ms=NOW_MS)
    story.take(a_change("later", {"twitter": 20.0}), time_ms=NOW_MS + 1)
    assert story.users() == ["in time"]


def test_a_fall_does_not_touch_those_whose_events_were_taken_back_because_of_another_incident() -> None:
    story = Story(an_incident("population_fall", slice=Slice()), an_incident("declared", name="flood"))
    story.take(a_change("lowered", {"twitter": 12.0}, "retraction", score=12.0, previous=20.0, reference="flood"))
    assert story.users("flood") == ["lowered"]
    story.take(a_change("fades", {"twitter": 19.9}, "decay", score=19.9, previous=20.0))
    story.take(a_change("fades", {"twitter": 12.0}, "retraction", score=12.0, previous=19.9, reference="flood"))
    story.take(a_change("fades", {"twitter": 11.5}, "decay", score=11.5, previous=12.0))
    assert story.users() == []
    story.take(a_change("fades", {"twitter": 11.0}, "decay", score=11.0, previous=11.5))
    assert story.users() == ["fades"]


def test_a_shift_touches_those_who_rose_too() -> None:
    story = Story(an_incident("population_shift", slice=Slice()))
    story.take(a_change("rose", {"twitter": 25.0}, score=25.0, previous=20.0))
    story.take(a_change("barely", {"twitter": 20.9}, score=20.9, previous=20.0))
    assert story.users() == ["rose"]


def test_an_incident_of_one_partition_touches_nobody_of_another() -> None:
    story = Story(an_incident("population_at_floor", slice=Slice(partition=1)))
    story.take(a_change("here", {}, score=1.0), partition=1)
    story.take(a_change("there", {}, score=1.0), partition=0)
    assert story.users() == ["here"]


@pytest.mark.parametrize("kind", ["feed_stalled", "partition_silent", "forget_surge"])
def test_nobody_is_touched_where_no_score_moved_that_should_not_have(kind: IncidentKind) -> None:
    story = Story(an_incident(kind, users=["named"]))
    story.take(a_change("u", {"twitter": 20.0}))
    assert story.affected.touched() == {"i": Touched(0, [], more=False)}
    assert story.begins_ms == [None]


def test_a_partition_that_stopped_touches_those_whom_its_record_names() -> None:
    story = Story(an_incident("law_violation", slice=Slice(partition=0), users=["named", canary("twitter", 0)]))
    story.take(a_change("u", {"twitter": 20.0}))
    assert story.users() == ["named"]


def test_a_declared_incident_without_a_network_touches_nobody_by_itself() -> None:
    story = Story(an_incident("declared", slice=Slice())).take(a_change("u", {"twitter": 20.0}))
    assert story.users() == []


def test_canaries_are_never_listed() -> None:
    assert Story(an_incident()).take(a_change(canary("twitter", 3), {"twitter": 20.0})).users() == []


def test_an_incident_of_another_model_touches_nobody_here() -> None:
    story = Story(an_incident(model="trial")).take(a_change("u", {"twitter": 20.0}))
    assert story.affected.touched() == {}


def test_changes_are_read_from_a_while_before_it_opened_or_from_when_its_cause_began() -> None:
    of_yesterday, of_long_ago = (format_ms(OPENED_MS - days * READ_BACK_MS_MAX) for days in (1, 9))
    story = Story(an_incident(name="a"), an_incident(name="b", since=of_yesterday), an_incident(since=of_long_ago))
    margin = OPENED_MS - MOVED_MARGIN_MS
    assert story.begins_ms == [
        begin_ms - WARM_UP_MS for begin_ms in (margin, margin - READ_BACK_MS_MAX + MOVED_MARGIN_MS)
    ] + [OPENED_MS - READ_BACK_MS_MAX - WARM_UP_MS]
    assert story.affected.tell(an_incident(name="a")) is None


def test_the_same_changes_taken_again_change_nothing() -> None:
    changes = [a_change(f"u{number}", {"twitter": 20.0 + number}) for number in range(5)]
    story = Story(an_incident()).take(*changes)
    before = story.affected.touched()
    story.affected.rewind()
    assert story.take(*changes).affected.touched() == before


def test_lists_are_cut_into_records_and_the_first_users_are_told_with_the_count() -> None:
    changes = [a_change(f"u{number}", {"twitter": 20.0}) for number in range(2 * USERS_NAMED_MAX + 1)]
    story = Story(an_incident()).take(*changes)
    told = story.affected.touched()["i"]
    assert (told.user_count, len(told.users), told.users[0]) == (2_001, 1_000, "u0")
    written = {key: decode_incident_users(value or b"") for key, value in story.affected.unwritten()}
    assert {key: len(record.users) for key, record in written.items()} == {"i/0": 1_000, "i/1": 1_000, "i/2": 1}
    story.affected.all_written()
    story.take(a_change("one more", {"twitter": 20.0}))
    assert [key for key, _ in story.affected.unwritten()] == ["i/2"]


def test_past_a_limit_nobody_more_is_listed_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(affected, "USERS_LISTED_MAX", 3)
    story = Story(an_incident()).take(*(a_change(f"u{number}", {"twitter": 20.0}) for number in range(4)))
    assert story.affected.touched()["i"] == Touched(3, ["u0", "u1", "u2"], more=True)


def test_who_is_forgotten_is_taken_out_of_every_list_and_the_record_written_again() -> None:
    story = Story(an_incident(), an_incident(name="j"))
    story.take(a_change("goes", {"twitter": 20.0}), a_change("stays", {"twitter": 20.0}))
    story.affected.tell(resolved(an_incident(name="j"), NOW_MS + 10_000))
    story.affected.all_written()
    story.take(a_change("goes", {}, "forget", score=None))
    written = {key: decode_incident_users(value or b"").users for key, value in story.affected.unwritten()}
    assert written == {"i/0": ["stays"], "j/0": ["stays"]}
    story.affected.forget("stays")
    assert list(story.affected.unwritten()) == [("i/0", None), ("j/0", None)]


def test_a_guard_that_begins_goes_on_from_what_is_written_and_does_not_name_again_who_was_forgotten() -> None:
    incident = an_incident("law_violation", slice=Slice(partition=0), users=["forgotten", "u1"])
    resumed = Affected("1")
    resumed.restore(IncidentUsers(incident="i", number=1, users=["u1"]), NOW_MS)
    assert resumed.is_needed
    assert resumed.tell(incident) is None
    assert resumed.touched()["i"].users == ["u1"]
    resumed.forget("u1")
    assert list(resumed.unwritten()) == [("i/1", None)]


def test_lists_are_let_go_of_when_the_topic_keeps_them_no_longer() -> None:
    incident = an_incident()
    story = Story(incident).take(a_change("u", {"twitter": 20.0}))
    story.affected.tell(resolved(incident, NOW_MS))
    story.affected.settle(NOW_MS + KEPT_MS)
    assert (story.affected.is_needed, story.affected.is_listing) == (True, False)
    story.affected.settle(NOW_MS + KEPT_MS + 1)
    assert not story.affected.is_needed


# Through a real Kafka. ------------------------------------------------------------------------------------------------


@pytest.fixture
def names(kafka_settings: KafkaSettings, make_topic: Callable[..., str]) -> Names:
    names = Names(kafka_settings.prefix, "1")
    make_topic(names.changes, 2)
    make_topic(names.incident_users)
    return names


@pytest.fixture
def reading(kafka_settings: KafkaSettings, names: Names) -> Iterator[Callable[[], AffectedReader]]:
    """Starts readers; one that was started before is fenced."""
    started: list[AffectedReader] = []

    def start() -> AffectedReader:
        reader = AffectedReader(kafka_settings, names)
        reader.start()
        started.append(reader)
        return reader

    yield start
    for reader in started:
        reader.stop()


def publish(producer: Producer, names: Names, user: str, score: float | None, at_ms: int) -> None:
    networks = {} if score is None else {"twitter": score}
    value = encode_change(user, 1, score, None, None, networks, at_ms, "interaction", "1")
    producer.produce(names.changes, None if score is None else value, user, timestamp=at_ms)


def listed(reader: AffectedReader, incident: str = "i") -> list[str] | None:
    touched = reader.touched(incident)
    return None if touched is None else sorted(touched.users)


def test_lists_come_of_the_changes_are_gone_on_with_and_lose_who_is_forgotten(
    kafka_settings: KafkaSettings,
    names: Names,
    reading: Callable[[], AffectedReader],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(affected_reader, "FLUSH_SECONDS", 0.1)
    producer = clients.producer(kafka_settings)
    now_ms = int(time.time() * 1000)
    publish(producer, names, "long ago", 20.0, now_ms - 3_600_000)
    publish(producer, names, "touched", 20.0, now_ms)
    publish(producer, names, "goes", 20.0, now_ms)
    producer.flush()
    incident = an_incident(opened=format_ms(now_ms), updated=format_ms(now_ms))
    first = reading()
    first.tell(incident)
    eventually(lambda: listed(first) == ["goes", "touched"])

    # The next guard begins before the first one knows that it is active no more.
    second = reading()
    second.tell(incident)
    eventually(lambda: listed(second) == ["goes", "touched"])
    publish(producer, names, "goes", None, now_ms + 1)
    publish(producer, names, "later", 20.0, now_ms + 2)
    producer.flush()
    eventually(lambda: listed(second) == ["later", "touched"])
    assert listed(first) == ["goes", "touched"]

    before = format_ms(now_ms - 3_600_000)
    second.tell(an_incident(name="j", opened=before, updated=before))
    eventually(lambda: listed(second, "j") == ["later", "long ago", "touched"])
    second.stop()
    newest = dict(committed(kafka_settings, names.incident_users))
    assert sorted(decode_incident_users(newest[b"i/0"] or b"").users) == ["later", "touched"]
