"""The users of partitions in numbers, on a real Kafka: exact whatever happens, and told in time."""

import itertools
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest

from clout.population import newest_populations
from schemas.packed import FORGET
from schemas.population import Population, decode_population
from schemas.times import HOUR_MS
from scorer.model import DAY_MS
from scorer.standing import histogram_of
from streams import task_state
from streams.population import CHANGED_SECONDS, UNCHANGED_SECONDS
from streams.settings import KafkaSettings
from streams.store import Local, Rows
from streams.task import Task
from streams.ticks import Tick
from tests.checks import changes_of, committed
from tests.scans import Found, counters_of, scan_of
from tests.streams.tasks import Lanes, some_events

EVENTS = some_events(400, users=40)


class Clock:
    """A wall clock that is set by hand."""

    def __init__(self) -> None:
        self.seconds = time.time()

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def lanes(kafka_settings: KafkaSettings) -> Lanes:
    return Lanes(kafka_settings)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def task(lanes: Lanes, tmp_path: Path, clock: Clock) -> Iterator[Task]:
    with lanes.task(tmp_path / "0", clock=clock) as task:
        yield task


def tick(time_ms: int) -> Tick:
    """The only raw partition has come to this time."""
    return Tick("twitter", 0, 1, time_ms, time_ms, True, {})


def let_pass(lanes: Lanes, time_ms: int, *tasks: Task) -> None:
    lanes.tick(tick(time_ms))
    lanes.work(*tasks)


def scan(task: Task) -> Found:
    assert task.store is not None
    return scan_of(task.store, task.state.population, task.state.networks)


def told(lanes: Lanes) -> list[Population]:
    lanes.settle(lanes.names.population)
    return [decode_population(value or b"") for _, value in committed(lanes.kafka, lanes.names.population)]


def check_counters(*tasks: Task) -> None:
    for task in tasks:
        assert counters_of(task.state.population, task.state.networks) == scan(task)


def test_counters_follow_events_decay_retractions_forgetting_restarts_and_restores(
    kafka_settings: KafkaSettings, tmp_path: Path
) -> None:
    lanes = Lanes(kafka_settings, partitions=2)
    end_ms = EVENTS[-1].time
    with ExitStack() as stack:
        tasks = [stack.enter_context(lanes.task(tmp_path / "a", partition)) for partition in (0, 1)]
        lanes.send(EVENTS[:300])
        let_pass(lanes, EVENTS[299].time, *tasks)
        check_counters(*tasks)
        lanes.send(EVENTS[300:])
        let_pass(lanes, end_ms, *tasks)
        check_counters(*tasks)
        assert sum(any(task.state.population.shift.counts) for task in tasks), "nobody moved in the last hour"
        let_pass(lanes, end_ms + 5 * DAY_MS, *tasks)
        check_counters(*tasks)
        assert any(task.state.population.shift_before for task in tasks)
        to_one = [event for event in EVENTS if event.target == "t:3"]
        lanes.send(to_one, retract=True)
        lanes.work(*tasks)
        check_counters(*tasks)
        assert sum(task.state.population.shift.counts[-1] for task in tasks) == 1, "who has nothing left is gone"
        users = sum(task.state.population.users for task in tasks)
        lanes.command(FORGET, "t:4")
        lanes.work(*tasks)
        check_counters(*tasks)
        assert sum(task.state.population.users for task in tasks) == users - 1
        populations = [task.state.population for task in tasks]
    causes: dict[str, int] = {}
    for change in itertools.chain.from_iterable(changes_of(lanes.kafka, lanes.names.changes).values()):
        causes[change.cause] = causes.get(change.cause, 0) + 1
    counted = [population.changes for population in populations]
    assert {cause: sum(of.get(cause, 0) for of in counted) for cause in causes} == causes  # type: ignore[call-overload]
    assert {"interaction", "decay", "retraction", "forget"} == causes.keys()
    for directory in ("a", "anew"):
        with ExitStack() as stack:
            tasks = [stack.enter_context(lanes.task(tmp_path / directory, partition)) for partition in (0, 1)]
            assert [task.state.population for task in tasks] == populations
            for task in tasks:
                task.commit([])
                check_counters(task)
            lanes.settle(lanes.names.population)
            newest = newest_populations(lanes.kafka, lanes.names)
            assert histogram_of(newest.values()) == [
                sum(bins) for bins in zip(*(scan(t)[0][0] for t in tasks), strict=True)
            ]
            assert histogram_of(newest.values(), "twitter") == [
                sum(bins) for bins in zip(*(scan(task)[0][1] for task in tasks), strict=True)
            ]
            populations = [task.state.population for task in tasks]


