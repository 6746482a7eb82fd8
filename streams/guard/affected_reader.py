"""Reads the score changes for `streams.guard.affected`, and writes its lists to `incidents.users.v1`.

A thread beside the guard. Lists and the offsets of the changes that they come of are written in one transaction, so a
guard that begins goes on from the topic; its transactional id fences the one before. Changes are read as long as
anybody is listed, since somebody may be forgotten, but decoded only while an incident may touch them.
"""

import queue
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec
import structlog
from confluent_kafka import OFFSET_INVALID, Consumer, KafkaException, Message, Producer, TopicPartition

from schemas.change import decode_change
from schemas.incident import Incident, decode_incident_users
from streams import clients
from streams.errors import CloutError
from streams.guard.affected import Affected, Touched
from streams.names import Names
from streams.settings import KafkaSettings

FLUSH_SECONDS: Final = 2.0
"""How often lists that grew are written."""
OFFSETS_SECONDS: Final = 60.0
"""How often it is noted how far changes were read, where no list grew."""

_BATCH_RECORDS: Final = 2_000
_POLL_SECONDS: Final = 0.2
_IDLE_SECONDS: Final = 1.0
_RETRY_SECONDS: Final = 5.0
_FENCED_SECONDS: Final = 30.0
"""Another guard lists; who goes on before it knows that it is active no more would fence that one in turn."""
_KAFKA_SECONDS: Final = 15.0
_STOP_SECONDS: Final = 8.0

_log: Final = structlog.get_logger(__name__)


