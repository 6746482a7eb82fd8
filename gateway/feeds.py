"""What is known of the feeds: how far each raw partition is read, what came, what is frozen, and what holds a clock."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from confluent_kafka import Message
from numpy.typing import NDArray

from gateway.population import network_clock
from schemas.control import CommandRecord, decode_record
from schemas.feed_report import BUCKET_MS, FeedReport, decode_feed_report
from schemas.gateway import ClockHolder, NetworkVolume
from schemas.population import Population
from schemas.times import format_ms, parse_ms
from streams.freezes import Orders
from streams.population import UNCHANGED_SECONDS
from streams.settings import NetworkSettings
from streams.sketches import estimate, merged

READ_BACK_SECONDS: Final = 3 * 3600.0
"""Reports so old are read when a gateway starts."""
VOLUMES_SHOWN: Final = 24
"""Stretches of event time whose volumes are shown: two hours."""
HOLDERS_SHOWN: Final = 8
TOLD_WITHIN_MS: Final = int(UNCHANGED_SECONDS * 1000)
"""A partition tells its clock at least so often while time goes on: within it, nobody is behind."""


class _Volume(NamedTuple):
    events: int
    retracting: int
    sketch: NDArray[np.uint8]


class Feeds:
    """All feeds, as last told; any thread may ask."""

    def __init__(self) -> None:
        """Begin with nothing told."""
        self.reports: dict[tuple[str, int], FeedReport] = {}
        """The newest report of each raw partition."""
        self.orders = Orders()
        self.released: dict[tuple[str, str], str] = {}
        """When a network's clock was last told not to wait for a source."""
        self._volumes: dict[str, dict[int, _Volume]] = {}
        self.told_ms = 0
        """When the newest report was written."""

    def on_report(self, message: Message) -> None:
        """Take a record of `feeds.v1`."""
        value = message.value()
        if value is None:
            return
        report = decode_feed_report(value)
        self.reports = {**self.reports, (report.network, report.raw_partition): report}
        self.told_ms = max(self.told_ms, parse_ms(report.written))
        volumes = dict(self._volumes.get(report.network, {}))
        for told in report.volumes:
            at = parse_ms(told.bucket)
            sketch = np.frombuffer(told.actors, np.uint8)
            before = volumes.get(at, _Volume(0, 0, np.zeros_like(sketch)))
            volumes[at] = _Volume(
                before.events + told.events, before.retracting + told.retracting, merged(before.sketch, sketch)
            )
        oldest = max(volumes, default=0) - VOLUMES_SHOWN * BUCKET_MS
        self._volumes[report.network] = {at: of for at, of in volumes.items() if at > oldest}

    def on_command(self, message: Message) -> None:
        """Take a record of `control.record.v1`."""
        record: CommandRecord = decode_record(message.value() or b"")
        self.orders.heed(record)
        if record.command == "release" and record.accepted and record.network and record.source:
            self.released = {**self.released, (record.network, record.source): record.received}

    def of(self, network: str) -> list[FeedReport]:
        """Return the newest reports of a network, by raw partition."""
        return [report for (name, _), report in sorted(self.reports.items()) if name == network]

    def volumes(self, network: str) -> list[NetworkVolume]:
        """Return what came of the last stretches of event time, the oldest first.

        >>> Feeds().volumes("twitter")
        []
        """
        return [
            NetworkVolume(
                bucket=format_ms(at),
                events=volume.events,
                retracting=volume.retracting,
                actors=round(estimate(volume.sketch)),
            )
            for at, volume in sorted(self._volumes.get(network, {}).items())
        ]


class _Input(NamedTuple):
    """A raw partition, or a source that sends heartbeats."""

    name: str
    time: str | None


def holders(
    network: str,
    feeds: Feeds,
    settings: NetworkSettings,
    populations: Mapping[int, Population],
    still: frozenset[int],
) -> list[ClockHolder]:
    """Return what holds a network's clock where it is, the first of many; `still` are partitions that stand still."""
    found = [*_freeze(network, feeds), *_standing(network, populations, still)]
    reports = feeds.of(network)
    if not reports:
        return [*found, ClockHolder(name="ingest", time=None, why="nothing was heard of any raw partition lately")]
    inputs = list(_inputs(network, feeds, reports, settings))
    times = [of.time for of in inputs]
    furthest = max((report.time for report in reports if report.time), default=None)
    least = None if None in times else min((time for time in times if time), default=None)
    if least != furthest:
        found += [ClockHolder(name=of.name, time=of.time, why=_why(of)) for of in inputs if of.time == least]
    found += _late(network, populations, still, least)
    return found[:HOLDERS_SHOWN]


def _freeze(network: str, feeds: Feeds) -> Iterator[ClockHolder]:
    order = feeds.orders.frozen.get(network)
    if order is not None:
        yield ClockHolder(name="freeze", time=order.since, why="an order keeps its interactions unread")


def _standing(network: str, populations: Mapping[int, Population], still: frozenset[int]) -> Iterator[ClockHolder]:
    partitions = max((of.partitions for of in populations.values()), default=0)
    for partition in range(partitions):
        told = populations.get(partition)
        if told is None:
            yield ClockHolder(name=f"partition {partition}", time=None, why="nothing was heard of it")
        elif partition in still:
            yield ClockHolder(name=f"partition {partition}", time=_clock(told, network), why="stands still")


def _inputs(network: str, feeds: Feeds, reports: Sequence[FeedReport], settings: NetworkSettings) -> Iterator[_Input]:
    """Yield what the clock waits for (`streams.clocks` decides; this tells what can be told from reports)."""
    by_number = {report.raw_partition: report for report in reports}
    newest = max((report.arrival for report in reports if report.arrival), default=None)
    for number in range(max(report.raw_partitions for report in reports)):
        report = by_number.get(number)
        if not _is_idle(report, newest, settings.idle_after_seconds):
            yield _Input(f"raw partition {number}", None if report is None else report.time)
    for source in settings.sources:
        heard = max((report.heartbeats[source] for report in reports if source in report.heartbeats), default=None)
        released = feeds.released.get((network, source))
        if released is None or (heard is not None and heard > released):
            yield _Input(f"source {source}", heard)


def _is_idle(report: FeedReport | None, newest: str | None, idle_after_seconds: int) -> bool:
    if not idle_after_seconds or report is None or newest is None or report.arrival is None or not report.at_end:
        return False
    return parse_ms(newest) - parse_ms(report.arrival) >= idle_after_seconds * 1000


def _why(held: _Input) -> str:
    if held.time is None:
        return "nothing was ever heard of it" if held.name.startswith("source") else "nothing was heard of it lately"
    return "furthest behind"


def _late(
    network: str, populations: Mapping[int, Population], still: frozenset[int], least: str | None
) -> Iterator[ClockHolder]:
    """Yield partitions that have not come as far as what was read."""
    clock = network_clock(list(populations.values()), network)
    if clock is None or least is None or parse_ms(least) - parse_ms(clock) <= TOLD_WITHIN_MS:
        return
    for partition, told in sorted(populations.items()):
        if partition not in still and _clock(told, network) == clock:
            yield ClockHolder(name=f"partition {partition}", time=clock, why="behind what was read")


def _clock(told: Population, network: str) -> str | None:
    part: Any = told.networks.get(network)
    return None if part is None else part.clock
