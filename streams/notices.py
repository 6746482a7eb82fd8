"""What a task reads beside its lanes: its open incidents, and which lane records operators have set aside.

Both topics are small and have one partition; a task reads them when it opens, and the public record of commands again
while it stands still.
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

import structlog
from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from schemas.incident import Incident, encode_incident
from streams import incidents, quarantine
from streams.clients import Connect
from streams.forgotten import Forgotten
from streams.names import Names
from streams.quarantine import Place
from streams.settings import KafkaSettings
from streams.task_state import TaskState

_log = structlog.get_logger(__name__)

Order = tuple[str, int, str]
"""Lane and offset of a record to set aside, and the id of the command that says so."""

_BATCH_RECORDS: Final = 5_000
_POLL_SECONDS: Final = 0.1
_RECORDS_MAX: Final = 1_000_000
"""Of a topic; operators and stops make a few a year."""
_SET_ASIDE_MAX: Final = 1_000
_WATERMARK_SECONDS: Final = 15.0
_TRANSACTION_SECONDS: Final = 20.0
_TELL_SECONDS: Final = 10.0
_READ_SECONDS_MAX: Final = 30.0
"""A broker that goes away in the middle says nothing: then the reader is to try again later."""


def tell_refusal(kafka: KafkaSettings, names: Names, connect: Connect, incident: Incident) -> None:
    """Write the incident of a partition that refuses to open, and so has no producer of its own. Runs in a thread."""
    producer = connect.producer(kafka, {"enable.idempotence": True, "delivery.timeout.ms": int(_TELL_SECONDS * 1000)})
    try:
        producer.produce(names.incidents, encode_incident(incident), incident.id.encode())
        left = producer.flush(_TELL_SECONDS)
    except (KafkaException, BufferError) as error:
        _log.warning("incident not written", id=incident.id, reason=str(error))
        return
    _log.error("incident" if not left else "incident not written", id=incident.id)


class Notices:
    """Of one partition."""

    def __init__(self, kafka: KafkaSettings, names: Names, partition: int, connect: Connect) -> None:
        """Read what there is; raise `KafkaException` when Kafka cannot be used now."""
        self._kafka, self._names, self._partition, self._connect = kafka, names, partition, connect
        self._control_offset = 0
        values, _ = self._read(names.incidents, 0)
        self._open = incidents.still_open(values, partition, names.model)
        """Incidents that this partition's task is to resolve, by id."""
        self.orders: dict[Place, str] = {}
        """Lane records to set aside, and the commands that say so."""
        self._set_aside: list[Order] = []
        """What this task has set aside, of late."""
        self._unwritten: dict[str, Incident] = {}
        """Incidents that could not be written yet."""
        self.look()

    def look(self) -> list[Place]:
        """Read what has been ordered since; return the lane records that are to be set aside since then."""
        values, self._control_offset = self._read(self._names.control_record, self._control_offset)
        orders = quarantine.ordered(values, self._partition)
        new = [place for place in orders if place not in self.orders]
        self.orders |= orders
        return new

    def found(self, finding: incidents.Finding, state: TaskState, now_ms: int) -> None:
        """Take note of why the partition stopped, where `state` says."""
        incident = incidents.opened(finding, self._open, partition=self._partition, state=state, now_ms=now_ms)
        self._unwritten[incident.id] = incident

    def write(self, producer: Producer) -> None:
        """Write what was found in a transaction of the task's producer; what cannot be written now stays."""
        if not self._unwritten:
            return
        # Whatever the batch that failed had begun is over.
        with suppress(KafkaException):
            producer.abort_transaction(_TRANSACTION_SECONDS)
        try:
            producer.begin_transaction()
            for incident in self._unwritten.values():
                producer.produce(self._names.incidents, encode_incident(incident), incident.id.encode())
            producer.commit_transaction(_TRANSACTION_SECONDS)
        except (KafkaException, BufferError) as error:
            _log.warning("incident not written yet", partition=self._partition, reason=str(error))
            return
        _log.error("incident", partition=self._partition, ids=list(self._unwritten))
        self._open |= self._unwritten
        self._unwritten = {}

    def ending(
        self, positions: Mapping[str, int], set_aside: Sequence[Order], now_ms: int, forgotten: Forgotten
    ) -> list[Incident]:
        """Return the ends of the incidents that a batch resolves which reaches these positions."""

        def is_forgotten(user: str) -> bool:
            return user.encode() in forgotten

        orders = [*self._set_aside, *set_aside]
        return [
            incidents.resolved(incident, incidents.reference_of(incident, orders), now_ms, is_forgotten)
            for incident in self._open.values()
            if incidents.is_passed(incident, positions)
        ]

    def committed(self, set_aside: Sequence[Order], ended: Sequence[Incident]) -> None:
        """Take note of what a batch has set aside and resolved."""
        if set_aside:
            self._set_aside = [*self._set_aside, *set_aside][-_SET_ASIDE_MAX:]
        for incident in ended:
            del self._open[incident.id]

    def _read(self, topic: str, offset: int) -> tuple[list[bytes], int]:
        """Return the committed records of a topic from an offset on, and the offset after them."""
        reader = self._connect.consumer(
            self._kafka, {"group.id": "clout-notices", "enable.partition.eof": True, "fetch.wait.max.ms": 10}
        )
        values: list[bytes] = []
        try:
            begin, end = reader.get_watermark_offsets(TopicPartition(topic, 0), timeout=_WATERMARK_SECONDS)
            offset = max(begin, offset)
            if offset >= end:
                return values, offset
            reader.assign([TopicPartition(topic, 0, offset)])
            deadline = time.monotonic() + _READ_SECONDS_MAX
            while len(values) < _RECORDS_MAX:
                if time.monotonic() > deadline:
                    raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"{topic} was not read to its end"))  # noqa: SLF001
                for message in reader.consume(_BATCH_RECORDS, _POLL_SECONDS):
                    error = message.error()
                    if error is None:
                        values.append(message.value() or b"")
                        offset = (message.offset() or 0) + 1
                    elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  the client has no public name for it
                        return values, offset
                    elif not error.retriable():
                        raise KafkaException(error)
            return values, offset
        finally:
            reader.close()
