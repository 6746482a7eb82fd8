"""`clout explain` of whole installations: in words, in numbers, and when there is nothing to explain."""

import json
import time
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from clout.access import put, take_away
from clout.explain_view import change_panel, panel
from clout.explaining import explained, explained_change
from clout.population import newest_populations
from clout.user_history import history_of_user
from schemas.access import AccessUser
from schemas.change import ScoreChange
from schemas.explanation import ChangeExplained, Explained
from schemas.incident import Incident, IncidentUsers, Slice, encode_incident, encode_incident_users
from schemas.times import format_ms
from streams import clients
from streams.errors import CloutError
from streams.guard.affected_reader import AffectedReader
from streams.settings import LaneSettings, NetworkSettings, WorkerSettings
from tests.clout.test_explain import in_one_line
from tests.engine.conftest import Install
from tests.roles import Installation, eventually
from tests.streams.test_explanations import check_that_it_adds_up

pytestmark = pytest.mark.timeout(180)

NOW_MS = int(time.time() * 1000) - 3_600_000
HER, HIM, GONE, LEFT = "t:her", "t:him", "t:gone", "t:left"
NETWORKS = {name: NetworkSettings(raw_partitions=1) for name in ("twitter", "mastodon")}
_AT = "2012-07-04T08:00:00.000Z"


def event(name: str, actor: str, target: str, **fields: Any) -> bytes:
    right = {"id": name, "kind": "share", "actor": actor, "target": target, "time": NOW_MS}
    return json.dumps(right | fields).encode()


def an_incident(name: str, user: str, status: str) -> Incident:
    return Incident(
        id=name,
        kind="law_violation",
        slice=Slice(partition=0),
        severity="major",
        status=status,  # type: ignore[arg-type]
        title=f"what befell {name}",
        opened=_AT,
        updated=_AT,
        evidence=[],
        affected_users=1,
        users=[user, LEFT],
    )


@dataclass(frozen=True, slots=True)
class Story:
    installation: Installation
    changes: dict[str, list[ScoreChange]]

    def explained(self, user: str) -> Explained:
        return explained(self.installation.settings, user)

    def said(self, user: str, change: int | None = None) -> str:
        """What the command prints, without the line breaks of a terminal."""
        settings = self.installation.settings
        if change is not None:
            return in_one_line(change_panel(explained_change(settings, user, change)))
        return in_one_line(panel(self.explained(user)))

    def run(self, *arguments: str, code: int = 0) -> str:
        """What the command prints as a process."""
        done = self.installation.run("explain", *arguments)
        assert done.returncode == code, done.stderr
        return " ".join((done.stderr if code else done.stdout).replace("│", " ").split())


@pytest.fixture(scope="module")
def story(install: Install) -> Story:
    worker = WorkerSettings(reasons_share=1.0)
    installation = install(lanes=LaneSettings(partitions=1), networks=NETWORKS, worker=worker)
    installation.up()
    installation.send([event(f"e{number}", f"a:{number}", HER) for number in range(6)])
    installation.send([event("m1", "a:1", HER), event("m2", "a:2", HIM), event("m3", LEFT, HIM)], network="mastodon")
    installation.send([event("g1", "a:1", GONE), event("l1", "a:1", LEFT)])
    installation.wait()
    installation.send([event("e7", "a:loyal", HER, time=NOW_MS + 1_800_000)])
    installation.send([event("g1", "a:1", "", kind="retract")])
    installation.wait()
    left = installation.run("forget", LEFT, "--reason", "asked for it")
    assert left.returncode == 0, left.stderr
    producer = clients.producer(installation.settings.kafka)
    for incident in (an_incident("i1", HER, "investigating"), an_incident("i2", HIM, "resolved")):
        producer.produce(installation.names.incidents, encode_incident(incident), incident.id)
    feed = replace(an_incident("feed", HER, "monitoring"), kind="feed_partial", users=[], affected_users=2)
    producer.produce(installation.names.incidents, encode_incident(feed), feed.id)
    for users in ([HER, HIM], [HER, "t:another"]):
        listed = IncidentUsers(incident="feed", number=0, users=users)
        producer.produce(installation.names.incident_users, encode_incident_users(listed), "feed/0")
    resolved = an_incident("i1", HER, "resolved")
    producer.produce(installation.names.incidents, encode_incident(resolved), resolved.id)
    assert producer.flush(10) == 0

    def counted() -> int:
        """How many users the worker has told of."""
        populations = newest_populations(installation.settings.kafka, installation.names)
        return sum(population.users for population in populations.values())

    eventually(counted, otherwise=installation.users)
    return Story(installation, installation.changes())


