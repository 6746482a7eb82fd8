"""A raw partition as an ingest process reads it: where it stands, and when it has something to tell about time."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from streams.feed_position import CONTROL, FeedPosition
from streams.ticks import Tick
from streams.volumes import Counted, Slice

_QUIET_INTERVALS: Final = 2
"""Ticks of a raw partition that brought nothing, or only heartbeats, come so many times more seldom: each costs every
task two commits, which are most of what an idle worker costs (`python -m bench --only idle`)."""


Partition = tuple[str, int]
"""Topic and number of a raw partition."""


class Reported(NamedTuple):
    """What a report says, as far as a new one depends on it."""

    position: int
    lag_records: int
    at_end: bool
    frozen: bool


@dataclass(slots=True)
class Feed:
    """A raw partition that this process reads."""

    network: str
    position: int
    """Offset of the next record to read."""
    state: FeedPosition
    raw_partitions: int = 1
    """How many the topic has."""
    end: int = 0
    at_end: bool = False
    """Whether everything that had come was read, as of the last fetch."""
    frozen: bool = False
    """Whether nothing of it is read, because an order says so."""
    told: Tick | None = None
    """The last tick."""
    told_at: float = 0.0
    """When that was, in seconds of the monotonic clock."""
    told_events: int = 0
    """Events read by then, heartbeats apart."""
    vouched: bool = False
    """Whether the broker was asked since then, and everything had been read."""
    reported: Reported | None = None
    """The last report."""
    reported_at: float = 0.0
    """When that was, in seconds of the monotonic clock."""
    volumes: dict[Slice, Counted] = field(default_factory=dict)
    """What came since."""

    def news(self, raw_partition: int, now: float, interval_seconds: float) -> Tick | None:
        """Return the tick to tell now, and take it as told; None when there is no news, or it was told just now.

        >>> feed = Feed("twitter", 9, FeedPosition([0], {"read": 2, "heartbeat": 0}, time_ms=5))
        >>> feed.news(0, 1.0, 1.0).time_ms
        5
        >>> feed.news(0, 9.0, 1.0) is None
        True
        """
        if self.network == CONTROL or now - self.told_at < interval_seconds:
            return None
        state = self.state
        if self._is_quiet() and now - self.told_at < _QUIET_INTERVALS * interval_seconds:
            return None
        heartbeats_ms = dict(sorted(state.heartbeats_ms.items()))
        tick = Tick(
            self.network,
            raw_partition,
            self.raw_partitions,
            state.time_ms,
            state.arrival_ms,
            self.vouched,
            heartbeats_ms,
        )
        if self.told is not None and tick == self.told._replace(at_end=False):
            return None
        self.told, self.told_at, self.told_events, self.vouched = tick, now, self._events, False
        return tick

    @property
    def _events(self) -> int:
        return self.state.counters["read"] - self.state.counters["heartbeat"]

    def _is_quiet(self) -> bool:
        return self.told is not None and self._events == self.told_events

    def may_vouch(self) -> bool:
        """Return whether it is worth asking if everything was read: as far as fetches say, and nobody knows it yet."""
        return self.at_end and self.told is not None and not self.vouched

    def freeze(self) -> None:
        """Read no further. As long as it is frozen nobody knows that all of it was read."""
        self.frozen, self.at_end, self.vouched = True, False, False

    def count(self, of: Slice, counted: Counted) -> None:
        """Note a volume until it is reported."""
        before = self.volumes.get(of)
        self.volumes[of] = counted if before is None else before.plus(counted)

    @property
    def lag_records(self) -> int:
        """Records that have come, as far as fetches have told, and were not read.

        >>> Feed("twitter", 9, FeedPosition([0]), end=11).lag_records
        2
        """
        return max(0, self.end - self.position)

    def as_reported(self) -> Reported:
        """Return what a report would say now."""
        return Reported(self.position, self.lag_records, self.at_end, self.frozen)


Feeds = Mapping[Partition, Feed]
"""What a process reads."""
