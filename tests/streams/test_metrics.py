import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from streams.clocks import Inputs, Raw
from streams.metrics import ColumnHistogram, IngestMetrics, PopulationGauges, WorkerMetrics
from streams.population_state import HourShift, PopulationState
from streams.settings import NetworkSettings
from streams.task_state import COUNTERS, TaskState

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
BUCKETS = (0.1, 1.0, 10.0)
LABELS = {"network", "outcome", "stage", "cause", "lane", "partition", "state", "law", "by", "le"}


def samples(registry: CollectorRegistry) -> Samples:
    """Every sample by name and labels; creation times left out."""
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


@given(st.lists(st.lists(st.floats(-1, 100) | st.sampled_from(BUCKETS), max_size=20), max_size=5))
def test_observing_a_column_is_observing_each_of_its_values(columns: list[list[float]]) -> None:
    one, other = CollectorRegistry(), CollectorRegistry()
    fast = ColumnHistogram("seconds", "Help.", BUCKETS, one)
    usual = Histogram("seconds", "Help.", buckets=BUCKETS, registry=other)
    for column in columns:
        fast.observe(np.array(column))
        for value in column:
            usual.observe(value)
    assert samples(one) == pytest.approx(samples(other))


def test_every_child_is_there_from_the_start() -> None:
    worker = samples(WorkerMetrics(["a", "b"], 3).registry)
    ingest = samples(IngestMetrics(["a", "b"]).registry)

    def of(found: Samples, name: str) -> set[frozenset[tuple[str, str]]]:
        return {labels for metric, labels in found if metric == name}

    def each(**values: list[str]) -> set[frozenset[tuple[str, str]]]:
        made: set[frozenset[tuple[str, str]]] = {frozenset()}
        for label, choices in values.items():
            made = {labels | {(label, choice)} for labels in made for choice in choices}
        return made

    networks, partitions = ["a", "b"], ["0", "1", "2"]
    outcomes = ["read", "passed", "dead_lettered", "heartbeat", "retracting"]
    causes = ["interaction", "decay", "retraction", "forget", "model", "correction"]
    states = ["restoring", "running", "stopped"]
    assert of(ingest, "clout_events_total") == each(network=networks, outcome=outcomes)
    assert of(ingest, "clout_raw_lag_records") == each(network=[*networks, "@control"])
    assert of(ingest, "clout_commands_total") == each(outcome=["read", "accepted", "refused", "dead_lettered"])
    assert of(worker, "clout_events_total") == each(network=networks, outcome=list(COUNTERS))
    assert of(worker, "clout_changes_total") == each(cause=causes)
    assert of(worker, "clout_rows_total") == each(stage=["actors", "targets"])
    assert of(worker, "clout_lane_lag_records") == each(lane=["actors", "targets"], partition=partitions)
    assert of(worker, "clout_partition_state") == each(partition=partitions, state=states)
    assert of(worker, "clout_law_violations_total")


def test_no_label_can_hold_a_user() -> None:
    for registry in (WorkerMetrics(["a"], 1).registry, IngestMetrics(["a"]).registry):
        assert {label for _, labels in samples(registry) for label, _ in labels} <= LABELS


@pytest.mark.parametrize("state", ["restoring", "running", "stopped", None])
def test_a_partition_is_shown_in_one_state_or_none(state: str | None) -> None:
    metrics = WorkerMetrics([], 2)
    metrics.set_partition_state(1, "running")
    metrics.set_partition_state(1, state)
    shown = {
        dict(labels)["state"]
        for (name, labels), value in samples(metrics.registry).items()
        if name == "clout_partition_state" and dict(labels)["partition"] == "1" and value
    }
    assert shown == ({state} if state else set())


def clocks_shown(metrics: WorkerMetrics) -> dict[tuple[str, ...], float]:
    """Every series of a clock, by name, network, partition and what holds it."""
    return {
        (name.removeprefix("clout_clock_"), *(value for _, value in sorted(labels, reverse=True))): value
        for (name, labels), value in samples(metrics.registry).items()
        if name.startswith("clout_clock_")
    }


def state_of(clock_ms: int | None, *times_ms: int, scores_ms: int | None = None) -> TaskState:
    """A task whose network has raw partitions that came so far."""
    raw = {number: Raw(time_ms, 1) for number, time_ms in enumerate(times_ms)}
    inputs = {"a": Inputs(len(raw), raw, clock_ms=clock_ms)}
    clocks = {} if scores_ms is None else {"a": scores_ms}
    return TaskState(model="1", model_hash="", inputs=inputs, clocks=clocks)


