"""A raw partition as an ingest process reads it: where it stands, and when it has something to tell about time."""

from dataclasses import dataclass
from typing import Final

from streams.feed_position import CONTROL, FeedPosition
from streams.ticks import Tick

_QUIET_INTERVALS: Final = 2
"""Ticks of a raw partition that brought nothing but heartbeats come so many times more seldom: each costs every task
two commits, which are most of what an idle worker costs (`python -m bench --only idle`)."""


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
    told: Tick | None = None
    """The last tick."""
    told_at: float = 0.0
    """When that was, in seconds of the monotonic clock."""
    told_events: int = 0
    """Events read by then, heartbeats apart."""

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
        events = state.counters["read"] - state.counters["heartbeat"]
        quiet = self.told is not None and events == self.told_events
        if quiet and now - self.told_at < _QUIET_INTERVALS * interval_seconds:
            return None
        heartbeats_ms = dict(sorted(state.heartbeats_ms.items()))
        tick = Tick(
            self.network,
            raw_partition,
            self.raw_partitions,
            state.time_ms,
            state.arrival_ms,
            self.at_end,
            heartbeats_ms,
        )
        if tick == self.told:
            return None
        self.told, self.told_at, self.told_events = tick, now, events
        return tick
