"""A forgotten user is gone from state and ledger, and stays gone, on a real Kafka."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicPartition

from schemas.change import ScoreChange, decode_change
from schemas.packed import FORGET, UNFORGET
from schemas.times import parse_ms
from schemas.users import partition_of
from scorer.model import Model
from scorer.reference import Event
from scorer.target_state import decode_targets
from streams import clients
from streams.errors import CloutError
from streams.explanations import explain
from streams.settings import KafkaSettings
from streams.store import Rows
from streams.task import Task
from tests.checks import committed
from tests.streams.tasks import Lanes, some_events

EVENTS = some_events(80, users=12)
USER = "t:3"


@pytest.fixture
def lanes(kafka_settings: KafkaSettings) -> Lanes:
    return Lanes(kafka_settings, partitions=2)


@contextmanager
def tasks_of(lanes: Lanes, directory: Path, **shared: Any) -> Iterator[list[Task]]:
    with ExitStack() as stack:
        yield [stack.enter_context(lanes.task(directory / str(number), number, **shared)) for number in range(2)]


def home(tasks: list[Task]) -> Task:
    return tasks[partition_of(USER.encode(), 2)]


def row_of(tasks: list[Task], user: str = USER) -> bytes | None:
    store = tasks[partition_of(user.encode(), 2)].store
    assert store is not None
    return store.target(user.encode())


def everything(task: Task) -> dict[bytes, bytes]:
    assert task.store is not None
    return {key: row for table in Rows._fields for key, row in task.store.scan(table)}


def named(task: Task, user: str = USER) -> list[bytes]:
    """Keys of the rows that hold the user's id."""
    return [key for key, row in everything(task).items() if user.encode() + b"\0" in key + b"\0" or holds(row, user)]


def holds(row: bytes, user: str) -> bool:
    at = row.find(user.encode())
    return at >= 0 and not row[at + len(user) : at + len(user) + 1].isdigit()


def history(lanes: Lanes) -> list[ScoreChange | None]:
    """All records under the user's key; None is a tombstone."""
    options = {"group.id": "by-hand", "enable.partition.eof": True, "fetch.wait.max.ms": 10}
    reader = clients.consumer(lanes.kafka, options)
    reader.assign([TopicPartition(lanes.names.changes, partition_of(USER.encode(), 2), 0)])
    found: list[ScoreChange | None] = []
    while True:
        for message in reader.consume(1, 10):
            if message.error() is not None:
                reader.close()
                return found
            value: Any = message.value()
            if message.key() == USER.encode():
                found.append(None if value is None else decode_change(value))


def test_forget_leaves_no_row_and_says_so_last(lanes: Lanes, tmp_path: Path) -> None:
    with tasks_of(lanes, tmp_path) as tasks:
        lanes.send(EVENTS)
        lanes.work(*tasks)
        others = {user: row_of(tasks, user) for user in {event.target for event in EVENTS} - {USER}}
        assert row_of(tasks) is not None
        lanes.command(FORGET, USER)
        lanes.work(*tasks)
        assert row_of(tasks) is None
        assert named(home(tasks)) == []
        assert {user: row_of(tasks, user) for user in others} == others
        *_, before, last, tombstone = history(lanes)
        assert before is not None
        assert last is not None
        assert (last.score, last.previous, last.cause) == (None, before.score, "forget")
        assert (last.sequence, last.reference) == (before.sequence + 1, "command 1")
        assert tombstone is None


