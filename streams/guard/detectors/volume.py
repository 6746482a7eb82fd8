"""Feeds that bring only a part of what they should: by network, collector and raw partition."""

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.feed_report import BUCKET_MS, REGISTERS, VOLUMES_MAX, FeedReport
from schemas.incident import Severity, Slice
from streams.guard.detector import Verdict
from streams.guard.detectors.kept import Kept, Learned, time_ms
from streams.guard.detectors.series import Finding, Series
from streams.guard.observations import FeedSeen, Observation
from streams.settings import NetworkSettings
from streams.sketches import estimate, merged

DEVIATIONS: Final = 4.6
"""So far below what is usual both counts are, in deviations (`bench/partial_feeds.py`)."""
SHARE_MAX: Final = 0.85
"""What brings more than this share is not partial, however sure that is."""
CRITICAL_SHARE: Final = 0.5
WELL_BUCKETS: Final = 6
"""It is well again when for so many stretches on end half of what was missing has been back."""
ACCEPTED_BUCKETS: Final = 2_016
"""What has been so for a week is usual from then on."""
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


class Raw(msgspec.Struct, array_like=True):
    """A raw partition as it was last told."""

    time_ms: int
    arrival_ms: int
    at_end: bool


class Watched(msgspec.Struct):
    """What is known of a network, a collector or a raw partition."""

    events: Series
    actors: Series
    well: int = 0
    """Buckets in a row in which it was near what is usual, while it fires."""


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
    them is left out. A network is held against the same hour of the last weeks, its collectors and raw partitions
    against what the network brought (or would usually bring, if that is less), so that neither a burst nor a quiet day
    nor a partial network makes any of them partial (`streams.guard.detectors.series`). Events and people are both 4.6
    of their own deviations below, over ten, twenty or thirty minutes, and a seventh less at least. Until two weeks of
    the same hour are known it says nothing. A stretch that time has leapt over, and its neighbours, say and teach
    nothing; nor does anything while a slice fires. Half or more missing is critical.

    What it can see depends on how calm the network is: of 400 events in a stretch and a burst a day it finds a loss of
    30 % within half an hour nine times of ten; where few posts make most of the volume, only a loss of most of it.
    False alarms: at most one a network in 30 weeks of clean data, its raw partitions and collectors included.
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
                    network.open[key] = Open(bucket, volume.source, report.raw_partition, volume.events, volume.actors)
                continue
            known.events += volume.events
            known.actors = merged(_registers(known.actors), _registers(volume.actors)).tobytes()

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
            watched.events.skip()
            watched.actors.skip()

    def _see(self, name: str, network: Network, bucket: int, volumes: list[Open]) -> Iterator[Verdict]:
        events, actors = _sums(volumes)
        whole = self._watched(network, "")
        usual = whole.events.expected(bucket, 1.0), whole.actors.expected(bucket, 1.0)
        yield from self._judge(Slice(network=name), whole, bucket, (events, actors), (1.0, 1.0), (1.0, 1.0))
        scales = max(1.0, events), max(1.0, actors)
        # Where a network brings more than usual, a part is only expected to bring its share of what is usual.
        least = min(1.0, (usual[0] or scales[0]) / scales[0]), min(1.0, (usual[1] or scales[1]) / scales[1])
        for source in self._networks[name].sources:
            of_source = _sums([volume for volume in volumes if volume.source == source])
            about = Slice(network=name, source=source)
            yield from self._judge(about, self._watched(network, f"source {source}"), bucket, of_source, scales, least)
        for number in range(network.expected_raw if network.expected_raw > 1 else 0):
            of_raw = _sums([volume for volume in volumes if volume.raw_partition == number])
            about = Slice(network=name, raw_partition=number)
            yield from self._judge(about, self._watched(network, f"raw {number}"), bucket, of_raw, scales, least)

    def _watched(self, network: Network, key: str) -> Watched:
        watched = network.watched.get(key)
        if watched is None:
            watched = network.watched[key] = Watched(Series(), Series())
        return watched

    def _judge(
        self, about: Slice, watched: Watched, bucket: int, came: Pair, scale: Pair, least: Pair
    ) -> Iterator[Verdict]:
        of_events = watched.events.see(bucket, came[0], scale[0], least[0])
        of_actors = {of.buckets: of for of in watched.actors.see(bucket, came[1], scale[1], least[1])}
        both = [(of, of_actors[of.buckets]) for of in of_events if of.buckets in of_actors]
        low = [of for of in both if _is_low(of[0]) and _is_low(of[1])]
        said = self._said("feed_partial", about)
        if said is None and not low:
            watched.events.learn()
            watched.actors.learn()
            return
        watched.events.unlearn()
        watched.actors.unlearn()
        if low:
            watched.well = 0
            yield from self._fires(about, bucket, *min(low, key=lambda pair: pair[0].share))
        elif said is not None:
            shares = [share for share in (watched.events.share(), watched.actors.share()) if share is not None]
            back = bool(shares) and min(shares) >= 1 - said.size / 2
            watched.well = watched.well + 1 if back else 0
            if watched.well >= WELL_BUCKETS:
                numbers = {"missing_share": round(1 - min(shares), 4)}
                yield from self._unsay("feed_partial", about, "it brings what is usual again", numbers)
                said = None
        if said is not None and bucket - said.since_ms // BUCKET_MS > ACCEPTED_BUCKETS:
            watched.events, watched.actors = Series(), Series()
            yield from self._unsay("feed_partial", about, "it has been so for a week: that is usual now", {})

    def _fires(self, about: Slice, bucket: int, events: Finding, actors: Finding) -> list[Verdict]:
        missing, minutes = 1 - events.share, events.buckets * BUCKET_MS // 60_000
        severity: Severity = "critical" if missing >= CRITICAL_SHARE else "major"
        whose = about.network or ""
        if about.source is not None:
            whose = f"collector {about.source} of {whose}"
        elif about.raw_partition is not None:
            whose = f"raw partition {about.raw_partition} of {whose}"
        return self._say(
            "feed_partial",
            about,
            severity,
            f"{whose} brings {missing:.0%} fewer events than usual, of {1 - actors.share:.0%} fewer people: "
            f"{events.came:,.0f} in {minutes} minutes of event time, {events.expected:,.0f} expected; "
            f"{-events.deviations:.1f} and {-actors.deviations:.1f} deviations, {DEVIATIONS} at most",
            {
                "missing_share": round(missing, 4),
                "missing_actors_share": round(1 - actors.share, 4),
                "events": events.came,
                "expected_events": round(events.expected, 1),
                "deviations": round(-events.deviations, 2),
                "actors_deviations": round(-actors.deviations, 2),
                "limit": DEVIATIONS,
                "window_seconds": events.buckets * BUCKET_MS / 1000,
            },
            size=missing,
            at_ms=bucket * BUCKET_MS,
            since_ms=(bucket + 1 - events.buckets) * BUCKET_MS,
        )


def _is_low(finding: Finding) -> bool:
    return finding.deviations < -DEVIATIONS and finding.share < SHARE_MAX


def _registers(actors: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(actors, np.uint8)


def _sums(volumes: list[Open]) -> tuple[float, float]:
    """Return how many events volumes have together, and of how many people."""
    if not volumes:
        return 0.0, 0.0
    stacked = np.frombuffer(b"".join(volume.actors for volume in volumes), np.uint8).reshape(-1, REGISTERS)
    return float(sum(volume.events for volume in volumes)), estimate(stacked.max(axis=0))
