"""Follows the small topics that a gateway knows by heart: the population, incidents, whom they touch, who may what."""

import time
from collections.abc import Callable, Mapping
from threading import Event
from types import MappingProxyType
from typing import Final

import msgspec
import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from streams import clients
from streams.errors import CloutError
from streams.settings import KafkaSettings

_log = structlog.get_logger(__name__)

_BATCH_RECORDS: Final = 500
_POLL_SECONDS: Final = 0.1
_METADATA_SECONDS: Final = 10.0

Handler = Callable[[Message], None]


class Bulletins:
    """Reads topics from their beginning, for as long as the gateway runs; `run` in a thread of its own."""

    def __init__(
        self,
        kafka: KafkaSettings,
        group: str,
        handlers: Mapping[str, Handler],
        recent_seconds: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        """Take, by topic, what is told of each of its records; one that cannot be read is passed over and logged.

        Of topics in `recent_seconds` only what was written so long ago or later is read.
        """
        self._kafka, self._group, self._handlers, self._recent_seconds = kafka, group, handlers, recent_seconds
        self._read_to_end: set[tuple[str, int]] = set()
        self._places: list[TopicPartition] | None = None

    def is_level(self) -> bool:
        """Return whether all were read to their end at least once."""
        return self._places is not None and len(self._read_to_end) == len(self._places)

    def run(self, stop: Event) -> None:
        """Read until told to stop."""
        options = {"group.id": self._group, "enable.partition.eof": True, "fetch.wait.max.ms": 100}
        consumer = clients.consumer(self._kafka, options)
        try:
            places = []
            for topic in self._handlers:
                found = consumer.list_topics(topic, timeout=_METADATA_SECONDS).topics[topic].partitions
                if not found:
                    raise CloutError(f"topic {topic} is missing", hint="run `clout topics create`")
                beginning = [TopicPartition(topic, partition, 0) for partition in sorted(found)]
                places += self._recent(consumer, topic, beginning)
            consumer.assign(places)
            self._places = places
            while not stop.is_set():
                for message in consumer.consume(_BATCH_RECORDS, _POLL_SECONDS):
                    self._take(message)
        finally:
            consumer.close()

    def _recent(self, consumer: Consumer, topic: str, beginning: list[TopicPartition]) -> list[TopicPartition]:
        """Return where to begin to read a topic."""
        if topic not in self._recent_seconds:
            return beginning
        since_ms = int((time.time() - self._recent_seconds[topic]) * 1000)
        asked = [TopicPartition(topic, place.partition, since_ms) for place in beginning]
        found: list[TopicPartition] = consumer.offsets_for_times(asked, _METADATA_SECONDS)
        return found

    def _take(self, message: Message) -> None:
        topic, partition, error = message.topic() or "", message.partition() or 0, message.error()
        if error is not None:
            if error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - its public name
                raise KafkaException(error)
            self._read_to_end.add((topic, partition))
            return
        try:
            self._handlers[topic](message)
        except msgspec.DecodeError as problem:
            _log.warning("a record cannot be read", topic=topic, offset=message.offset(), reason=str(problem))