def test_what_credits_a_forgotten_user_is_counted_and_dropped_until_undone(lanes: Lanes, tmp_path: Path) -> None:
    later = [Event("twitter", f"later{at}", "share", f"t:{at}", USER, EVENTS[-1].time) for at in range(5, 11)]
    undone = [Event("twitter", f"undone{at}", "share", f"t:{at}", USER, EVENTS[-1].time) for at in range(20, 24)]
    with tasks_of(lanes, tmp_path) as tasks:
        lanes.send(EVENTS)
        lanes.work(*tasks)
        lanes.command(FORGET, USER)
        lanes.send(later)
        lanes.work(*tasks)
        dropped = sum(task.state.total("forgotten") + task.state.total("dropped") for task in tasks)
        assert dropped == len(later)
        assert row_of(tasks) is None
        sequence = last_sequence(lanes)
        lanes.command(UNFORGET, USER)
        lanes.send(undone)
        lanes.work(*tasks)
        first = next(change for change in history(lanes) if change is not None and change.sequence == sequence + 1)
        assert first.previous is None
        assert state_events(tasks) == len(undone)


def test_retractions_of_what_a_forgotten_user_was_granted_take_nothing_from_a_new_life(
    lanes: Lanes, tmp_path: Path
) -> None:
    undone = [Event("twitter", f"undone{at}", "share", f"t:{at}", USER, EVENTS[-1].time) for at in range(20, 24)]
    with tasks_of(lanes, tmp_path) as tasks:
        lanes.send(EVENTS)
        lanes.work(*tasks)
        lanes.command(FORGET, USER)
        lanes.command(UNFORGET, USER)
        lanes.send(undone)
        lanes.work(*tasks)
        lanes.send([event for event in EVENTS if event.target == USER and event.actor != USER], retract=True)
        lanes.work(*tasks)
        assert state_events(tasks) == len(undone)
        lanes.send(undone, retract=True)
        lanes.work(*tasks)
        last = history(lanes)[-1]
        assert last is not None
        assert (last.score, last.cause) == (None, "retraction")


def test_what_an_operator_takes_back_of_a_forgotten_user_takes_nothing_from_a_new_life(
    lanes: Lanes, tmp_path: Path
) -> None:
    undone = [Event("twitter", f"undone{at}", "share", f"t:{at}", USER, EVENTS[-1].time) for at in range(20, 24)]
    with tasks_of(lanes, tmp_path) as tasks:
        lanes.send(EVENTS)
        lanes.work(*tasks)
        lanes.command(FORGET, USER)
        lanes.command(UNFORGET, USER)
        lanes.send(undone)
        lanes.work(*tasks)
        lanes.take_back([event for event in EVENTS if event.target == USER], "INC-7")
        lanes.work(*tasks)
        assert state_events(tasks) == len(undone)
        lanes.take_back(undone, "INC-7")
        lanes.work(*tasks)
        last = history(lanes)[-1]
        assert last is not None
        assert (last.score, last.cause, last.reference) == (None, "retraction", "INC-7")


def test_what_a_forgotten_user_did_is_taken_back_from_others_and_brings_nobody_back(
    lanes: Lanes, tmp_path: Path
) -> None:
    theirs = [event for event in EVENTS if event.actor == USER]
    with tasks_of(lanes, tmp_path) as tasks:
        lanes.send(EVENTS)
        lanes.work(*tasks)
        lanes.command(FORGET, USER)
        lanes.work(*tasks)
        lanes.take_back(theirs, "INC-7")
        lanes.work(*tasks)
        assert sum(task.state.total("adjusted") for task in tasks) == len(theirs)
        assert sum(task.state.ordered.counters["retracted"] for task in tasks) == len(theirs)
        assert named(home(tasks)) == []


def test_what_a_forgotten_user_did_is_recognised_when_it_comes_again(lanes: Lanes, tmp_path: Path) -> None:
    theirs = [event for event in EVENTS if event.actor == USER]
    with tasks_of(lanes, tmp_path) as tasks:
        lanes.send(EVENTS)
        lanes.work(*tasks)
        lanes.command(FORGET, USER)
        lanes.work(*tasks)
        lanes.send(theirs)
        lanes.work(*tasks)
        assert sum(task.state.total("duplicate") for task in tasks) == len(theirs)
        assert named(home(tasks)) == []


