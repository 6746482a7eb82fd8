"""Sends raw interactions to a network's topic, as a collector would."""

from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from streams.errors import CloutError

ANY_PARTITION: Final = -1
"""Lets the key choose."""
PAYLOAD_BYTES_MAX = 1_000_000
"""Key and value of one record; with its head it still fits into a topic's 1 MiB."""
HEAD_BYTES_MAX = 4_096
"""What the protocol adds to a record, generously."""

RAW_PRODUCER_OPTIONS: dict[str, str | int | float | bool] = {
    "enable.idempotence": True,
    "compression.type": "lz4",
    "linger.ms": 20,
    "batch.size": 262_144,
    "queue.buffering.max.messages": 500_000,
    "queue.buffering.max.kbytes": 262_144,
    "message.max.bytes": PAYLOAD_BYTES_MAX + HEAD_BYTES_MAX,
    "delivery.report.only.error": True,
}
"""Options of the producer that a `RawSender` is given, beside those that reach the cluster."""

POLL_EVERY_RECORDS = 4_096
QUEUE_FULL_WAIT_SECONDS = 0.1
CLOSE_TIMEOUT_SECONDS = 60.0
METADATA_TIMEOUT_SECONDS = 10.0


class RawSender:
    """Sends records in order and raises as soon as one is known to be lost."""

    def __init__(self, producer: Producer, topic: str) -> None:
        """Take over a producer made with `RAW_PRODUCER_OPTIONS`."""
        self._producer = producer
        self._topic = topic
        self._failure: KafkaError | None = None
        self._partitions: list[int] = []
        self._tried_records = 0
        self.sent_records = 0
        self.sent_heartbeats = 0
        self.failed_records = 0

    def send(self, key: bytes | None, value: bytes) -> None:
        """Queue one record; records of one key keep their order. Waits while the queue is full."""
        self._produce(key, value)
        self.sent_records += 1
        if self.sent_records % POLL_EVERY_RECORDS == 0:
            self.poll()

    def send_to_all_partitions(self, value: bytes) -> None:
        """Queue a heartbeat for every partition that the topic has, behind the records queued there before."""
        if not self._partitions:
            self._partitions = self._ask_for_partitions()
        for partition in self._partitions:
            self._produce(None, value, partition)
            self.sent_heartbeats += 1

    def poll(self) -> None:
        """Take in what the broker reported so far."""
        self._producer.poll(0)
        self._check()

    def close(self) -> None:
        """Wait until the broker has everything."""
        left = self._producer.flush(CLOSE_TIMEOUT_SECONDS)
        self.failed_records += left
        if left:
            self._failure = self._failure or KafkaError(KafkaError._TIMED_OUT)  # noqa: SLF001 - its public name
        self._check()

    def _produce(self, key: bytes | None, value: bytes, partition: int = ANY_PARTITION) -> None:
        self._tried_records += 1
        while True:
            try:
                self._producer.produce(self._topic, value, key, partition, on_delivery=self._failed)
            except BufferError:
                self._producer.poll(QUEUE_FULL_WAIT_SECONDS)
                self._check()
            except KafkaException as error:
                self._failed(error.args[0], None)
                self._check()
            else:
                return

    def _ask_for_partitions(self) -> list[int]:
        try:
            found = self._producer.list_topics(self._topic, timeout=METADATA_TIMEOUT_SECONDS).topics[self._topic]
            failure = found.error
        except KafkaException as error:
            failure = error.args[0]
        if failure is not None:
            raise CloutError(
                f"the broker does not tell the partitions of {self._topic}",
                detail=failure.str(),
                hint="see that the broker is up and the topic exists: clout topics check",
            )
        return sorted(found.partitions)

    def _failed(self, error: KafkaError | None, _message: Message | None) -> None:
        if error is not None:
            self.failed_records += 1
            self._failure = error

    def _check(self) -> None:
        if self._failure is not None:
            raise CloutError(
                f"{self.failed_records:,} of {self._tried_records:,} records were not taken by {self._topic}",
                detail=self._failure.str(),
                hint="see that the broker is up and the topic exists: clout topics check",
            )
