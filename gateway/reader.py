"""Follows the change topic: what came is written to the read model, and then told to whoever listens."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from threading import Event
from typing import Final

import msgspec
import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from gateway.columns import Columns
from gateway.read_model import ReadModel, Seen
from schemas.change import decode_change
from schemas.times import parse_ms
from streams import clients
from streams.errors import CloutError
from streams.names import Names
from streams.settings import KafkaSettings
from streams.topics import WHOLE_MS

_log = structlog.get_logger(__name__)

_BATCH_RECORDS: Final = 5_000
_POLL_SECONDS: Final = 0.02
"""What came is taken in so often, or as soon as there is a full batch."""
_READER_OPTIONS: Final = {
    "enable.partition.eof": True,
    "fetch.wait.max.ms": 100,
    "queued.max.messages.kbytes": 32_768,
    # What is no longer there was compacted or the topic made anew: then the model is made anew.
    "auto.offset.reset": "earliest",
}

_FIRST_LOOK_SECONDS: Final = 30.0
_LEVEL: Final = math.inf
_ASK_AGAIN_SECONDS: Final = 1.0

Listener = Callable[[Sequence[Seen]], None]


class Reader:
    """Reads all partitions of the change topic into one read model; `run` in a thread of its own."""

    def __init__(self, kafka: KafkaSettings, names: Names, partitions: int, model: ReadModel, columns: Columns) -> None:
        """Prepare; nothing is read yet."""
        self._kafka, self._names, self._partitions = kafka, names, partitions
        self._model, self._columns = model, columns
        self.listeners: list[Listener] = []
        """Told of every batch after it is written, in the reader's thread."""
        self._level_at: dict[int, float] = {}
        """When each partition was last known to be read to its end, monotonic seconds; _LEVEL while it is."""
        self._ends: dict[int, int] = {}
        """The end that each partition had when it was last read to it."""
        self.changes = 0
        """How many were taken in."""
        self.unreachable = ""
        """What is wrong while no broker can be reached."""
        self._ask_at = 0.0

    def is_level(self) -> bool:
        """Return whether every partition has been read to its end at least once."""
        return len(self._level_at) == self._partitions

    def is_read_to_end(self) -> bool:
        """Return whether nothing is there now that was not read."""
        return self.is_level() and all(level_at == _LEVEL for level_at in self._level_at.values())

    def age_seconds(self, partition: int) -> float | None:
        """Return for how long there may be changes of a partition that are not here; None before the first look."""
        level_at = self._level_at.get(partition)
        return None if level_at is None else max(0.0, time.monotonic() - level_at)

    def load(self) -> None:
        """Fill the columns with what is stored."""
        everyone = self._model.everyone()
        while stored := list(islice(everyone, _BATCH_RECORDS)):
            changes = [(user, point, decode_change(point.value)) for user, point in stored]
            seen = [Seen(0, at, user, value, of, parse_ms(of.as_of)) for user, (at, value), of in changes]
            self._columns.put(seen, moved=False)

    def run(self, stop: Event) -> None:
        """Read until told to stop."""
        consumer = clients.consumer(
            self._kafka, {"group.id": self._names.gateway_id, "error_cb": self._on_error, **_READER_OPTIONS}
        )
        try:
            positions = self._model.state.positions
            self._model.note_whole_from(self._whole_from(consumer, positions))
            consumer.assign(
                [TopicPartition(self._names.changes, at, positions.get(at, 0)) for at in range(self._partitions)]
            )
            while not stop.is_set():
                self._take(consumer)
                if self.unreachable and time.monotonic() > self._ask_at:
                    self._look_again(consumer)
        finally:
            consumer.close()

    def _whole_from(self, consumer: Consumer, positions: Mapping[int, int]) -> dict[int, int]:
        """Return where the time begins of which the topic has every change, in partitions that are not read as far."""
        since_ms = int(time.time() * 1000) - WHOLE_MS
        asked = [TopicPartition(self._names.changes, at, since_ms) for at in range(self._partitions)]
        begins: dict[int, int] = {}
        for place in consumer.offsets_for_times(asked, timeout=_FIRST_LOOK_SECONDS):
            # Where all is older there is no such offset.
            whole = place.offset if place.offset >= 0 else consumer.get_watermark_offsets(place)[1]
            if whole > positions.get(place.partition, 0):
                begins[place.partition] = whole
        return begins

    def _take(self, consumer: Consumer) -> None:
        messages = consumer.consume(_BATCH_RECORDS, _POLL_SECONDS)
        changes: list[Seen] = []
        positions: dict[int, int] = {}
        now = time.monotonic()
        for message in messages:
            self._take_one(message, changes, positions, now)
        if not positions:
            return
        self._model.apply(changes, self._columns.day_of, positions)
        self._columns.put(changes)
        self.changes += len(changes)
        for listener in self.listeners:
            listener(changes)

    def _take_one(self, message: Message, changes: list[Seen], positions: dict[int, int], now: float) -> None:
        partition, offset, error = message.partition() or 0, message.offset() or 0, message.error()
        if error is not None:
            if error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - its public name
                raise KafkaException(error)
            self.unreachable = ""
            self._level_at[partition], self._ends[partition] = _LEVEL, offset
            return
        if self._level_at.get(partition) == _LEVEL:
            self._level_at[partition] = now
        positions[partition] = offset + 1
        key, value = message.key(), message.value()
        if key is None or value is None:
            return
        try:
            change = decode_change(value)
            at_ms, written_ms = parse_ms(change.as_of), message.timestamp()[1]
            changes.append(Seen(partition, offset, key, value, change, at_ms, written_ms))
        except msgspec.DecodeError as problem:
            raise CloutError(
                "a score change cannot be read",
                detail=f"{self._names.changes}/{partition} at offset {offset}: {problem}",
                hint="a worker of another version wrote it: use the same version everywhere",
            ) from problem

    def _on_error(self, error: KafkaError) -> None:
        if error.code() == KafkaError._ALL_BROKERS_DOWN and not self.unreachable:  # noqa: SLF001 - its public name
            _log.warning("no broker can be reached", reason=error.str())
            self.unreachable = error.str()
            now = time.monotonic()
            self._level_at.update({at: now for at, level in self._level_at.items() if level == _LEVEL})

    def _look_again(self, consumer: Consumer) -> None:
        """See whether Kafka answers again: it says anew that an end is reached only when something came meanwhile."""
        self._ask_at = time.monotonic() + _ASK_AGAIN_SECONDS
        try:
            for partition, end in self._ends.items():
                place = TopicPartition(self._names.changes, partition)
                if consumer.get_watermark_offsets(place, timeout=_ASK_AGAIN_SECONDS)[1] == end:
                    self._level_at[partition] = _LEVEL
        except KafkaException:
            return
        self.unreachable = ""
        _log.info("Kafka answers again")
