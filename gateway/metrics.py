"""Prometheus metrics of the gateway; names and labels are an interface, listed in docs/METRICS.md."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from streams.metrics import ColumnHistogram

_SECONDS_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class GatewayMetrics:
    """All metrics of one gateway."""

    def __init__(self) -> None:
        """Register them in a registry of their own."""
        self.registry = registry = CollectorRegistry()
        self.requests = Counter("clout_gateway_requests", "Requests answered.", ("route", "status"), registry=registry)
        self.request_seconds = Histogram(
            "clout_gateway_request_seconds",
            "From a request to the beginning of its answer.",
            ("route",),
            buckets=_SECONDS_BUCKETS,
            registry=registry,
        )
        self.streams = Gauge("clout_gateway_streams", "Streams that are open.", registry=registry)
        self.deliveries = Counter("clout_gateway_deliveries", "Changes handed to streams.", registry=registry)
        self.change_to_streams = ColumnHistogram(
            "clout_gateway_change_to_streams_seconds",
            "From the writing of a change to its being handed to all streams that want it.",
            _SECONDS_BUCKETS,
            registry,
        )
        self.slow = Counter(
            "clout_gateway_slow_streams", "Streams closed since their reader is slow.", registry=registry
        )
        self.changes = Counter("clout_gateway_changes", "Changes read from the topic.", registry=registry)
        self.users = Gauge("clout_gateway_users", "Users in the read model.", registry=registry)
        self.age = Gauge(
            "clout_gateway_age_seconds", "For how long there may be changes that are not read.", registry=registry
        )

    def follow(self, age_seconds: Callable[[], float], users: Callable[[], float]) -> None:
        """Show what these say whenever somebody looks."""
        self.age.set_function(age_seconds)
        self.users.set_function(users)