def test_a_clock_is_shown_with_the_one_input_that_holds_it() -> None:
    metrics, networks = WorkerMetrics(["a"], 2), {"a": NetworkSettings()}
    assert not clocks_shown(metrics)
    metrics.clocks.show(1, state_of(None, 9_000, 0), networks)
    assert clocks_shown(metrics) == {("held", "1", "a", "raw partition 1"): 1}
    metrics.clocks.show(1, state_of(2_000, 9_000, 2_000, scores_ms=1_000), networks)
    of_clock = {("seconds", "1", "a"): 1.0, ("behind_seconds", "1", "a"): 8.0}
    assert clocks_shown(metrics) == of_clock | {("held", "1", "a", "raw partition 1"): 1}
    metrics.clocks.show(1, state_of(9_000, 9_000, 9_500, scores_ms=1_000), networks)
    of_clock[("behind_seconds", "1", "a")] = 8.5
    assert clocks_shown(metrics) == of_clock | {("held", "1", "a", "raw partition 0"): 1}
    metrics.clocks.show(1, state_of(9_500, 9_500, 9_500, scores_ms=9_500), networks)
    assert clocks_shown(metrics) == {("seconds", "1", "a"): 9.5, ("behind_seconds", "1", "a"): 0.0}


@pytest.mark.parametrize(
    ("told_ms", "by"),
    [
        ({1: 9_000}, "partition 0"),
        ({0: 2_000, 1: 9_000, 2: 3_000}, "partition 0"),
        ({0: 9_000, 1: 9_000, 2: 3_000}, "partition 2"),
        ({0: 9_000, 1: 9_000, 2: 9_000}, None),
        ({0: 9_500, 1: 9_000, 2: 9_000}, None),
        ({0: 9_000, 2: 9_000}, None),
    ],
)
def test_a_clock_that_another_partition_holds_is_shown_with_that_partition(
    told_ms: dict[int, int], by: str | None
) -> None:
    metrics = WorkerMetrics(["a"], 3)
    state = state_of(9_000, 9_000, 9_000, scores_ms=2_000)
    state.told_ms = {"a": told_ms}
    metrics.clocks.show(1, state, {})
    held = [labels[3] for labels in clocks_shown(metrics) if labels[0] == "held"]
    assert held == ([] if by is None else [by])
    assert clocks_shown(metrics)["behind_seconds", "1", "a"] == 7.0


def test_a_partition_that_has_stopped_holds_its_clocks_itself() -> None:
    metrics = WorkerMetrics(["a"], 2)
    metrics.clocks.show(1, state_of(2_000, 9_000, 2_000, scores_ms=1_000), {})
    metrics.set_partition_state(1, "stopped")
    assert ("held", "1", "a", "partition 1") in clocks_shown(metrics)
    # The commit that was in hand.
    metrics.clocks.show(1, state_of(3_000, 9_000, 3_000, scores_ms=1_000), {})
    assert [labels[3] for labels in clocks_shown(metrics) if labels[0] == "held"] == ["partition 1"]
    metrics.set_partition_state(1, None)
    assert not clocks_shown(metrics)


@pytest.mark.parametrize(("state", "shown"), [("stopped", True), ("restoring", False), (None, False)])
def test_the_clocks_of_a_partition_that_is_not_here_are_not_shown(state: str | None, shown: bool) -> None:
    metrics = WorkerMetrics(["a"], 2)
    metrics.clocks.show(1, state_of(2_000, 9_000, 2_000, scores_ms=1_000), {})
    metrics.set_partition_state(0, None)
    metrics.set_partition_state(1, state)
    assert bool(clocks_shown(metrics)) is shown


def test_falls_of_this_hour_and_the_one_before_are_shown_until_the_partition_goes() -> None:
    registry = CollectorRegistry()
    gauges = PopulationGauges(registry)
    now, before = (HourShift(hour, (fallen,) * len(HourShift().counts)) for hour, fallen in ((8, 2), (7, 5)))
    gauges.show(3, PopulationState(shift=now, shift_before=before))
    shown = [
        samples(registry)["clout_users_fallen", frozenset({"partition": "3", "points": "5", "hour": hour}.items())]
        for hour in ("this", "before")
    ]
    assert shown == [2.0, 5.0]
    gauges.remove(3)
    assert samples(registry) == {}
