"""When ingest tells of its raw partitions on `feeds.v1`, and what.

A report rides in a transaction that is made anyway, about once a second while something comes. For three reasons it
has one of its own: a network was frozen or goes on, more volumes wait than one record may hold, or nothing comes any
more. Volumes that wait when a raw partition goes to another process are not told: a second's worth at most.
"""

from collections.abc import Iterator
from typing import Final

from schemas.feed_report import VOLUMES_MAX, FeedReport, encode_feed_report
from schemas.times import format_ms
from streams.feed import Feed, Feeds, Partition, Reported
from streams.feed_position import CONTROL, source_of
from streams.volumes import volume

_REST_INTERVALS: Final = 2
"""So long after its last report a feed of which nothing came since is at rest: as a rule its tick comes then too."""


def urgent(feeds: Feeds, now: float, interval_seconds: float) -> set[Partition]:
    """Return the raw partitions whose report is worth a transaction of its own."""
    return {at for at, feed in feeds.items() if feed.network != CONTROL and _is_urgent(feed, now, interval_seconds)}


def _is_urgent(feed: Feed, now: float, interval_seconds: float) -> bool:
    """Return whether a report cannot wait.

    >>> from streams.feed_position import FeedPosition
    >>> feed = Feed("twitter", 9, FeedPosition([0]), at_end=True)
    >>> [_is_urgent(feed, now, 1.0) for now in (1.0, 2.0)]
    [False, True]
    """
    told = feed.reported
    if feed.frozen != (told is not None and told.frozen) or len(feed.volumes) > VOLUMES_MAX:
        return True
    came_to_rest = feed.at_end and (told is None or not told.at_end or told.position < feed.position)
    return came_to_rest and now - feed.reported_at >= _REST_INTERVALS * interval_seconds


def due(feeds: Feeds, now: float, interval_seconds: float, written_ms: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield key and value of the records that go into a transaction made now, and take what they say as told."""
    for (_, raw_partition), feed in feeds.items():
        if feed.network == CONTROL:
            continue
        news = feed.as_reported() != feed.reported or bool(feed.volumes)
        if (news and now - feed.reported_at >= interval_seconds) or _is_urgent(feed, now, interval_seconds):
            feed.reported, feed.reported_at = feed.as_reported(), now
            yield from _records(feed, raw_partition, feed.reported, written_ms)


def _records(feed: Feed, raw_partition: int, now: Reported, written_ms: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield one record, or as many as the volumes take."""
    state, volumes = feed.state, [volume(*of) for of in feed.volumes.items()]
    feed.volumes = {}
    key = source_of(feed.network, raw_partition).encode()
    for start in range(0, len(volumes) or 1, VOLUMES_MAX):
        report = FeedReport(
            network=feed.network,
            raw_partition=raw_partition,
            raw_partitions=feed.raw_partitions,
            written=format_ms(written_ms),
            position=now.position,
            lag_records=now.lag_records,
            at_end=now.at_end,
            frozen=now.frozen,
            time=format_ms(state.time_ms) if state.time_ms else None,
            arrival=format_ms(state.arrival_ms) if state.arrival_ms else None,
            heartbeats={name: format_ms(time_ms) for name, time_ms in sorted(state.heartbeats_ms.items())},
            counters=state.counters,
            volumes=volumes[start : start + VOLUMES_MAX],
        )
        yield key, encode_feed_report(report)
