"""Writes incidents. In transactions, so that a guard that others took for dead cannot write behind its successor."""

from collections.abc import Iterable, Mapping
from typing import Final

from confluent_kafka import KafkaException, Producer, TopicPartition

from schemas.incident import Incident, encode_incident
from streams import clients
from streams.errors import CloutError
from streams.names import Names
from streams.settings import KafkaSettings

TIMEOUT_SECONDS: Final = 10.0
TRANSACTION_TIMEOUT_MS: Final = 15_000


class IncidentWriter:
    """The producer of the guard that watches."""

    def __init__(self, kafka: KafkaSettings, names: Names) -> None:
        """Take what is needed; `open` connects."""
        self._kafka, self._names = kafka, names
        self._producer: Producer | None = None

    def open(self) -> None:
        """Begin, and end whatever a former guard has under way; raise `KafkaException` where that cannot be done."""
        self._producer = clients.producer(
            self._kafka,
            {
                "transactional.id": self._names.guard_id,
                "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
                "acks": "all",
                "linger.ms": 0,
            },
        )
        clients.fence(self._producer, TIMEOUT_SECONDS)

    def write(self, incidents: Iterable[Incident]) -> None:
        """Write records, all or none; raise `KafkaException` where that failed: then `open` comes first."""
        producer = self._producer
        if producer is None:
            self.open()
            producer = self._producer
        assert producer is not None  # noqa: S101 - opened above
        try:
            producer.begin_transaction()
            for incident in incidents:
                producer.produce(self._names.incidents, encode_incident(incident), incident.id.encode())
            producer.commit_transaction(TIMEOUT_SECONDS)
        except KafkaException:
            self._producer = None
            raise

    def close(self) -> None:
        """Write no more."""
        self._producer = None


def ends_of(kafka: KafkaSettings, names: Names, topics: Iterable[str]) -> Mapping[str, int]:
    """Return where the committed records of these topics end, which have one partition each."""
    reader = clients.consumer(kafka, {"group.id": names.guard_id})
    try:
        return {
            topic: reader.get_watermark_offsets(TopicPartition(topic, 0), timeout=TIMEOUT_SECONDS)[1]
            for topic in topics
        }
    except KafkaException as error:
        raise CloutError("the guard's topics cannot be read", detail=error.args[0].str()) from error
    finally:
        reader.close()
