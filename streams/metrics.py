"""Prometheus metrics of the roles; names and labels are an interface, listed in docs/METRICS.md.

Children of labelled metrics are made at start, so that a rate over them never begins with a gap, and no label ever
holds a user id. Those of clocks are there while there is something to say: a clock of 0 would be one of 1970.
"""

from collections.abc import Iterable, Sequence
from itertools import product
from threading import Lock
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

from schemas.change import Cause
from schemas.population import STEPS_POINTS
from scorer.laws import LAWS
from streams.clock_gauges import ClockGauges
from streams.feed_position import COMMAND_OUTCOMES, CONTROL
from streams.feed_position import COUNTERS as FEED_OUTCOMES
from streams.population_state import PopulationState
from streams.task_state import COUNTERS, LANES

SECONDS_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
LATENCY_BUCKETS = (0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0, 60.0, 600.0)
PARTITION_STATES = ("restoring", "running", "stopped")


class ColumnHistogram(Collector):
    """A histogram that observes a whole column at once."""

    def __init__(self, name: str, documentation: str, buckets: Sequence[float], registry: CollectorRegistry) -> None:
        """Register under `name`; `buckets` are upper bounds in seconds."""
        self._name, self._documentation = name, documentation
        self._bounds = np.array(buckets)
        self._counts = np.zeros(len(buckets) + 1, np.int64)
        self._sum = 0.0
        self._lock = Lock()
        registry.register(self)

    def observe(self, values: NDArray[np.float64]) -> None:
        """Count every value."""
        counts = np.bincount(np.searchsorted(self._bounds, values), minlength=len(self._counts))
        with self._lock:
            self._counts += counts
            self._sum += float(values.sum())

    def collect(self) -> Iterable[Any]:
        """Yield the histogram as it stands."""
        with self._lock:
            cumulative, total = np.cumsum(self._counts).tolist(), self._sum
        bounds = [*map(str, self._bounds.tolist()), "+Inf"]
        yield HistogramMetricFamily(
            self._name, self._documentation, buckets=list(zip(bounds, cumulative, strict=True)), sum_value=total
        )


class IngestMetrics:
    """What the ingest role counts."""

    def __init__(self, networks: Iterable[str]) -> None:
        """Make every child for the configured networks."""
        self.registry = CollectorRegistry()
        self.events = Counter(
            "clout_events",
            "Events taken in, by network and what became of them.",
            ("network", "outcome"),
            registry=self.registry,
        )
        networks = list(networks)
        for network in networks:
            for outcome in FEED_OUTCOMES:
                self.events.labels(network, outcome)
        self.commands = Counter(
            "clout_commands", "Control commands, by what became of them.", ("outcome",), registry=self.registry
        )
        for outcome in COMMAND_OUTCOMES:
            self.commands.labels(outcome)
        self.batch_seconds = Histogram(
            "clout_ingest_batch_seconds",
            "Time to decode and pack a batch.",
            buckets=SECONDS_BUCKETS,
            registry=self.registry,
        )
        self.commit_seconds = Histogram(
            "clout_commit_seconds", "Time of a Kafka transaction.", buckets=SECONDS_BUCKETS, registry=self.registry
        )
        self.lag = Gauge(
            "clout_raw_lag_records",
            "Raw records not yet taken in, by network.",
            ("network",),
            registry=self.registry,
        )
        for network in (*networks, CONTROL):
            self.lag.labels(network)
        self.frozen = Gauge(
            "clout_feed_frozen",
            "Whether a network is frozen: nothing of it is read.",
            ("network",),
            registry=self.registry,
        )
        for network in networks:
            self.frozen.labels(network)
        self.aborts = Counter("clout_ingest_aborts", "Transactions given up and read again.", registry=self.registry)

    def count(self, network: str, outcome: str, events: int) -> None:
        """Count what became of a network's events, or of commands."""
        if network == CONTROL:
            self.commands.labels(outcome).inc(events)
        else:
            self.events.labels(network, outcome).inc(events)


HOURS = ("this", "before")
"""Hours of event time of which falls are shown."""