def test_a_local_copy_from_before_does_not_bring_a_forgotten_user_back(lanes: Lanes, tmp_path: Path) -> None:
    with tasks_of(lanes, tmp_path) as tasks:
        lanes.send(EVENTS)
        lanes.work(*tasks)
    shutil.copytree(tmp_path, tmp_path / "old")
    with tasks_of(lanes, tmp_path) as tasks:
        lanes.command(FORGET, USER)
        lanes.work(*tasks)
    with tasks_of(lanes, tmp_path / "old") as tasks:
        assert row_of(tasks) is None
        assert named(home(tasks)) == []
        lanes.send([Event("twitter", "later", "share", "t:5", USER, EVENTS[-1].time)])
        lanes.work(*tasks)
        assert row_of(tasks) is None


def last_sequence(lanes: Lanes) -> int:
    return max(change.sequence for change in history(lanes) if change is not None)


def state_events(tasks: list[Task]) -> int:
    """How many events count for the user."""
    row = row_of(tasks)
    assert row is not None
    return int(decode_targets([row], 1).entries[0, 0]["events"])


def test_another_hash_key_is_refused_since_under_it_nobody_would_be_forgotten(lanes: Lanes, tmp_path: Path) -> None:
    with tasks_of(lanes, tmp_path) as tasks:
        lanes.command(FORGET, USER)
        lanes.work(*tasks)
    other = Task(0, replace(lanes.shared(tmp_path / "0"), hash_key=b"another"))
    with pytest.raises(CloutError, match="under another hash key"):
        other.open()


def test_two_commands_in_one_batch_leave_neither_name(lanes: Lanes, tmp_path: Path) -> None:
    # Two users of one partition, so that both names lie in the same blocks.
    users = [user for user in sorted({event.target for event in EVENTS}) if partition_of(user.encode(), 2) == 0][:2]
    with tasks_of(lanes, tmp_path) as tasks:
        lanes.send(EVENTS)
        lanes.work(*tasks)
        for user in users:
            lanes.command(FORGET, user)
        lanes.work(*tasks)
        assert [named(tasks[0], user) for user in users] == [[], []]


def named_in_explanations(tasks: list[Task]) -> set[str | None]:
    """Who is among anybody's largest contributors, as those are told who ask."""
    found: set[str | None] = set()
    for task in tasks:
        assert task.store is not None
        for user, row in task.store.scan("targets"):
            names_of, forgotten = task.store.names_of, task.forgotten
            told = explain(user, row, task.state, model=Model(), names_of=names_of, forgotten=forgotten)
            found |= {one.actor for part in told.networks.values() for one in part.contributors}
    return found


def named_in_changes(lanes: Lanes, from_ms: int = 0) -> set[str | None]:
    """Who is a reason of anybody's changes that speak of a time or a later one."""
    changes = [decode_change(value) for _, value in committed(lanes.kafka, lanes.names.changes) if value]
    noted = [change.reasons for change in changes if change.reasons and parse_ms(change.as_of) >= from_ms]
    return {reason.actor for reasons in noted for reason in reasons}


def test_who_was_forgotten_is_named_nowhere_from_then_on(lanes: Lanes, tmp_path: Path) -> None:
    events = some_events(240, users=12)
    with tasks_of(lanes, tmp_path, reasons_share=1.0) as tasks:
        lanes.send(events[:120])
        lanes.work(*tasks)
        for before in (named_in_changes(lanes), named_in_explanations(tasks)):
            assert USER in before
            assert None not in before

        lanes.command(FORGET, USER)
        lanes.work(*tasks)
        assert None in named_in_explanations(tasks)
        assert USER not in named_in_explanations(tasks)

        # What the network goes on to report of them credits others, without a name.
        lanes.send(events[120:])
        lanes.work(*tasks)
        assert USER not in named_in_explanations(tasks)
        after = named_in_changes(lanes, events[120].time)
        assert None in after
        assert USER not in after
