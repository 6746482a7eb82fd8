"""A user is forgotten by the command line, stays so, and comes back from nothing; dead letters are sent again."""

import json
import time
from dataclasses import dataclass
from typing import Any

import pytest

from schemas.limits import TIME_AHEAD_MS_MAX
from streams.progress import conservation
from streams.settings import LaneSettings, NetworkSettings
from tests.checks import broken_chains, committed
from tests.engine.conftest import Install
from tests.roles import Installation

NOW_MS = int(time.time() * 1000)
LEAVES, STAYS = "t:leaves", "t:stays"
FANS = 5


def event(number: int, **fields: Any) -> bytes:
    right = {"id": f"e{number}", "kind": "share", "actor": f"a:{number}", "target": LEAVES, "time": NOW_MS}
    return json.dumps(right | fields).encode()


def say(installation: Installation, *arguments: str) -> str:
    """Run a command that must succeed; return what it printed."""
    done = installation.run(*arguments, seconds=90.0)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@dataclass(frozen=True, slots=True)
class Story:
    """What was seen at each step."""

    installation: Installation
    known: list[bool]
    """Whether the user was: at first, when forgotten, when more came, when undone and credited again."""
    stays: list[float | None]
    """What one whom the forgotten one engaged with has, at the same moments."""
    events: int
    said: str
    shown: str
    """What `clout show` said of the forgotten one."""
    log: str
    replays: list[str]


@pytest.fixture(scope="module")
def story(install: Install) -> Story:
    installation = install(lanes=LaneSettings(partitions=2), networks={"twitter": NetworkSettings(raw_partitions=1)})
    installation.up()
    known: list[bool] = []
    stays: list[float | None] = []

    def look() -> None:
        installation.wait()
        users = installation.users()
        known.append(LEAVES in users)
        stays.append(users[STAYS].score)

    soon = int(time.time() * 1000) + TIME_AHEAD_MS_MAX + 2_000
    installation.send([event(70, target="t:later", time=soon), b"{"])
    installation.send([event(number) for number in range(FANS)])
    installation.send([event(50, actor=LEAVES, target=STAYS)])
    look()
    said = say(installation, "forget", LEAVES, "--reason", "request 4711")
    look()
    shown = installation.run("show", LEAVES).stderr
    installation.send([event(number) for number in range(10, 10 + FANS)])
    look()
    say(installation, "forget", LEAVES, "--reason", "came back", "--undo")
    installation.send([event(number) for number in range(20, 20 + FANS)])
    look()
    events = installation.users()[LEAVES].networks["twitter"].events
    log = say(installation, "control", "log", "--user", LEAVES)
    # By now the event that came too early is not early any more.
    replays = [say(installation, "dlq", "replay", "--reason", "time_in_future") for _ in range(2)]
    return Story(installation, known, stays, events, said, shown, log, replays)


def test_who_is_forgotten_is_unknown_until_it_is_undone_and_then_begins_at_nothing(story: Story) -> None:
    assert story.known == [True, False, False, True]
    assert story.events == FANS
    assert "is forgotten" in story.said
    assert "has no score" in story.shown


def test_what_their_actions_gave_others_stays(story: Story) -> None:
    assert story.stays[0] is not None
    assert len(set(story.stays)) == 1


def test_readers_are_told_by_a_last_change_and_a_tombstone_and_the_chain_goes_on(story: Story) -> None:
    changes = story.installation.changes()
    assert broken_chains(changes) == []
    forgotten = [at for at, change in enumerate(changes[LEAVES]) if change.cause == "forget"]
    assert [changes[LEAVES][at].score for at in forgotten] == [None]
    settings, names = story.installation.settings, story.installation.names
    values = [value for key, value in committed(settings.kafka, names.changes) if key == LEAVES.encode()]
    assert [at for at, value in enumerate(values) if value is None] == [forgotten[0] + 1]


def test_what_came_meanwhile_is_counted_as_forgotten(story: Story) -> None:
    [sums] = conservation(story.installation.wait())
    assert (sums.missing, sums.forgotten) == (0, FANS)


def test_a_letter_whose_cause_is_gone_is_sent_again_once_and_counts(story: Story) -> None:
    first, second = story.replays
    assert "1 sent again" in first
    assert "0 sent again" in second
    [sums] = conservation(story.installation.wait())
    assert (sums.missing, sums.dead_lettered) == (0, 2)
    assert story.installation.users()["t:later"].networks["twitter"].events == 1


def test_the_public_record_shows_both_orders_and_names_nobody(story: Story) -> None:
    forget, undo = story.log.splitlines()
    assert "forget" in forget
    assert "request 4711" in forget
    assert "unforget" in undo
    assert LEAVES not in story.log


def test_no_value_of_the_tables_names_the_user_once_they_are_forgotten_again(story: Story) -> None:
    installation = story.installation
    say(installation, "forget", LEAVES, "--reason", "for good")
    installation.wait()
    newest = dict(committed(installation.settings.kafka, installation.names.state))
    own = [key for key, value in newest.items() if value is not None and LEAVES.encode() in (key or b"") + value]
    # Others' rows of the ledger may name whom they credited until the window ends; tables of scores may not.
    assert [key for key in own if not (key or b"").startswith(b"\0ledger")] == []