class PopulationGauges:
    """The users of each partition, and how many have fallen."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register; nothing is shown yet."""
        self._users = Gauge("clout_users", "Users who have a score.", ("partition",), registry=registry)
        self._fallen = Gauge(
            "clout_users_fallen",
            "Users who stood so many points or more below their score when an hour of event time began: this one, or "
            "the one before; without those whom `clout retract` brought there.",
            ("partition", "points", "hour"),
            registry=registry,
        )
        self._shown: dict[int, PopulationState] = {}

    def show(self, partition: int, population: PopulationState) -> None:
        """Show a partition's numbers; what is shown already costs no more than to compare it."""
        if self._shown.get(partition) == population:
            return
        self._users.labels(str(partition)).set(population.users)
        for hour, shift in zip(HOURS, (population.shift, population.hour_before), strict=True):
            for points, users in zip(STEPS_POINTS, shift.fallen, strict=True):
                self._fallen.labels(str(partition), str(points), hour).set(users)
        # A task never changes the numbers of a state that it has committed.
        self._shown[partition] = population

    def remove(self, partition: int) -> None:
        """Show nothing of a partition that is not here."""
        if self._shown.pop(partition, None) is not None:
            self._users.remove(str(partition))
            for points, hour in product(STEPS_POINTS, HOURS):
                self._fallen.remove(str(partition), str(points), hour)


class WorkerMetrics:
    """What the score role counts."""

    def __init__(self, networks: Iterable[str], partitions: int) -> None:
        """Make every child for the configured networks and partitions."""
        registry = self.registry = CollectorRegistry()
        self.events = Counter(
            "clout_events", "Events by network and what became of them.", ("network", "outcome"), registry=registry
        )
        for network in networks:
            for outcome in COUNTERS:
                self.events.labels(network, outcome)
        self.rows = Counter("clout_rows", "Rows folded, by stage.", ("stage",), registry=registry)
        self.batch_seconds = Histogram(
            "clout_batch_seconds",
            "Time to fold a batch, by stage.",
            ("stage",),
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        for stage in LANES:
            self.rows.labels(stage)
            self.batch_seconds.labels(stage)
        self.changes = Counter("clout_changes", "Score changes emitted, by cause.", ("cause",), registry=registry)
        for cause in get_args(Cause):
            self.changes.labels(cause)
        self.commit_seconds = Histogram(
            "clout_commit_seconds", "Time of a Kafka transaction.", buckets=SECONDS_BUCKETS, registry=registry
        )
        self.restores = Counter("clout_restores", "Restores finished.", registry=registry)
        self.restore_records = Counter("clout_restore_records", "Changelog records restored.", registry=registry)
        self.restore_seconds = Histogram(
            "clout_restore_seconds", "Time of a restore.", buckets=SECONDS_BUCKETS, registry=registry
        )
        self.lag = Gauge("clout_lane_lag_records", "Lane records behind.", ("lane", "partition"), registry=registry)
        self.partition_state = Gauge(
            "clout_partition_state",
            "1 for the state a partition is in here.",
            ("partition", "state"),
            registry=registry,
        )
        self.ledger_rows = Gauge(
            "clout_ledger_rows",
            "Events and retractions that a partition recognises.",
            ("partition",),
            registry=registry,
        )
        self.ledger_window_seconds = Gauge(
            "clout_ledger_window_seconds",
            "Arrival time between the oldest and the newest of them: the effective window.",
            ("partition",),
            registry=registry,
        )
        for partition in map(str, range(partitions)):
            self.ledger_rows.labels(partition)
            self.ledger_window_seconds.labels(partition)
            for lane in LANES:
                self.lag.labels(lane, partition)
            for state in PARTITION_STATES:
                self.partition_state.labels(partition, state)
        self.clocks = ClockGauges(registry, partitions)
        self.population = PopulationGauges(registry)
        self.lost = Counter(
            "clout_task_losses", "Commits that failed for good, after which a task began again.", registry=registry
        )
        self.stale = Counter(
            "clout_stale_records", "Records that came from another generation and were left.", registry=registry
        )
        self.law_violations = Counter(
            "clout_law_violations", "Batches stopped by the audit, by law.", ("law",), registry=registry
        )
        for law in LAWS.values():
            self.law_violations.labels(law)
        self.event_to_change = ColumnHistogram(
            "clout_event_to_change_seconds",
            "From when an event happened to the change that it caused.",
            LATENCY_BUCKETS,
            registry,
        )
        self.arrival_to_change = ColumnHistogram(
            "clout_arrival_to_change_seconds",
            "From when an event came to Kafka to the change that it caused.",
            LATENCY_BUCKETS,
            registry,
        )

    def set_partition_state(self, partition: int, state: str | None) -> None:
        """Show the state of a partition here; None when it is not here."""
        for name in PARTITION_STATES:
            self.partition_state.labels(str(partition), name).set(float(name == state))
        if state == "stopped":
            self.clocks.stop(partition)
        elif state != "running":
            self.clocks.remove(partition)
            self.population.remove(partition)