class AffectedReader:
    """Lists whom incidents touch; `tell` and `touched` never wait."""

    def __init__(self, kafka: KafkaSettings, names: Names, clock: Callable[[], float] = time.time) -> None:
        """Nothing is read before `start`."""
        self._kafka, self._names, self._clock = kafka, names, clock
        self._inbox: queue.SimpleQueue[Incident] = queue.SimpleQueue()
        self._told: dict[str, Incident] = {}
        self._touched: dict[str, Touched] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="affected", daemon=True)

    def start(self) -> None:
        """Begin; first comes what the topic has."""
        self._thread.start()

    def stop(self) -> None:
        """End; what was not written is read again by the next one."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)

    def tell(self, incident: Incident) -> None:
        """Take note of an incident as it stands: those that are open at the start, then each record as it comes."""
        self._inbox.put(incident)

    def touched(self, incident: str) -> Touched | None:
        """Return whom an incident touches, as far as is written; None where it was not told of yet."""
        return self._touched.get(incident)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._work()
            except Exception as error:  # noqa: BLE001 - lists that are late are better than none
                _log.warning("lists of whom incidents touch are begun again", reason=repr(error))
                self._stopping.wait(_FENCED_SECONDS if _is_fatal(error) else _RETRY_SECONDS)

    def _work(self) -> None:
        producer = clients.producer(
            self._kafka,
            {"transactional.id": self._names.affected_id, "transaction.timeout.ms": int(_KAFKA_SECONDS * 1000)},
        )
        clients.fence(producer, _KAFKA_SECONDS)
        affected = Affected(self._names.model)
        consumer = clients.consumer(self._kafka, {"group.id": self._names.affected_id, "fetch.wait.max.ms": 100})
        try:
            _restore(consumer, self._names.incident_users, affected)
            reading = _Reading(affected, consumer, producer, self._names, self._clock)
            reading.begin(list(self._told.values()))
            while not self._stopping.is_set():
                told = self._take_told(0 if reading.is_under_way else _IDLE_SECONDS)
                if reading.look(told):
                    self._touched = affected.touched()
        finally:
            consumer.close()

    def _take_told(self, wait_seconds: float) -> list[Incident]:
        """Return the incidents told of since; wait for one, at most so long."""
        found = []
        try:
            found.append(self._inbox.get(timeout=wait_seconds) if wait_seconds else self._inbox.get_nowait())
            while True:
                found.append(self._inbox.get_nowait())
        except queue.Empty:
            pass
        self._told |= {incident.id: incident for incident in found}
        return found


class _Reading:
    """One attempt, until Kafka fails or the reader is stopped."""

    def __init__(
        self, affected: Affected, consumer: Consumer, producer: Producer, names: Names, clock: Callable[[], float]
    ) -> None:
        self._affected, self._consumer, self._producer = affected, consumer, producer
        self._names, self._clock = names, clock
        partitions = consumer.list_topics(names.changes, timeout=_KAFKA_SECONDS).topics[names.changes].partitions
        self._places = [TopicPartition(names.changes, partition) for partition in sorted(partitions)]
        self._positions: dict[int, int] = {}
        """Where to read next, by partition; empty while nothing is read."""
        self._written: dict[int, int] = {}
        self._written_at = time.monotonic()

    @property
    def is_under_way(self) -> bool:
        """Whether changes are read."""
        return bool(self._positions)

    def begin(self, told: list[Incident]) -> None:
        """Go on where the last one had come, if anybody is listed; `told` are incidents that are known already."""
        if self._affected.is_needed:
            committed = self._consumer.committed(self._places, timeout=_KAFKA_SECONDS)
            self._positions = {
                place.partition: place.offset if place.offset != OFFSET_INVALID else self._ends(place)[0]
                for place in committed
            }
            self._assign()
        self._tell(told)

    def look(self, told: list[Incident]) -> bool:
        """Take in incidents and changes, write if it is time; return whether something new is written."""
        self._tell(told)
        if self._positions:
            messages = self._consumer.consume(_BATCH_RECORDS, _POLL_SECONDS)
            for message in messages:
                self._take(message)
            if len(messages) < _BATCH_RECORDS:
                self._affected.settle(int(self._clock() * 1000))
        now = time.monotonic()
        is_due = now - self._written_at >= (OFFSETS_SECONDS if self._affected.is_written else FLUSH_SECONDS)
        if is_due and (self._positions != self._written or not self._affected.is_written):
            self._write()
            self._written_at = now
            return True
        return bool(told) and self._affected.is_written

    def _tell(self, incidents: list[Incident]) -> None:
        froms_ms = [from_ms for incident in incidents if (from_ms := self._affected.tell(incident)) is not None]
        if froms_ms:
            self._go_back(min(froms_ms))

    def _go_back(self, from_ms: int) -> None:
        """Read again from that moment on, if it is before where reading has come."""
        asked = [TopicPartition(place.topic, place.partition, max(0, from_ms)) for place in self._places]
        for found in self._consumer.offsets_for_times(asked, timeout=_KAFKA_SECONDS):
            offset = found.offset if found.offset >= 0 else self._ends(found)[1]
            self._positions[found.partition] = min(offset, self._positions.get(found.partition, offset))
        self._affected.rewind()
        self._assign()

    def _ends(self, place: TopicPartition) -> tuple[int, int]:
        return self._consumer.get_watermark_offsets(place, timeout=_KAFKA_SECONDS)

    def _assign(self) -> None:
        self._consumer.assign([TopicPartition(self._names.changes, *at) for at in self._positions.items()])

    def _take(self, message: Message) -> None:
        if (error := message.error()) is not None:
            raise KafkaException(error)
        offset, partition = _number(message.offset()), _number(message.partition())
        if offset < self._positions[partition]:
            return
        self._positions[partition] = offset + 1
        if (value := message.value()) is None:
            self._affected.forget((message.key() or b"").decode())
        elif self._affected.is_listing:
            try:
                self._affected.take(decode_change(value), partition, message.timestamp()[1])
            except msgspec.DecodeError as reason:
                _log.warning("a change cannot be read", partition=partition, offset=offset, reason=str(reason))

    def _write(self) -> None:
        """Write lists that changed, and how far changes were read; read no further when nobody needs it."""
        self._producer.begin_transaction()
        for key, value in self._affected.unwritten():
            self._producer.produce(self._names.incident_users, value, key)
        if self._positions:
            offsets = [TopicPartition(self._names.changes, *at) for at in self._positions.items()]
            group = self._consumer.consumer_group_metadata()
            self._producer.send_offsets_to_transaction(offsets, group, _KAFKA_SECONDS)
        self._producer.commit_transaction(_KAFKA_SECONDS)
        self._affected.all_written()
        if not self._affected.is_needed:
            self._positions = {}
            self._consumer.unassign()
        self._written = dict(self._positions)


def _restore(consumer: Consumer, topic: str, affected: Affected) -> None:
    """Read the lists that are written."""
    _, end = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=_KAFKA_SECONDS)
    newest: dict[bytes, Message] = {}
    consumer.assign([TopicPartition(topic, 0, 0)])
    deadline = time.monotonic() + _KAFKA_SECONDS
    position = 0
    while position < end:
        for message in consumer.consume(_BATCH_RECORDS, _POLL_SECONDS):
            if (error := message.error()) is not None:
                raise KafkaException(error)
            newest[message.key() or b""] = message
            deadline = time.monotonic() + _KAFKA_SECONDS
        [place] = consumer.position([TopicPartition(topic, 0)])
        position = max(position, place.offset)
        if time.monotonic() > deadline:
            raise CloutError(f"{topic} cannot be read to its end", hint="look for a writer that hangs")
    consumer.unassign()
    for message in newest.values():
        if (value := message.value()) is None:
            continue
        try:
            affected.restore(decode_incident_users(value), message.timestamp()[1])
        except msgspec.DecodeError as reason:
            _log.warning(
                "a list of whom an incident touches cannot be read", offset=message.offset(), reason=str(reason)
            )


def _is_fatal(error: Exception) -> bool:
    return isinstance(error, KafkaException) and error.args[0].fatal()


def _number(value: Any) -> int:
    """Return what the client types as perhaps absent."""
    found: int = value
    return found
