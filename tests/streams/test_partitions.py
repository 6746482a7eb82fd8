"""How the partitions of a worker come and go; Faust's consumer is stood in for, everything else is real."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from faust.types import TP

from schemas.incident import Slice, decode_incident
from schemas.population import Population, decode_population
from streams.flow import Flow
from streams.opening import Shared
from streams.partitions import Partitions
from streams.settings import KafkaSettings, WorkerSettings
from streams.task import Task
from streams.task_state import ACTORS, TARGETS, TaskState
from tests.checks import broken_chains, changes_of, committed
from tests.streams.tasks import Lanes, some_events

EVENTS = some_events(30)
SLOW = WorkerSettings(restore_delay_seconds=1.0)


class Consumer:
    """As much of Faust's consumer as the flow of a partition needs; it hands over nothing."""

    def __init__(self, lanes: Lanes) -> None:
        self.assigned = {TP(topic, 0) for topic in (lanes.names.actors_lane, lanes.names.targets_lane)}
        self.flowing: set[TP] = set()
        self.sought: dict[TP, int] = {}

    def assignment(self) -> set[TP]:
        return self.assigned

    async def seek_wait(self, offsets: Mapping[TP, int]) -> None:
        self.sought |= offsets

    def resume_partitions(self, tps: Iterable[TP]) -> None:
        self.flowing |= set(tps)

    def pause_partitions(self, tps: Iterable[TP]) -> None:
        self.flowing -= set(tps)

    def on_buffer_drop(self, tp: TP) -> None: ...


@pytest.fixture
def lanes(kafka_settings: KafkaSettings) -> Lanes:
    return Lanes(kafka_settings)


def made(lanes: Lanes, shared: Shared) -> tuple[Partitions, Consumer]:
    consumer = Consumer(lanes)
    lane_of = {lanes.names.actors_lane: ACTORS, lanes.names.targets_lane: TARGETS}
    return Partitions(shared, Flow(lambda: consumer, lane_of, 100_000)), consumer


def sequence_aside(state: TaskState) -> TaskState:
    copy = state.copy()
    copy.population.sequence = 0
    return copy


def told(lanes: Lanes) -> list[Population]:
    return [decode_population(value or b"") for _, value in committed(lanes.kafka, lanes.names.population)]


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not done():  # noqa: ASYNC110  what is waited for knows of no event
            await asyncio.sleep(0.02)


def run(scenario: Callable[[], Awaitable[Any]]) -> None:
    async def main() -> None:
        await scenario()

    asyncio.run(main())


def test_a_restore_under_way_is_kept_when_a_rebalance_leaves_its_partition(lanes: Lanes, tmp_path: Path) -> None:
    async def scenario() -> None:
        partitions, consumer = made(lanes, replace(lanes.shared(tmp_path), settings=SLOW))
        await partitions.assigned({0}, 1)
        task = partitions.opening[0]
        await partitions.revoked()
        await partitions.assigned({0}, 2)
        assert partitions.opening[0] is task
        await until(lambda: 0 in partitions.tasks)
        assert partitions.tasks[0] is task
        await until(lambda: consumer.flowing == consumer.assigned)
        assert task.intake.takes(ACTORS, 0, 2)
        await partitions.leave()

    run(scenario)


def test_a_restore_under_way_is_dropped_when_its_partition_goes(lanes: Lanes, tmp_path: Path) -> None:
    async def scenario() -> None:
        partitions, _ = made(lanes, replace(lanes.shared(tmp_path), settings=SLOW))
        await partitions.assigned({0}, 1)
        dropped = partitions.opening[0]
        await partitions.revoked()
        await partitions.assigned(set(), 2)
        assert partitions.opening == {}
        await partitions.assigned({0}, 3)
        await until(lambda: 0 in partitions.tasks)
        assert partitions.tasks[0] is not dropped
        assert dropped.store is None
        await partitions.leave()

    run(scenario)