def test_a_state_of_before_users_were_counted_is_counted_when_it_is_opened(
    lanes: Lanes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.population_state.PIECE_USERS", 7)
    with lanes.task(tmp_path / "0") as task:
        lanes.send(EVENTS)
        let_pass(lanes, EVENTS[-1].time, task)
        counters = counters_of(task.state.population, task.state.networks)
        assert task.store is not None
        fields = msgspec.msgpack.decode(task_state.encode(task.state))
        del fields["population"]
        local = task.store.local()
        assert isinstance(local, Local)
        task.store.write(Rows(), msgspec.msgpack.encode(fields | {"version": 3}), local)
    with lanes.task(tmp_path / "0") as task:
        assert task.state.population.counted
        assert counters_of(task.state.population, task.state.networks) == counters == scan(task)
        assert task.state.population.shift.hour == EVENTS[-1].time // HOUR_MS
        lanes.send(some_events(50, seed=2))
        lanes.work(task)
        check_counters(task)


def test_what_is_told_says_what_the_state_does_and_is_numbered_without_a_gap(
    lanes: Lanes, task: Task, clock: Clock, tmp_path: Path
) -> None:
    for number in range(4):
        lanes.send(EVENTS[100 * number : 100 * (number + 1)])
        let_pass(lanes, EVENTS[100 * number + 99].time, task)
        clock.seconds += CHANGED_SECONDS
        lanes.work(task)
        while task.has_work:
            task.commit([])
        last = told(lanes)[-1]
        assert last.histogram == scan(task)[0][0]
        assert last.networks["twitter"].histogram == scan(task)[0][1]
        assert last.users == last.networks["twitter"].users == task.state.population.users
        assert last.sequence == task.state.population.sequence
        assert last.next_offsets == {lane: position + 1 for lane, position in task.state.positions.items()}
    task.close()
    with lanes.task(tmp_path / "anew", clock=clock) as again:
        assert again.has_work
        again.commit([])
    populations = told(lanes)
    assert [population.sequence for population in populations] == list(range(1, len(populations) + 1))
    assert populations[-1].changes == task.state.population.changes
    assert populations[-1].networks["twitter"].clock is not None


def test_a_burst_is_told_once_it_has_waited_and_nothing_more_happens_then(
    lanes: Lanes, task: Task, clock: Clock
) -> None:
    task.commit([])
    assert [population.users for population in told(lanes)] == [0]
    lanes.send(EVENTS)
    lanes.work(task)
    assert len(told(lanes)) == 1
    clock.seconds += CHANGED_SECONDS
    assert task.has_work
    task.commit([])
    assert [population.users for population in told(lanes)] == [0, task.state.population.users]
    clock.seconds += 100 * UNCHANGED_SECONDS
    task.commit([])
    assert len(told(lanes)) == 2


def test_while_only_time_goes_on_it_is_told_once_a_minute(lanes: Lanes, task: Task, clock: Clock) -> None:
    task.commit([])
    hour_ms = EVENTS[0].time // HOUR_MS * HOUR_MS
    let_pass(lanes, hour_ms, task)
    clock.seconds += CHANGED_SECONDS
    task.commit([])
    before = len(told(lanes))
    for second in range(1, 3):
        clock.seconds += UNCHANGED_SECONDS / 2
        let_pass(lanes, hour_ms + 1_000 * second, task)
    assert len(told(lanes)) == before + 1


def test_a_wall_clock_that_was_set_back_does_not_silence_a_partition(lanes: Lanes, task: Task, clock: Clock) -> None:
    task.commit([])
    clock.seconds -= 86_400
    lanes.send(EVENTS[:10])
    lanes.work(task)
    clock.seconds += CHANGED_SECONDS
    task.commit([])
    assert told(lanes)[-1].users == task.state.population.users > 0


def test_what_is_told_is_seen_only_with_its_commit(lanes: Lanes, task: Task, tmp_path: Path) -> None:
    lanes.send(EVENTS[:10])
    with lanes.task(tmp_path / "rival"):
        lanes.offer(task)
        with pytest.raises(Exception, match="fenced"):
            task.commit(task.intake.take(task.state, task.source, rows_max=50_000, own_in_flight_max=256))
    assert told(lanes) == []
