"""How long feeds have been silent, by the guard's own clock: event times of a history that is replayed are long ago."""

from collections.abc import Mapping

from schemas.feed_report import FeedReport
from streams.settings import NetworkSettings


class FeedAges:
    """When something last came from each collector, and each network."""

    def __init__(self, networks: Mapping[str, NetworkSettings], now_ms: int) -> None:
        """Begin to listen; what never comes is silent since now."""
        self._networks, self._began_ms = networks, now_ms
        self._came: dict[tuple[str, str], tuple[str, int]] = {}
        """By network and collector, or raw partition: what it last said of time, and when that was."""

    def hear(self, report: FeedReport, now_ms: int) -> None:
        """Take in what ingest tells of a raw partition."""
        if self._sources(report.network):
            for source, told in report.heartbeats.items():
                self._hear(report.network, source, told, now_ms)
        elif report.arrival is not None:
            self._hear(report.network, str(report.raw_partition), report.arrival, now_ms)

    def seconds(self, now_ms: int) -> dict[str, float]:
        """Return for each network how long the collector has been silent that is longest, or without any, all of it."""
        ages = {}
        for network in self._networks:
            if sources := self._sources(network):
                last_ms = min(self._came.get((network, of), ("", self._began_ms))[1] for of in sources)
            else:
                came = (at_ms for (name, _), (_, at_ms) in self._came.items() if name == network)
                last_ms = max(came, default=self._began_ms)
            ages[network] = max(0, now_ms - last_ms) / 1000
        return ages

    def _sources(self, network: str) -> tuple[str, ...]:
        settings = self._networks.get(network)
        return () if settings is None else settings.sources

    def _hear(self, network: str, of: str, told: str, now_ms: int) -> None:
        if told > self._came.get((network, of), ("", 0))[0]:
            self._came[network, of] = told, now_ms