def test_a_restore_that_ends_while_another_partition_closes_is_dropped_too(
    kafka_settings: KafkaSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lanes = Lanes(kafka_settings, partitions=2)
    opens, closes = Task.open, Task.close
    open_now, opened, close_now = threading.Event(), threading.Event(), threading.Event()

    def opening(task: Task) -> int | None:
        if task.partition == 1:
            assert open_now.wait(20)
        restored = opens(task)
        if task.partition == 1:
            opened.set()
        return restored

    def closing(task: Task) -> None:
        assert task.partition == 1 or close_now.wait(20)
        closes(task)

    async def scenario() -> None:
        partitions, _ = made(lanes, lanes.shared(tmp_path))
        monkeypatch.setattr(Task, "open", opening)
        monkeypatch.setattr(Task, "close", closing)
        await partitions.assigned({0, 1}, 1)
        await until(lambda: 0 in partitions.tasks)
        await partitions.revoked()
        leaving = asyncio.ensure_future(partitions.assigned(set(), 2))
        await until(lambda: not partitions.tasks)
        open_now.set()
        await until(opened.is_set)
        await until(lambda: not partitions._busy[1].locked())
        close_now.set()
        await leaving
        assert partitions.tasks == partitions.opening == {}
        await partitions.leave()

    run(scenario)


def test_a_restore_that_ends_between_two_generations_waits_for_the_next(lanes: Lanes, tmp_path: Path) -> None:
    async def scenario() -> None:
        partitions, consumer = made(lanes, replace(lanes.shared(tmp_path), settings=SLOW))
        await partitions.assigned({0}, 1)
        await partitions.revoked()
        await until(lambda: 0 in partitions.tasks)
        await until(lambda: consumer.sought != {})
        assert consumer.flowing == set()
        assert partitions.tasks[0].intake.last_offset(ACTORS) is None
        await partitions.leave()

    run(scenario)


def test_nothing_flows_before_a_restore_is_done(lanes: Lanes, tmp_path: Path) -> None:
    async def scenario() -> None:
        partitions, consumer = made(lanes, replace(lanes.shared(tmp_path), settings=SLOW))
        await partitions.assigned({0}, 1)
        assert not any(partitions.is_ready(tp) for tp in consumer.assigned)
        assert partitions.next_offsets(consumer.assigned) == {}
        assert consumer.flowing == set()
        await until(lambda: 0 in partitions.tasks)
        assert set(partitions.next_offsets(consumer.assigned).values()) == {0}
        await partitions.leave()

    run(scenario)


def test_a_task_that_was_fenced_comes_back_through_restore_and_goes_on(lanes: Lanes, tmp_path: Path) -> None:
    async def scenario() -> None:
        partitions, consumer = made(lanes, lanes.shared(tmp_path / "a"))
        await partitions.assigned({0}, 1)
        await until(lambda: 0 in partitions.tasks)
        first = partitions.tasks[0]
        await until(lambda: consumer.flowing == consumer.assigned)
        lanes.send(EVENTS)
        with lanes.task(tmp_path / "rival") as rival:
            lanes.work(rival)
            consumer.sought.clear()
            lanes.offer_as(first, 1)
            partitions.wake(0)
            await until(lambda: first.store is None)
            assert consumer.flowing == set()
            assert 0 not in partitions.tasks
        await until(lambda: 0 in partitions.tasks)
        again = partitions.tasks[0]
        assert again is not first
        # It tells the numbers of its users at once.
        assert sequence_aside(again.state) == sequence_aside(rival.state)
        await until(lambda: consumer.flowing == consumer.assigned)
        assert consumer.sought[TP(lanes.names.actors_lane, 0)] == again.state.positions[ACTORS] + 1
        assert broken_chains(changes_of(lanes.kafka, lanes.names.changes)) == []
        await partitions.leave()

    run(scenario)


def test_a_burst_is_told_in_numbers_although_nothing_follows_and_then_it_is_quiet(
    lanes: Lanes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.population.CHANGED_SECONDS", 0.5)

    async def scenario() -> None:
        partitions, consumer = made(lanes, replace(lanes.shared(tmp_path), address="here:1"))
        await partitions.assigned({0}, 1)
        await until(lambda: consumer.flowing == consumer.assigned)
        task = partitions.tasks[0]
        await until(lambda: task.state.population.sequence == 1)
        lanes.send(EVENTS)
        async with partitions._busy[0]:
            lanes.work(task)
        await until(lambda: told(lanes)[-1].users == task.state.population.users > 0)
        assert {population.worker for population in told(lanes)} == {"here:1"}
        at_rest = task.state.population.sequence
        await asyncio.sleep(2.5)
        assert task.state.population.sequence == at_rest == len(told(lanes))
        await partitions.leave()

    run(scenario)


def test_a_partition_that_refuses_to_start_says_why_and_leaves_the_others_alone(lanes: Lanes, tmp_path: Path) -> None:
    lanes.send(EVENTS)
    with lanes.task(tmp_path) as task:
        lanes.work(task)
    lanes.remake(lanes.names.actors_lane)

    async def scenario() -> None:
        partitions, _ = made(lanes, lanes.shared(tmp_path))
        await partitions.assigned({0}, 1)
        await until(lambda: 0 in partitions.failed)
        assert "deleted and created again" in partitions.failed[0]
        assert partitions.tasks == partitions.opening == {}
        await until(lambda: bool(committed(lanes.kafka, lanes.names.incidents)))
        [(_, value)] = committed(lanes.kafka, lanes.names.incidents)
        incident = decode_incident(value or b"")
        assert (incident.kind, incident.slice, incident.severity) == (
            "partition_stopped",
            Slice(partition=0),
            "critical",
        )
        assert "deleted and created again" in incident.evidence[0].detail
        await partitions.leave()

    run(scenario)


@pytest.mark.parametrize(
    "problem",
    [
        KafkaException(KafkaError(KafkaError._TIMED_OUT)),
        TimeoutError(),
        OSError("No space left on device (os error 28)"),
    ],
)
def test_a_partition_that_cannot_open_now_is_tried_again(
    lanes: Lanes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: Exception
) -> None:
    problems, opens = [problem], Task.open

    def opening(task: Task) -> int | None:
        if problems:
            raise problems.pop()
        return opens(task)

    monkeypatch.setattr(Task, "open", opening)

    async def scenario() -> None:
        partitions, _ = made(lanes, lanes.shared(tmp_path))
        await partitions.assigned({0}, 1)
        await until(lambda: 0 in partitions.tasks)
        assert (problems, partitions.failed) == ([], {})
        await partitions.leave()

    run(scenario)


def damaged(_users: list[bytes]) -> list[bytes | None]:
    # What RocksDB says of a block whose checksum is wrong.
    raise OSError("Corruption: block checksum mismatch")


def test_damage_that_a_working_task_meets_is_rebuilt_and_it_goes_on(
    lanes: Lanes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lanes.send(EVENTS[:20])
    with lanes.task(tmp_path) as task:
        lanes.work(task)

    async def scenario() -> None:
        partitions, consumer = made(lanes, lanes.shared(tmp_path))
        await partitions.assigned({0}, 1)
        await until(lambda: 0 in partitions.tasks)
        first = partitions.tasks[0]
        await until(lambda: consumer.flowing == consumer.assigned)
        monkeypatch.setattr(first.store, "read_targets", damaged)
        lanes.send(EVENTS[20:])
        lanes.offer_as(first, 1)
        partitions.wake(0)
        await until(lambda: partitions.tasks.get(0) not in {None, first})
        again = partitions.tasks[0]
        async with partitions._busy[0]:
            lanes.work(again)
        assert again.state.counters["twitter"]["applied"] == len(EVENTS)
        await partitions.leave()

    run(scenario)