def test_a_score_is_explained_in_words_and_numbers(story: Story) -> None:
    said, user = story.said(HER), story.installation.users()[HER]
    assert f"{user.score:.1f}: 8 interactions by others on mastodon, twitter are worth" in said
    assert "reach (how many people)" in said
    assert "a:loyal" in said
    assert f"S = {sum(part.reach for part in user.networks.values()):.4f}^¼" in said
    assert "model 1: half-life 30 d" in said
    assert "higher than" in said
    assert "people who have a score" in said


def test_the_last_changes_stand_beside_it_with_who_added_most(story: Story) -> None:
    said, changes = story.said(HER), story.changes[HER]
    assert f"→ {changes[-1].score:.1f} interaction; most by a:loyal (1 interaction on twitter" in said


def test_it_adds_up(story: Story) -> None:
    found = story.explained(HER)
    check_that_it_adds_up(found.explanation)
    assert found.changes == story.changes[HER][-5:]
    assert found.standing is not None


def test_an_incident_is_named_as_it_stands_and_only_for_whom_it_touched(story: Story) -> None:
    hers, his = story.said(HER), story.said(HIM)
    assert "Incident i1: what befell i1 law_violation, resolved, opened 2012-07-04 08:00:00" in hers
    assert "i2" not in hers
    assert "Incident i2" in his
    assert "i1" not in his


def test_an_incident_that_lists_whom_it_touches_is_named_to_those_alone(story: Story) -> None:
    hers = json.loads(story.run(HER, "--json"))["incidents"]
    assert [incident["id"] for incident in hers] == ["i1", "feed"]
    assert [incident.id for incident in story.explained(HIM).incidents] == ["i2"]
    assert "Incident feed: what befell feed feed_partial, monitoring" in story.said(HER)


def test_a_change_says_what_moved_how_long_since_the_last_and_who_added(story: Story) -> None:
    before, last = story.changes[HER][-2:]
    assert last.score is not None
    assert before.score is not None
    said = story.said(HER, last.sequence)
    assert f"{before.score:.1f} → {last.score:.1f} ({last.score - before.score:+.1f}) interaction" in said
    assert f"Change {before.sequence} was 30 min before" in said
    assert "Decay alone" not in said  # Of several networks, whose clocks may be apart.
    assert "Most was added by a:loyal (1 interaction on twitter" in said
    assert "on mastodon" in said


def test_who_was_forgotten_since_is_not_named_in_what_is_said_of_an_old_change(story: Story) -> None:
    [change, *_] = story.changes[HIM]
    assert change.reasons
    assert LEFT in {reason.actor for reason in change.reasons}
    for said in (story.said(HIM, 1), story.said(HIM)):
        assert "a:2 (1 interaction on mastodon" in said
        assert "somebody who is not named (1 interaction on mastodon" in said
        assert LEFT not in said


def test_of_an_incident_nobody_whom_its_record_names_is_told(story: Story) -> None:
    said = story.run(HER, "--json")
    assert json.loads(said)["incidents"][0]["id"] == "i1"
    assert LEFT not in said


