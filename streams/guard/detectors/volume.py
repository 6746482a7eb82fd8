"""Feeds that bring only a part of what they should: by network, collector and raw partition."""

from collections.abc import Iterator, Mapping
from statistics import median
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.feed_report import BUCKET_MS, REGISTERS, VOLUMES_MAX, FeedReport
from schemas.incident import Slice
from streams.guard.detector import Verdict
from streams.guard.detectors.kept import Kept, Learned, time_ms
from streams.guard.detectors.lows import low_of
from streams.guard.detectors.series import Series
from streams.guard.observations import FeedSeen, Observation
from streams.settings import NetworkSettings
from streams.sketches import estimate, merged

CRITICAL_SHARE: Final = 0.5
WELL_BUCKETS: Final = 6
"""It is well again when for so many stretches on end half of what was missing has been back."""
ACCEPTED_BUCKETS: Final = 2_016
"""What has been so for a week is usual from then on."""
QUORUM_MIN: Final = 3
"""So many other parts can say together what a network brings, though one of them is odd."""
OPEN_MAX: Final = 4_000
"""Volumes of stretches that are not over: those of partitions that are ahead of others in a backlog."""
GAP_BUCKETS: Final = 2
"""Time that goes on by more at once, without events, was a gap: nobody knows what is missing there."""

Pair = tuple[float, float]
"""Of events, and of who acted."""


class Open(msgspec.Struct, array_like=True):
    """Volume of a raw partition and a collector in a stretch that is not over."""

    bucket: int
    source: str
    raw_partition: int
    events: int
    actors: bytes
    targets: bytes = b""


class Raw(msgspec.Struct, array_like=True):
    """A raw partition as it was last told."""

    time_ms: int
    arrival_ms: int
    at_end: bool


class Watched(msgspec.Struct):
    """What is known of a network, a collector or a raw partition."""

    events: Series
    actors: Series
    targets: Series = msgspec.field(default_factory=Series)
    """Of a network alone."""
    well: int = 0
    """Buckets in a row in which it was near what is usual, while it fires."""

    def all(self) -> tuple[Series, Series, Series]:
        """Return the series of all that is counted."""
        return self.events, self.actors, self.targets

    def share(self) -> float | None:
        """Return what share of the expected came in the last half hour; None where that cannot be said.

        Where it is known, whom a network credits tells: a burst that fades makes it not partial.
        """
        by_targets = self.targets.share()
        by_both = [share for share in (self.events.share(), self.actors.share()) if share is not None]
        return min(by_both, default=None) if by_targets is None else by_targets


class Network(msgspec.Struct):
    """All that is known of a network."""

    raw: dict[int, Raw] = {}
    expected_raw: int = 1
    closed: int = 0
    """First stretch that is not over; 0 before any."""
    open: dict[str, Open] = {}
    watched: dict[str, Watched] = {}
    seen: int = 0
    """The last stretch that was judged."""
    after_gap: bool = True
    """Whether the next stretch began before anybody listened."""


class Volumes(Learned, kw_only=True):
    """All networks."""

    networks: dict[str, Network] = msgspec.field(default_factory=dict)


