"""Clocks wait for the slowest input, never go back, and are told to every task."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.packed import PackedError
from schemas.users import partition_of
from scorer.reference import Event
from streams.clocks import Inputs, advanced, inputs_waited_for
from streams.settings import KafkaSettings, NetworkSettings
from streams.task import Task
from streams.task_state import task_of
from streams.ticks import Tick
from tests.streams.tasks import Lanes

DAY_MS = 86_400_000
NOW = 1_700_000_000_000
WAITING = NetworkSettings(sources=("west", "east"))
PATIENT = NetworkSettings(idle_after_seconds=60)


def tick(raw_partition: int, time_ms: int, *, of: int = 2, arrival_ms: int = NOW, at_end: bool = False) -> Tick:
    return Tick("twitter", raw_partition, of, time_ms, arrival_ms, at_end, {})


def beat(raw_partition: int, time_ms: int, **heartbeats_ms: int) -> Tick:
    return tick(raw_partition, time_ms)._replace(heartbeats_ms=heartbeats_ms)


def heard(*ticks: Tick, by: NetworkSettings = WAITING) -> Inputs:
    inputs = Inputs()
    for one in ticks:
        inputs.hear(one, by)
    return inputs


def quiet(time_ms: int, *, seconds: int = 60, at_end: bool = True) -> Tick:
    """A tick of raw partition 1, to which nothing came for so long."""
    return tick(1, time_ms, arrival_ms=NOW - seconds * 1000, at_end=at_end)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 1_000)), max_size=40))
def test_a_clock_never_passes_an_input_and_never_goes_back(told: list[tuple[int, int]]) -> None:
    inputs = Inputs()
    last: dict[int, int] = {}
    for raw_partition, time_ms in told:
        inputs.hear(tick(raw_partition, time_ms, of=3), NetworkSettings())
        last[raw_partition] = max(time_ms, last.get(raw_partition, 0))
        before, inputs.clock_ms = inputs.clock_ms, advanced(inputs, NetworkSettings())
        assert inputs.clock_ms == (min(last.values()) if len(last) == 3 else None)
        assert inputs.clock_ms is None or before is None or inputs.clock_ms >= before


def test_one_raw_partition_that_was_never_heard_of_holds_the_clock_and_is_named() -> None:
    inputs = heard(tick(0, 500))
    assert advanced(inputs, NetworkSettings()) is None
    assert inputs_waited_for(inputs, NetworkSettings())[0] == ("raw partition 1", None, None, None)


def test_an_empty_raw_partition_holds_the_clock_until_a_heartbeat_comes_there() -> None:
    inputs = heard(tick(0, 500), tick(1, 0, arrival_ms=0))
    assert advanced(inputs, NetworkSettings()) is None
    inputs.hear(tick(1, 400), NetworkSettings())
    assert advanced(inputs, NetworkSettings()) == 400


@pytest.mark.parametrize(("at_end", "quiet_seconds", "clock_ms"), [(True, 60, 500), (True, 59, 100), (False, 600, 100)])
def test_a_raw_partition_that_is_read_to_its_end_and_long_quiet_follows_the_others(
    at_end: bool,
    quiet_seconds: int,
    clock_ms: int,
) -> None:
    twice = [quiet(100, seconds=quiet_seconds, at_end=at_end)] * 2
    assert advanced(heard(tick(0, 500), *twice, by=PATIENT), PATIENT) == clock_ms
    assert advanced(heard(tick(0, 500), *twice, by=NetworkSettings()), NetworkSettings()) == 100


def test_one_that_follows_comes_as_far_as_the_others_were_at_its_tick_before() -> None:
    inputs = heard(tick(0, 500), quiet(100), tick(0, 600), by=PATIENT)
    assert advanced(inputs, PATIENT) == 100
    inputs.hear(quiet(100), PATIENT)
    # That all was read was seen after 500 had been heard; whether before or after 600 was read nobody knows.
    assert advanced(inputs, PATIENT) == 500
    assert inputs_waited_for(inputs, PATIENT)[0] == ("raw partition 1", 500, NOW - 60_000, None)
    inputs.hear(quiet(100), PATIENT)
    assert advanced(inputs, PATIENT) == 600
    assert [hold.name for hold in inputs_waited_for(inputs, PATIENT)] == ["raw partition 0"]


def test_one_for_which_nobody_vouches_any_more_holds_the_clock_and_is_named() -> None:
    inputs = heard(tick(0, 500), quiet(100), quiet(100), tick(0, 900), by=PATIENT)
    assert advanced(inputs, PATIENT) == 500
    assert inputs_waited_for(inputs, PATIENT)[0] == ("raw partition 1", 500, NOW - 60_000, None)
    # What was unread when others came so far, is in front of the first tick that vouches again.
    inputs.hear(tick(1, 700, arrival_ms=NOW), PATIENT)
    assert advanced(inputs, PATIENT) == 700


def test_what_comes_where_all_was_quiet_ends_the_following() -> None:
    inputs = heard(tick(0, 500), quiet(100), tick(1, 150, at_end=True), tick(0, 900), by=PATIENT)
    assert advanced(inputs, PATIENT) == 500
    inputs.hear(tick(1, 150, at_end=True), PATIENT)
    assert advanced(inputs, PATIENT) == 500


def test_where_every_raw_partition_falls_silent_time_stands() -> None:
    inputs = heard(tick(0, 500), tick(1, 400), by=PATIENT)
    inputs.clock_ms = advanced(inputs, PATIENT)
    assert inputs.clock_ms == 400
    for number in (0, 1, 0, 1):
        inputs.hear(tick(number, 500 - 100 * number, at_end=True), PATIENT)
        assert advanced(inputs, PATIENT) == 400


def test_one_dead_collector_holds_the_clock_until_it_returns_or_is_released() -> None:
    inputs = heard(beat(0, 900, west=800), beat(1, 900, west=850))
    assert advanced(inputs, WAITING) is None
    inputs.hear(beat(0, 900, east=300), WAITING)
    inputs.hear(beat(1, 900, east=300), WAITING)
    assert advanced(inputs, WAITING) == 300
    inputs.release("east")
    assert advanced(inputs, WAITING) == 800
    inputs.clock_ms = 800
    inputs.hear(beat(1, 900, east=300), WAITING)
    assert advanced(inputs, WAITING) == 800
    inputs.hear(beat(1, 950, east=350), WAITING)
    assert inputs.released_ms == {}
    assert advanced(inputs, WAITING) == 800


def test_a_heartbeat_vouches_only_for_the_raw_partition_that_it_came_through() -> None:
    inputs = heard(beat(0, 900, west=900, east=900), beat(1, 900, west=900, east=300))
    # East's backlog in raw partition 1 lies unread, and west has long been further there.
    assert inputs_waited_for(inputs, WAITING)[0] == ("source east", 300, None, 1)
    assert advanced(inputs, WAITING) == 300
    inputs.hear(beat(1, 900, west=900, east=850), WAITING)
    assert advanced(inputs, WAITING) == 850


def test_a_source_never_heard_in_a_raw_partition_where_others_are_holds_the_clock_and_is_named() -> None:
    inputs = heard(beat(0, 900, west=900, east=900), beat(1, 900, west=900))
    assert advanced(inputs, WAITING) is None
    assert inputs_waited_for(inputs, WAITING)[0] == ("source east", None, None, 1)


def test_sources_are_not_waited_for_in_a_raw_partition_that_is_idle() -> None:
    settings = NetworkSettings(sources=("west",), idle_after_seconds=60)
    inputs = heard(beat(0, 500, west=500), quiet(100), quiet(100), by=settings)
    assert advanced(inputs, settings) == 500


@given(
    st.lists(st.tuples(st.integers(0, 1), st.sampled_from(["", *WAITING.sources]), st.integers(1, 1_000)), max_size=40)
)
def test_a_clock_never_passes_a_source_in_any_raw_partition(told: list[tuple[int, str, int]]) -> None:
    inputs = Inputs()
    last: dict[tuple[int, str], int] = {}
    for raw_partition, source, time_ms in told:
        last[raw_partition, source] = max(time_ms, last.get((raw_partition, source), 0))
        theirs = {of: at for (where, of), at in last.items() if where == raw_partition}
        beats = {of: at for of, at in theirs.items() if of}
        inputs.hear(beat(raw_partition, max(theirs.values()), **beats), WAITING)
        by_source = [last.get((where, of), 0) for where in range(2) for of in WAITING.sources]
        inputs.clock_ms = advanced(inputs, WAITING)
        assert inputs.clock_ms == (min(by_source) or None)


def test_more_raw_partitions_hold_the_clock_from_the_moment_they_are_there() -> None:
    inputs = heard(tick(0, 500), tick(1, 500))
    inputs.clock_ms = advanced(inputs, NetworkSettings())
    inputs.hear(tick(0, 700, of=3), NetworkSettings())
    assert advanced(inputs, NetworkSettings()) == 500
    assert inputs_waited_for(inputs, NetworkSettings())[0].name == "raw partition 2"


@pytest.mark.parametrize("source", ["twitter/3", "actors/", "actors/x", "actors"])
def test_clocks_of_whoever_is_no_task_are_refused(source: str) -> None:
    with pytest.raises(PackedError, match="told by actors tasks alone"):
        task_of(source)


# On a real Kafka ------------------------------------------------------------------------------------------------------


@pytest.fixture
def lanes(kafka_settings: KafkaSettings) -> Lanes:
    return Lanes(kafka_settings, partitions=2)


def share(number: int, target: str, time_ms: int) -> Event:
    return Event("twitter", f"e{number}", "share", f"a:{number}", target, time_ms)


def everywhere(time_ms: int, **heartbeats_ms: int) -> list[Tick]:
    """What is told when collectors send heartbeats to both raw partitions."""
    return [beat(raw_partition, time_ms, **heartbeats_ms) for raw_partition in range(2)]


def clocks(*tasks: Task) -> list[dict[str, int]]:
    return [task.state.clocks for task in tasks]


def test_a_task_that_stands_still_holds_the_clock_of_all(lanes: Lanes, tmp_path: Path) -> None:
    with lanes.task(tmp_path / "0", 0) as first:
        with lanes.task(tmp_path / "1", 1) as second:
            lanes.tick(tick(0, NOW), tick(1, NOW))
            lanes.work(first, second)
            assert clocks(first, second) == [{"twitter": NOW}, {"twitter": NOW}]
        lanes.tick(tick(0, NOW + 5), tick(1, NOW + 7))
        lanes.work_alone(first)
        assert clocks(first) == [{"twitter": NOW}]
        with lanes.task(tmp_path / "1", 1) as second:
            lanes.work(first, second)
            assert clocks(first, second) == [{"twitter": NOW + 5}, {"twitter": NOW + 5}]


def test_clocks_are_restored_and_a_score_is_taken_at_them(lanes: Lanes, tmp_path: Path) -> None:
    user = next(f"t:{number}" for number in range(100) if partition_of(f"t:{number}".encode(), 2) == 0)
    with lanes.task(tmp_path / "0", 0) as first, lanes.task(tmp_path / "1", 1) as second:
        lanes.send([share(number, user, NOW) for number in range(40)])
        lanes.work(first, second)
        before = lanes.last_change(user)
        lanes.tick(tick(0, NOW + 30 * DAY_MS), tick(1, NOW + 30 * DAY_MS))
        lanes.work(first, second)
    with lanes.task(tmp_path / "new0", 0) as first, lanes.task(tmp_path / "new1", 1) as second:
        assert clocks(first, second) == [{"twitter": NOW + 30 * DAY_MS}] * 2
        # One more act, as late as the others: what they gave has halved since, though nothing later came.
        lanes.send([share(50, user, NOW)])
        lanes.work(first, second)
        after = lanes.last_change(user)
    assert before.score is not None
    assert after.score is not None
    assert after.score < before.score
    assert after.as_of == "2023-12-14T22:13:20.000Z"


def test_a_release_moves_the_clock_in_the_batch_that_brings_it_and_outlives_a_restore(
    lanes: Lanes, tmp_path: Path
) -> None:
    lanes.network = WAITING
    with lanes.task(tmp_path / "0", 0) as first, lanes.task(tmp_path / "1", 1) as second:
        lanes.tick(*everywhere(NOW + 9, west=NOW, east=NOW + 9))
        lanes.work(first, second)
        assert clocks(first, second) == [{"twitter": NOW}] * 2
        lanes.release("west")
        lanes.work(first, second)
        assert clocks(first, second) == [{"twitter": NOW + 9}] * 2
    with lanes.task(tmp_path / "new0", 0) as first, lanes.task(tmp_path / "new1", 1) as second:
        # What ingest tells again is no news of the collector.
        lanes.tick(*everywhere(NOW + 20, west=NOW, east=NOW + 20))
        lanes.work(first, second)
        assert clocks(first, second) == [{"twitter": NOW + 20}] * 2
        lanes.tick(*everywhere(NOW + 30, west=NOW + 1, east=NOW + 30))
        lanes.work(first, second)
        assert [task.state.inputs["twitter"].released_ms for task in (first, second)] == [{}, {}]
        assert clocks(first, second) == [{"twitter": NOW + 20}] * 2


def test_a_release_keeps_its_place_among_ticks_of_the_same_batch(lanes: Lanes, tmp_path: Path) -> None:
    lanes.network = WAITING
    with lanes.task(tmp_path / "0", 0) as first, lanes.task(tmp_path / "1", 1) as second:
        lanes.tick(*everywhere(NOW + 9, west=NOW, east=NOW + 9))
        lanes.release("west")
        lanes.tick(*everywhere(NOW + 9, west=NOW + 5))
        lanes.work(first, second)
        assert clocks(first, second) == [{"twitter": NOW + 5}] * 2
        lanes.tick(beat(0, NOW + 9, west=NOW + 7))
        lanes.release("west")
        lanes.work(first, second)
        assert clocks(first, second) == [{"twitter": NOW + 9}] * 2


def test_a_source_that_was_never_heard_of_can_be_released_before_anything_came(lanes: Lanes, tmp_path: Path) -> None:
    lanes.network = WAITING
    with lanes.task(tmp_path / "0", 0) as first, lanes.task(tmp_path / "1", 1) as second:
        lanes.release("west")
        lanes.work(first, second)
        assert clocks(first, second) == [{}, {}]
        lanes.tick(*everywhere(NOW, east=NOW))
        lanes.work(first, second)
        assert clocks(first, second) == [{"twitter": NOW}] * 2
