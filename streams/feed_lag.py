"""How far raw partitions are behind: looked at now and then, at next to no cost."""

import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from confluent_kafka import Consumer, KafkaException, TopicPartition

from streams.feed import Feeds, Partition
from streams.metrics import IngestMetrics

_LOOK_SECONDS: Final = 1.0
_ASK_EVERY_SECONDS: Final = 10.0
"""How often the broker is asked where raw partitions end of which nothing came: frozen ones are not fetched, and if
fetches of others hang, that is to show."""
_ANSWER_SECONDS: Final = 1.0


class FeedLag:
    """Notes where the raw partitions of a process end."""

    def __init__(self, metrics: IngestMetrics, networks: Iterable[str]) -> None:
        """Show the lag of these networks, and of commands."""
        self._metrics, self._networks = metrics, list(networks)
        self._next_look = self._next_ask = 0.0
        self._positions: dict[Partition, int] = {}
        """Of each raw partition when the broker was asked last."""

    def observe(self, consumer: Consumer, feeds: Feeds) -> None:
        """Note it, when it is time, as far as fetches have told."""
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + _LOOK_SECONDS
        lag = dict.fromkeys(self._networks, 0)
        for (topic, partition), feed in feeds.items():
            _, end = consumer.get_watermark_offsets(TopicPartition(topic, partition), cached=True)
            feed.end = max(feed.end, end)
        if now >= self._next_ask:
            self._next_ask = now + _ASK_EVERY_SECONDS
            self._ask(consumer, feeds)
        for feed in feeds.values():
            lag[feed.network] += feed.lag_records
        for network, records in lag.items():
            self._metrics.lag.labels(network).set(records)

    def _ask(self, consumer: Consumer, feeds: Feeds) -> None:
        """Ask about those that are frozen, or stand where they stood; a broker that does not answer is asked later."""
        before, self._positions = self._positions, {at: feed.position for at, feed in feeds.items()}
        with suppress(KafkaException):
            for (topic, partition), feed in feeds.items():
                if feed.frozen or before.get((topic, partition)) == feed.position:
                    _, end = consumer.get_watermark_offsets(TopicPartition(topic, partition), _ANSWER_SECONDS)
                    feed.end = max(feed.end, end)
