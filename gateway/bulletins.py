"""Follows the small topics that a gateway knows by heart: the population, incidents, whom they touch, who may what."""

from collections.abc import Callable, Mapping
from threading import Event
from typing import Final

import msgspec
import structlog
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

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

    def __init__(self, kafka: KafkaSettings, group: str, handlers: Mapping[str, Handler]) -> None:
        """Take, by topic, what is told of each of its records; one that cannot be read is passed over and logged."""
        self._kafka, self._group, self._handlers = kafka, group, handlers
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
                places += [TopicPartition(topic, partition, 0) for partition in sorted(found)]
            consumer.assign(places)
            self._places = places
            while not stop.is_set():
                for message in consumer.consume(_BATCH_RECORDS, _POLL_SECONDS):
                    self._take(message)
        finally:
            consumer.close()

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