class FeedPartial(Kept[Volumes]):
    """A network, a registered collector or a raw partition brings fewer events, of fewer people, than usual.

    Stretches of five minutes of event time, judged when the network's time has passed their end; what comes later for
    them is left out. A network is held against the same hour of the last weeks, by events, who acts and who is
    credited; its collectors and raw partitions against what the network brought (or would usually bring, if that is
    less), so that neither a burst nor a quiet day nor a partial network makes any of them partial. How far below what
    is usual they are is told in their own deviations over ten, twenty or thirty minutes
    (`streams.guard.detectors.series`), and `streams.guard.detectors.lows` says what is too far. Until two weeks of the
    same hour are known it says nothing. A stretch that time has leapt over, and its neighbours, say and teach nothing;
    nor does anything while a slice fires. Half or more missing is critical.

    What it can see depends on how much a network brings and how calm it is: docs/decisions/0023 has a table. False
    alarms: at most one a network in 3 weeks of clean data, its raw partitions and collectors included.
    """

    name = "feed_partial"

    def __init__(self, networks: Mapping[str, NetworkSettings]) -> None:
        """Watch these networks."""
        super().__init__(Volumes())
        self._networks = networks

    def update(self, observation: Observation) -> list[Verdict]:
        """Take in a report; judge the stretches that are over by it."""
        if not isinstance(observation, FeedSeen) or observation.report.network not in self._networks:
            return []
        report = observation.report
        network = self._learned.networks.setdefault(report.network, Network())
        self._take_in(network, report)
        over = self._time_ms(report.network, network)
        return [] if over is None else list(self._close(report.network, network, over // BUCKET_MS))

    def _take_in(self, network: Network, report: FeedReport) -> None:
        network.expected_raw = report.raw_partitions
        told_ms = time_ms(report.time)
        # A full report is followed by another one of the same moment, with the rest of its volumes.
        if told_ms is not None and len(report.volumes) < VOLUMES_MAX:
            before = network.raw.get(report.raw_partition)
            network.raw[report.raw_partition] = Raw(
                max(told_ms, 0 if before is None else before.time_ms), time_ms(report.arrival) or 0, report.at_end
            )
        for volume in report.volumes:
            begins_ms = time_ms(volume.bucket)
            if begins_ms is None or begins_ms // BUCKET_MS < network.closed:
                continue
            bucket = begins_ms // BUCKET_MS
            key = f"{bucket}/{report.raw_partition}/{volume.source}"
            known = network.open.get(key)
            if known is None:
                if len(network.open) < OPEN_MAX:
                    about = bucket, volume.source, report.raw_partition
                    network.open[key] = Open(*about, volume.events, volume.actors, volume.targets)
                continue
            known.events += volume.events
            known.actors = _together(known.actors, volume.actors)
            known.targets = _together(known.targets, volume.targets)

    def _time_ms(self, name: str, network: Network) -> int | None:
        """Return how far all raw partitions have come; None while one never told anything."""
        if len(network.raw) < network.expected_raw:
            return None
        raw = network.raw.values()
        idle_ms = self._networks[name].idle_after_seconds * 1000
        newest_ms = max(of.arrival_ms for of in raw)
        waited = [of.time_ms for of in raw if not (idle_ms and of.at_end and of.arrival_ms < newest_ms - idle_ms)]
        return min(waited, default=None)

    def _close(self, name: str, network: Network, over: int) -> Iterator[Verdict]:
        if over <= network.closed:
            return
        first, network.closed = network.closed or over, over
        by_bucket: dict[int, list[Open]] = {}
        for key in [key for key, volume in network.open.items() if volume.bucket < over]:
            volume = network.open.pop(key)
            by_bucket.setdefault(volume.bucket, []).append(volume)
        whole = by_bucket.keys() | {first - 1, over}
        leapt = over - first > GAP_BUCKETS
        for bucket in sorted(by_bucket) if leapt else range(first, over):
            if network.after_gap or bucket < first or (leapt and not {bucket - 1, bucket + 1} <= whole):
                network.after_gap = False
                continue
            if bucket != network.seen + 1:
                self._skip(network)
            network.seen = bucket
            yield from self._see(name, network, bucket, by_bucket.get(bucket, []))
        network.after_gap = network.after_gap or (leapt and over - 1 not in by_bucket)

    def _skip(self, network: Network) -> None:
        """Let nothing that comes follow on what was seen last."""
        for watched in network.watched.values():
            for series in watched.all():
                series.skip()

    def _see(self, name: str, network: Network, bucket: int, volumes: list[Open]) -> Iterator[Verdict]:
        events, actors = _sums(volumes)
        whole = self._watched(network, "")
        usual = whole.events.expected(bucket, 1.0), whole.actors.expected(bucket, 1.0)
        ones = 1.0, 1.0
        yield from self._judge(Slice(network=name), whole, bucket, (events, actors), ones, ones, _credited(volumes))
        parts: dict[Slice, tuple[Watched, Pair]] = {}
        for source in self._networks[name].sources:
            of_source = _sums([volume for volume in volumes if volume.source == source])
            parts[Slice(network=name, source=source)] = self._watched(network, f"source {source}"), of_source
        yield from self._see_parts(bucket, parts, (events, actors), usual)
        parts = {}
        for number in range(network.expected_raw if network.expected_raw > 1 else 0):
            of_raw = _sums([volume for volume in volumes if volume.raw_partition == number])
            parts[Slice(network=name, raw_partition=number)] = self._watched(network, f"raw {number}"), of_raw
        yield from self._see_parts(bucket, parts, (events, actors), usual)

    def _see_parts(
        self,
        bucket: int,
        parts: Mapping[Slice, tuple[Watched, Pair]],
        came: Pair,
        usual: tuple[float | None, float | None],
    ) -> Iterator[Verdict]:
        """Judge collectors, or raw partitions, by their share of what came.

        Where a network brings more than usual, a part is only expected to bring its share of what is usual, or of what
        most of the others say that the network brings.
        """
        scales = max(1.0, came[0]), max(1.0, came[1])
        said = [
            (_says(watched.events, bucket, theirs[0]), _says(watched.actors, bucket, theirs[1]))
            for watched, theirs in parts.values()
        ]
        for number, (about, (watched, theirs)) in enumerate(parts.items()):
            others = said[:number] + said[number + 1 :]
            least = (
                _least(scales[0], usual[0], [of[0] for of in others]),
                _least(scales[1], usual[1], [of[1] for of in others]),
            )
            yield from self._judge(about, watched, bucket, theirs, scales, least)

    def _watched(self, network: Network, key: str) -> Watched:
        watched = network.watched.get(key)
        if watched is None:
            watched = network.watched[key] = Watched(Series(), Series())
        return watched

    def _judge(
        self,
        about: Slice,
        watched: Watched,
        bucket: int,
        came: Pair,
        scale: Pair,
        least: Pair,
        credited: float | None = None,
    ) -> Iterator[Verdict]:
        low = low_of(
            about,
            watched.events.see(bucket, came[0], scale[0], least[0]),
            watched.actors.see(bucket, came[1], scale[1], least[1]),
            [] if credited is None else watched.targets.see(bucket, credited, 1.0),
        )
        if credited is None:
            watched.targets.skip()
        said = self._said("feed_partial", about)
        if said is None and low is None:
            for series in watched.all():
                series.learn()
            return
        for series in watched.all():
            series.unlearn()
        if low is not None:
            watched.well = 0
            yield from self._say(
                "feed_partial",
                about,
                "critical" if low.missing >= CRITICAL_SHARE else "major",
                low.detail,
                low.numbers,
                size=low.missing,
                at_ms=bucket * BUCKET_MS,
                since_ms=(bucket + 1 - low.buckets) * BUCKET_MS,
            )
        elif said is not None:
            share = watched.share()
            watched.well = watched.well + 1 if share is not None and share >= 1 - said.size / 2 else 0
            if watched.well >= WELL_BUCKETS and share is not None:
                numbers = {"missing_share": round(1 - share, 4)}
                yield from self._unsay("feed_partial", about, "it brings what is usual again", numbers)
                said = None
        if said is not None and bucket - said.since_ms // BUCKET_MS > ACCEPTED_BUCKETS:
            watched.events, watched.actors, watched.targets = Series(), Series(), Series()
            yield from self._unsay("feed_partial", about, "it has been so for a week: that is usual now", {})


def _says(part: Series, bucket: int, came: float) -> float | None:
    """Return what the whole network brings, by what a part of it brings; None while its share is not known."""
    share = part.expected(bucket, 1.0)
    return came / share if share else None


def _least(came: float, usual: float | None, others: list[float | None]) -> float:
    """Return of which share of what came a part must bring its own: a wave on one other part is not expected of it."""
    known = [of for of in others if of is not None]
    quorum = median(known) if len(known) == len(others) >= QUORUM_MIN else 0.0
    return min(1.0, max(usual or came, quorum) / came)


def _together(one: bytes, other: bytes) -> bytes:
    """Return the sketch of both; empty where one of them was not told."""
    return merged(_registers(one), _registers(other)).tobytes() if one and other else b""


def _registers(actors: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(actors, np.uint8)


def _sums(volumes: list[Open]) -> Pair:
    """Return how many events volumes have together, and of how many people."""
    return float(sum(volume.events for volume in volumes)), _people([volume.actors for volume in volumes])


def _credited(volumes: list[Open]) -> float | None:
    """Return how many people volumes credit together; None where that was not told."""
    told = [volume.targets for volume in volumes]
    return _people(told) if all(told) else None


def _people(sketches: list[bytes]) -> float:
    if not sketches:
        return 0.0
    return estimate(np.frombuffer(b"".join(sketches), np.uint8).reshape(-1, REGISTERS).max(axis=0))
