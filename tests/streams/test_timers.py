"""Users whose time has come, by a task on a real broker: what is published, what is stored, what a restore makes."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from random import Random
from unittest.mock import patch

import numpy as np
import pytest

from schemas.change import ScoreChange
from schemas.packed import FORGET
from schemas.times import parse_ms
from scorer.model import DAY_MS
from scorer.reference import Event
from scorer.target_state import stored_dues
from scorer.timers import Moved
from streams import timers
from streams.settings import KafkaSettings
from streams.store import Rows
from streams.task import Task
from streams.ticks import Tick
from streams.timers import Due, Timers, due_of, keys_of, moved_rows, timer_key
from tests.checks import broken_chains, changes_of
from tests.streams.tasks import Lanes, some_events

START_MS = 1_340_000_000_000
USERS = (b"a", b"ab", b"b", b"c\x7f")
PLACES = [(user, network) for user in USERS for network in range(3)]
"""One due time at most of each user on each network."""
EVENTS = [
    Event("twitter", f"e{target}-{number}", "share", f"t:{number}", f"t:{target}", START_MS)
    for target in range(100, 104)
    for number in range(8)
]


@pytest.fixture
def lanes(kafka_settings: KafkaSettings) -> Lanes:
    return Lanes(kafka_settings)


@pytest.fixture(params=[1, timers.RANGE_KEYS_MIN], ids=["deleted in ranges", "deleted one by one"])
def task(
    lanes: Lanes, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Task]:
    monkeypatch.setattr(timers, "RANGE_KEYS_MIN", request.param)
    with lanes.task(tmp_path / "0") as task:
        yield task


def tick(time_ms: int) -> Tick:
    """The only raw partition has come to this time."""
    return Tick("twitter", 0, 1, time_ms, time_ms, True, {})


def let_pass(lanes: Lanes, task: Task, time_ms: int) -> None:
    lanes.tick(tick(time_ms))
    lanes.work(task)


def changes(lanes: Lanes) -> dict[str, list[ScoreChange]]:
    return changes_of(lanes.kafka, lanes.names.changes)


def keys(task: Task, user: bytes = b"") -> list[bytes]:
    """The table of due times, or what it has of one user."""
    assert task.store is not None
    return [key for key, _ in task.store.scan("timers") if key.endswith(user)]


def check_timers(task: Task) -> None:
    """Hold the table of due times against the rows of all users."""
    assert task.store is not None
    stored = list(task.store.scan("targets"))
    dues = stored_dues([row for _, row in stored])
    assert keys(task) == sorted(keys_of(dues, [user for user, _ in stored]))


def test_who_gets_no_more_events_falls_step_by_step_for_decay_and_nothing_else(lanes: Lanes, task: Task) -> None:
    lanes.send(EVENTS)
    let_pass(lanes, task, START_MS)
    let_pass(lanes, task, START_MS + 20 * DAY_MS)
    theirs = changes(lanes)
    assert broken_chains(theirs) == []
    for user, steps in theirs.items():
        assert [step.cause for step in steps] == ["interaction"] + ["decay"] * (len(steps) - 1), user
        assert len(steps) > 10
        for before, after in pairwise(steps):
            assert before.score is not None
            assert after.score is not None
            assert 0 <= before.score - after.score < 0.11
            assert before.as_of < after.as_of
    check_timers(task)


def test_the_steps_do_not_depend_on_those_of_the_clock(lanes: Lanes, tmp_path: Path) -> None:
    def steps(kafka: Lanes, name: str, times: list[int]) -> list[tuple[str, float | None]]:
        with kafka.task(tmp_path / name) as task:
            kafka.send(EVENTS)
            for time in times:
                let_pass(kafka, task, time)
        return [(step.as_of, step.score) for step in changes(kafka)["t:100"]][1:]

    end = START_MS + 10 * DAY_MS
    other = Lanes(KafkaSettings(broker=lanes.kafka.broker, prefix=lanes.kafka.prefix + "other-"))
    at_once = steps(lanes, "at-once", [START_MS, end])
    assert at_once == steps(other, "in-steps", [START_MS, *range(START_MS + DAY_MS // 3, end, DAY_MS // 3), end])
    assert len(at_once) > 5


def test_nobody_falls_before_the_clock_has_come_so_far(lanes: Lanes, task: Task) -> None:
    lanes.send(EVENTS)
    let_pass(lanes, task, START_MS)
    let_pass(lanes, task, START_MS + DAY_MS)
    assert all(parse_ms(step.as_of) <= START_MS + DAY_MS for steps in changes(lanes).values() for step in steps)
    before = changes(lanes)
    lanes.work(task)
    assert changes(lanes) == before
    assert not task.has_due


def test_more_that_is_due_than_a_batch_takes_is_taken_by_the_next(
    lanes: Lanes, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timers, "DUE_MAX", 3)
    lanes.send(EVENTS)
    let_pass(lanes, task, START_MS)
    lanes.tick(tick(START_MS + DAY_MS))
    lanes.work(task)
    check_timers(task)
    ends = [steps[-1] for steps in changes(lanes).values()]
    assert [end.cause for end in ends] == ["decay"] * 4
    assert task.store is not None
    assert all(due_of(key).time_ms > START_MS + DAY_MS for key in keys(task))


def test_a_restored_copy_has_the_same_due_times_and_goes_on_with_them(lanes: Lanes, tmp_path: Path) -> None:
    events = some_events(200)
    with lanes.task(tmp_path / "first") as task:
        lanes.send(events)
        let_pass(lanes, task, events[-1].time)
        check_timers(task)
    with lanes.task(tmp_path / "second") as task:
        check_timers(task)
        let_pass(lanes, task, events[-1].time + 2 * DAY_MS)
        check_timers(task)
    assert broken_chains(changes(lanes)) == []
    assert {steps[-1].cause for steps in changes(lanes).values()} == {"decay"}


def test_of_a_forgotten_user_no_due_time_and_no_name_is_left(lanes: Lanes, task: Task) -> None:
    lanes.send(EVENTS)
    let_pass(lanes, task, START_MS)
    assert task.store is not None
    assert any(name == b"t:3" for _, name in task.store.scan("names"))
    for user in ("t:100", "t:3"):
        lanes.command(FORGET, user)
    lanes.work(task)
    check_timers(task)
    assert keys(task, b"t:100") == []
    assert not any(name == b"t:3" for _, name in task.store.scan("names"))
    let_pass(lanes, task, START_MS + 5 * DAY_MS)
    assert changes(lanes)["t:100"][-1].cause == "forget"


def test_a_due_time_that_an_old_copy_has_of_a_forgotten_user_brings_no_row_back(lanes: Lanes, task: Task) -> None:
    lanes.send(EVENTS)
    let_pass(lanes, task, START_MS)
    left = keys(task, b"t:100")
    lanes.command(FORGET, "t:100")
    lanes.work(task)
    assert task.store is not None
    local = task.store.local()
    assert local is not None
    task.store.write(Rows(), None, local, [(key, b"") for key in left])
    # Together with credits: who was forgotten is only looked for in a batch that has some.
    later_ms = max(due_of(key).time_ms for key in left) + 1
    lanes.send([Event("twitter", "later", "share", "t:7", "t:101", later_ms)])
    let_pass(lanes, task, later_ms)
    assert task.store.target(b"t:100") is None
    assert keys(task, b"t:100") == []


@pytest.mark.parametrize("seed", range(20))
def test_what_is_deleted_as_ranges_is_what_would_be_deleted_one_by_one(seed: int) -> None:
    random = Random(seed)
    for _ in range(50):
        dues, moves = ({place: random.randint(1, 3) for place in PLACES if random.random() < 0.7} for _ in range(2))
        clocks = {network: random.randint(0, 3) for network in range(3)}
        check_moved(dues, moves, clocks, range_keys_min=random.randint(1, 3), due_max=random.randint(1, 9))


def check_moved(
    dues: dict[tuple[bytes, int], int],
    moves: dict[tuple[bytes, int], int],
    clocks: dict[int, int],
    *,
    range_keys_min: int,
    due_max: int,
) -> None:
    """Look for what is due, move due times, and hold what is left in the table against sets."""
    table = {timer_key(Due(network, time, user)) for (user, network), time in dues.items()}

    def between(first: bytes, end: bytes, keys_max: int) -> list[bytes]:
        return sorted(key for key in table if first <= key < end)[:keys_max]

    users = list(USERS)
    places = [(users.index(user), network, dues.get((user, network), 0), to) for (user, network), to in moves.items()]
    moved = Moved(*np.array(places, np.int64).reshape(-1, 4).T)
    with patch.object(timers, "RANGE_KEYS_MIN", range_keys_min), patch.object(timers, "DUE_MAX", due_max):
        seen = Timers(between).due(clocks)
        passed, rows = moved_rows(moved, users, seen)

    left = {key for key in table if not any(first <= key < end for first, end in passed)}
    for key, value in rows:
        (left.discard if value is None else left.add)(key)
    before = {timer_key(Due(network, time, users[user])) for user, network, time, _ in places if time}
    after = {timer_key(Due(network, time, users[user])) for user, network, _, time in places}
    assert left == table - set(seen.keys) - before | after
    assert bool(passed) == any(
        sum(due_of(key).network == network for key in seen.keys) >= range_keys_min for network in range(3)
    )
