"""What an ingest process says of itself: its `/v1/status`."""

import os
from collections.abc import Mapping
from typing import Any

import msgspec

from streams.feed import Feed, Feeds
from streams.status import FeedStatus, FreezeStatus, IngestStatus


def ingest_status(feeds: Feeds, frozen: Mapping[str, FreezeStatus], address: str, version: str) -> dict[str, Any]:
    """Return the document; `feeds` are the raw partitions that the process reads, by topic and number.

    >>> ingest_status({}, {"twitter": FreezeStatus(since="")}, "127.0.0.1:1", "")["role"]
    'ingest'
    """
    status = IngestStatus(
        role="ingest",
        pid=os.getpid(),
        address=address,
        version=version,
        partitions=[_feed_status(*place, feeds[place]) for place in sorted(feeds)],
        frozen=dict(frozen),
    )
    document: dict[str, Any] = msgspec.to_builtins(status)
    return document


def _feed_status(topic: str, partition: int, feed: Feed) -> FeedStatus:
    return FeedStatus(
        topic=topic,
        network=feed.network,
        partition=partition,
        position=feed.position,
        end=max(feed.end, feed.position),
        lag_records=feed.lag_records,
        frozen=feed.frozen,
        sent={str(lane): sequence for lane, sequence in enumerate(feed.state.sent)},
        counters=dict(feed.state.counters),
    )
