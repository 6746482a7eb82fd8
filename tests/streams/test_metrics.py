import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from streams.metrics import ColumnHistogram, IngestMetrics, WorkerMetrics
from streams.task_state import COUNTERS

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
BUCKETS = (0.1, 1.0, 10.0)
LABELS = {"network", "outcome", "stage", "cause", "lane", "partition", "state", "law", "le"}


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
