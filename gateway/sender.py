"""Sends interactions to the networks' topics, and says when Kafka has them."""

import asyncio
from collections.abc import Callable, Sequence
from threading import Event
from typing import Final, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message

from streams import clients
from streams.names import Names
from streams.settings import KafkaSettings

ACKNOWLEDGED_SECONDS_MAX: Final = 8.0
"""Kafka has a record by then, or never will: whoever sends it again does not double what it says."""
_ANY_PARTITION: Final = -1
_POLL_SECONDS: Final = 0.1
_CLOSE_SECONDS: Final = 3.0
_METADATA_SECONDS: Final = 5.0
_OPTIONS: Final = {
    "enable.idempotence": True,
    "compression.type": "lz4",
    "linger.ms": 5,
    "delivery.timeout.ms": int(ACKNOWLEDGED_SECONDS_MAX * 1000),
    "queue.buffering.max.kbytes": 65_536,
}


class NotTakenError(Exception):
    """Kafka did not acknowledge a record in time."""


class Record(NamedTuple):
    """What goes into one partition of a network's topic, or into one that Kafka's client chooses."""

    value: bytes
    partition: int = _ANY_PARTITION


class Sender:
    """One producer for all requests; `run` in a thread of its own."""

    def __init__(self, kafka: KafkaSettings, names: Names) -> None:
        """Open the producer; it connects by itself."""
        self._producer = clients.producer(kafka, dict(_OPTIONS))
        self._names = names
        self._partitions: dict[str, list[int]] = {}

    def partitions(self, network: str) -> list[int]:
        """Return the partitions of a network's topic; raise `NotTakenError` where Kafka does not tell."""
        if network not in self._partitions:
            topic = self._names.interactions(network)
            try:
                found = self._producer.list_topics(topic, timeout=_METADATA_SECONDS).topics[topic]
            except KafkaException as error:
                raise NotTakenError(error.args[0].str()) from error
            if found.error is not None:
                raise NotTakenError(found.error.str())
            self._partitions[network] = sorted(found.partitions)
        return self._partitions[network]

    async def send(self, network: str, records: Sequence[Record]) -> None:
        """Return when Kafka has all records; raise `NotTakenError` when it does not have them in time."""
        loop = asyncio.get_running_loop()
        waiting = [loop.create_future() for _ in records]
        for record, future in zip(records, waiting, strict=True):
            try:
                self._producer.produce(
                    self._names.interactions(network),
                    record.value,
                    partition=record.partition,
                    on_delivery=_teller(loop, future),
                )
            except (BufferError, KafkaException) as error:
                future.set_result(str(error))
        for failure in await asyncio.gather(*waiting):
            if failure:
                raise NotTakenError(failure)

    def run(self, stop: Event) -> None:
        """Take in what Kafka says, until told to stop."""
        while not stop.is_set():
            self._producer.poll(_POLL_SECONDS)
        self._producer.flush(_CLOSE_SECONDS)


def _teller(loop: asyncio.AbstractEventLoop, future: "asyncio.Future[str]") -> Callable[..., None]:
    """Return what Kafka's client calls, in its own thread, once it knows what became of a record."""

    def settle(failure: str) -> None:
        if not future.done():
            future.set_result(failure)

    def tell(error: KafkaError | None, _message: Message) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, "" if error is None else error.str())

    return tell
