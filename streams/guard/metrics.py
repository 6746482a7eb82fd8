"""Prometheus metrics of the guard; listed in docs/METRICS.md.

All children are made at start, so that no series vanishes when its fault occurs: an alert must not depend on one that
does.
"""

from collections import Counter as Tally
from collections.abc import Iterable, Mapping
from itertools import product
from typing import Final, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from schemas.incident import INCIDENT_KINDS, Incident, Severity
from schemas.population import STEPS_POINTS, Population
from streams.guard.detector import Firing, Verdict
from streams.guard.detectors.taken_back import hour_before
from streams.settings import NetworkSettings

OBSERVED: Final = ("population", "feeds", "incidents", "canaries", "control")
DELIVERY_OUTCOMES: Final = ("delivered", "retried", "dead_lettered")
CANARY_BUCKETS: Final = (0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Seconds; not those of the workers, whose module takes the kernels along."""
NO_NETWORK: Final = ""
FOUND: Final = [kind for kind in INCIDENT_KINDS if kind != "declared"]
"""Kinds that detectors find."""


class GuardMetrics:
    """What the guard counts and sees."""

    def __init__(self, networks: Mapping[str, NetworkSettings], webhooks: Iterable[str] = ()) -> None:
        """Make every child."""
        registry = self.registry = CollectorRegistry()
        self._networks, self._labels = networks, [NO_NETWORK, *networks]
        self.active = Gauge("clout_guard_active", "1: this process watches; 0: it stands by.", registry=registry)
        self.moment = Gauge("clout_guard_moment_seconds", "When it last looked, or began to watch.", registry=registry)
        self.observations = Counter(
            "clout_guard_observations", "Records seen, by topic.", ("topic",), registry=registry
        )
        for topic in OBSERVED:
            self.observations.labels(topic)
        self._firing = Gauge(
            "clout_guard_firing",
            "1 while a detector finds this.",
            ("kind", "severity", "network"),
            registry=registry,
        )
        self._open = Gauge(
            "clout_incidents_open", "Incidents not resolved.", ("kind", "severity", "network"), registry=registry
        )
        self._fallen = Gauge(
            "clout_guard_population_fallen_share",
            "Share of users so many points or more below their score when this hour of event time began, or were in "
            "the one before, without those whom `clout retract` brought there.",
            ("points",),
            registry=registry,
        )
        self._users = Gauge(
            "clout_guard_population_users", "Users who have a score, by network.", ("network",), registry=registry
        )
        self._age = Gauge(
            "clout_guard_feed_age_seconds",
            "Time since a heartbeat of the collector silent longest came, or since anything did.",
            ("network",),
            registry=registry,
        )
        self.canary_latency = Histogram(
            "clout_guard_canary_latency_seconds",
            "From a synthetic interaction to the change that it caused.",
            ("network",),
            buckets=CANARY_BUCKETS,
            registry=registry,
        )
        self.canaries_wrong = Counter(
            "clout_guard_canaries_wrong",
            "Times that a synthetic account was found wrong.",
            ("network",),
            registry=registry,
        )
        self.deliveries = Counter(
            "clout_guard_webhook_deliveries", "Deliveries to partners.", ("webhook", "outcome"), registry=registry
        )
        self.freezes = Counter("clout_guard_freezes", "Networks that the guard froze.", ("network",), registry=registry)
        for webhook in webhooks:
            for outcome in DELIVERY_OUTCOMES:
                self.deliveries.labels(webhook, outcome)
        for network in networks:
            self.canary_latency.labels(network)
            self.canaries_wrong.labels(network)
            self.freezes.labels(network)
            self._age.labels(network)
        self.stand_by()

    def watch(self, now_ms: int) -> None:
        """Show that this process watches from now on; nothing was seen yet."""
        # Before it is said to be active: whoever asks in between would take it for one that does not look.
        self.look(now_ms)
        self.active.set(1)
        self._forget()

    def stand_by(self) -> None:
        """Show that another process watches, if any does."""
        self.active.set(0)
        self._forget()

    def look(self, now_ms: int) -> None:
        """Show that this process looked."""
        self.moment.set(now_ms / 1000)

    def _forget(self) -> None:
        self.show_firing([])
        self.show_incidents([])
        self.show_population({})
        for network in self._networks:
            self._age.labels(network).set(0)

    def count_wrong_canaries(self, said: Iterable[tuple[str, Verdict]]) -> None:
        """Count what the detector of canaries finds."""
        for _, verdict in said:
            if verdict.kind == "canary" and verdict.firing and verdict.slice.network in self._networks:
                self.canaries_wrong.labels(verdict.slice.network).inc()

    def show_firing(self, firing: Iterable[Firing]) -> None:
        """Show what detectors find."""
        on = {(of.kind, of.severity, of.slice.network or NO_NETWORK) for of in firing}
        for labels in product(FOUND, get_args(Severity), self._labels):
            self._firing.labels(*labels).set(labels in on)

    def show_incidents(self, incidents: Iterable[Incident]) -> None:
        """Show how many of these, which are open, there are of each kind."""
        counts = Tally((of.kind, of.severity, of.slice.network or NO_NETWORK) for of in incidents)
        for labels in product(INCIDENT_KINDS, get_args(Severity), self._labels):
            self._open.labels(*labels).set(counts[labels])

    def show_population(self, newest: Mapping[int, Population]) -> None:
        """Show the users of all partitions, and what share of them has fallen."""
        users = sum(of.users for of in newest.values())
        for points in STEPS_POINTS:
            shifts = [shift for of in newest.values() for shift in (of.shift, hour_before(of)) if shift is not None]
            fallen = sum(shift.fallen(points) for shift in shifts)
            self._fallen.labels(str(points)).set(fallen / users if users else 0.0)
        self._users.labels(NO_NETWORK).set(users)
        for network in self._networks:
            there = [of.networks[network].users for of in newest.values() if network in of.networks]
            self._users.labels(network).set(sum(there))

    def show_feeds(self, ages_seconds: Mapping[str, float]) -> None:
        """Show how long each network has been silent."""
        for network in self._networks:
            self._age.labels(network).set(ages_seconds.get(network, 0.0))