def test_who_is_private_is_not_named_to_others(story: Story) -> None:
    settings = story.installation.settings
    assert "a:loyal" in story.said(HER)
    put(settings, AccessUser(user="a:loyal", claimed=_AT, private=True))
    try:
        told = [story.said(HER), story.said(HER, story.changes[HER][-1].sequence), story.run(HER, "--json")]
    finally:
        take_away(settings, "a:loyal")
    for said in told:
        assert "a:loyal" not in said
    assert "(not named)" in told[0]
    assert "Most was added by somebody who is not named (1 interaction on twitter" in told[1]


def test_when_somebody_was_forgotten_is_read_from_the_topic(story: Story) -> None:
    settings = story.installation.settings
    of_left, of_her = (history_of_user(settings.kafka, settings.names, user) for user in (LEFT, HER))
    assert of_left.changes == story.changes[LEFT]
    assert of_left.forgotten_ms is not None
    assert NOW_MS + 3_600_000 < of_left.forgotten_ms <= time.time() * 1000
    assert of_her == (story.changes[HER], None)


def test_who_has_nothing_to_explain_is_told_why(story: Story) -> None:
    settings = story.installation.settings
    with pytest.raises(CloutError, match="t:nobody has no score"):
        explained_change(settings, "t:nobody", 1)
    for ask in (lambda: explained(settings, LEFT), lambda: explained_change(settings, LEFT, 1)):
        with pytest.raises(CloutError, match=f"{LEFT} was forgotten"):
            ask()
    with pytest.raises(CloutError, match=f"{HER} has no change 99 yet"):
        explained_change(settings, HER, 99)
    assert story.explained(GONE).explanation.score is None
    assert "→ no score" in story.said(GONE, 2)


def test_the_command_prints_it_and_says_by_its_exit_code_that_there_is_nothing(story: Story) -> None:
    assert "8 interactions by others on mastodon, twitter are worth" in story.run(HER)
    found = msgspec.json.decode(story.run(HER, "--change", "1", "--json"), type=ChangeExplained)
    assert (found.change, found.before, found.moved) == (story.changes[HER][0], None, None)
    assert "everything that had been counted for this user was taken back" in story.run(GONE, code=1)
    assert "t:nobody has no score" in story.run("t:nobody", code=1)


@pytest.mark.parametrize("command", ["show", "explain"])
def test_the_exit_code_says_the_same_of_a_score_in_words_and_in_json(story: Story, command: str) -> None:
    for user, code in ((HER, 0), (GONE, 1), ("t:nobody", 1)):
        words, document = (story.installation.run(command, user, *as_json) for as_json in ([], ["--json"]))
        assert (words.returncode, document.returncode) == (code, code)
        assert words.stderr == document.stderr
        assert bool(document.stdout) == (user != "t:nobody")
    [gone] = story.installation.run(command, GONE, "--json").stdout.splitlines()
    assert json.loads(gone).get("explanation", json.loads(gone))["score"] is None


def test_an_incident_of_a_feed_is_named_to_those_whom_the_feed_moved_and_to_nobody_forgotten(story: Story) -> None:
    settings, now = story.installation.settings, format_ms(int(time.time() * 1000))
    incident = replace(
        an_incident("twitter", HER, "investigating"),
        kind="feed_partial",
        slice=Slice(network="twitter"),
        opened=now,
        updated=now,
        users=[],
    )
    producer = clients.producer(settings.kafka)
    producer.produce(settings.names.incidents, encode_incident(incident), incident.id)
    assert producer.flush(10) == 0
    reader = AffectedReader(settings.kafka, settings.names)
    reader.start()
    reader.tell(incident)
    try:
        eventually(lambda: (told := reader.touched("twitter")) is not None and set(told.users) == {HER, GONE})
    finally:
        reader.stop()
    assert "twitter" in [found.id for found in story.explained(HER).incidents]
    assert "twitter" not in [found.id for found in story.explained(HIM).incidents]
