"""Which networks are frozen: the latest accepted `freeze` or `resume` of each, on the public record of commands.

Every ingest process reads that record for itself, in no group: all of it before the first interaction, and then as it
grows. A command of a larger epoch is later, whatever partition it lies in.
"""

import time
from collections.abc import Callable
from typing import Final

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from schemas.control import CommandRecord, decode_record
from streams.clients import KAFKA, Connect
from streams.feed import Feed, Feeds
from streams.names import Names
from streams.settings import KafkaSettings
from streams.status import FreezeStatus

FREEZE: Final = "freeze"
RESUME: Final = "resume"

_READ_SECONDS_MAX: Final = 30.0
_METADATA_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.1
_BATCH_RECORDS: Final = 500
_FETCH_WAIT_MS: Final = 200
"""What the broker lets pass before it says that there is no more; new records come at once."""


class Orders:
    """What the orders that were read come to."""

    def __init__(self) -> None:
        """Begin with no network frozen."""
        self.frozen: dict[str, FreezeStatus] = {}
        self._epochs: dict[str, int] = {}

    def heed(self, record: CommandRecord) -> bool:
        """Take an order in, and return whether it is one about a network's freeze that counts.

        >>> orders = Orders()
        >>> frozen = CommandRecord(id="1", command="freeze", subject="", key="", reason="bad", issued="",
        ...                        received="2026-01-01T00:00:00.000Z", epoch=7, accepted=True, network="twitter")
        >>> orders.heed(frozen), orders.frozen["twitter"].reason
        (True, 'bad')
        >>> orders.heed(msgspec.structs.replace(frozen, command="resume", epoch=8)), orders.frozen
        (True, {})
        """
        network = record.network
        if record.command not in {FREEZE, RESUME} or not record.accepted or network is None:
            return False
        if record.epoch <= self._epochs.get(network, -1):
            return False
        self._epochs[network] = record.epoch
        before = self.frozen.pop(network, None)
        if record.command == FREEZE:
            since = record.received if before is None else before.since
            incident = record.incident or ""
            self.frozen[network] = FreezeStatus(
                since=since, reason=record.reason, incident=incident, epoch=record.epoch
            )
        return True


class Freezes:
    """Follows the record; `frozen` says which networks are."""

    def __init__(self, kafka: KafkaSettings, names: Names, connect: Connect = KAFKA) -> None:
        """Read nothing yet."""
        self._kafka, self._names, self._connect = kafka, names, connect
        self._orders = Orders()
        self._consumer: Consumer | None = None

    @property
    def frozen(self) -> dict[str, FreezeStatus]:
        """The networks that are frozen, with why."""
        return self._orders.frozen

    def open(self, stopped: Callable[[], bool] = bool) -> None:
        """Read the whole record, up to its end; raise `KafkaException` when that takes too long."""
        self.close()
        topic = self._names.control_record
        consumer = self._consumer = self._connect.consumer(
            self._kafka,
            {
                "group.id": f"{self._names.ingest_group}-freezes",
                "enable.partition.eof": True,
                "fetch.wait.max.ms": _FETCH_WAIT_MS,
            },
        )
        partitions = consumer.list_topics(topic, timeout=_METADATA_SECONDS).topics[topic].partitions
        consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
        orders, left = Orders(), set(partitions)
        deadline = time.monotonic() + _READ_SECONDS_MAX
        while left and not stopped():
            messages = consumer.consume(_BATCH_RECORDS, _POLL_SECONDS)
            _heed(orders, messages)
            left -= {message.partition() for message in messages if message.error() is not None and _is_end(message)}
            if time.monotonic() > deadline:
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT))  # noqa: SLF001  its public name
        self._orders = orders

    def poll(self) -> bool:
        """Take in what came since, without waiting, and return whether there was an order to freeze or resume."""
        return self._consumer is not None and _heed(self._orders, self._consumer.consume(_BATCH_RECORDS, 0))

    def apply(self, consumer: Consumer, feeds: Feeds) -> None:
        """Read no more of raw partitions whose network is frozen, and go on with others exactly where they stopped."""
        for (topic, partition), feed in feeds.items():
            at = TopicPartition(topic, partition, feed.position)
            frozen = feed.network in self.frozen
            if frozen and not feed.frozen:
                consumer.pause([at])
                feed.freeze()
            elif feed.frozen and not frozen:
                consumer.resume([at])
                # What had been fetched beyond it was not taken in.
                consumer.seek(at)
                feed.frozen = False

    @staticmethod
    def let_go(consumer: Consumer, partition: TopicPartition, feed: Feed) -> None:
        """End the pause of a raw partition that goes to somebody else.

        The client keeps it beyond the assignment: if the raw partition came back, and the order had ended meanwhile,
        nobody would read it.
        """
        if feed.frozen:
            consumer.resume([partition])

    def close(self) -> None:
        """Follow no more; what is frozen stays known."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            consumer.close()


def _heed(orders: Orders, messages: list[Message]) -> bool:
    heeded = False
    for message in messages:
        error = message.error()
        if error is not None:
            if not error.retriable() and not _is_end(message):
                raise KafkaException(error)
            continue
        try:
            heeded |= orders.heed(decode_record(message.value() or b""))
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue  # Not of this version's making: it cannot be an order that this version knows.
    return heeded


def _is_end(message: Message) -> bool:
    error = message.error()
    return error is not None and error.code() == KafkaError._PARTITION_EOF  # noqa: SLF001  its public name
