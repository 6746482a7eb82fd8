"""Reads all that a topic holds now, and ends there.

A reader goes to the end that the log has when it begins, also past what transactions under way hold back: it waits
for these. Else what was committed behind another writer's open transaction would be overlooked.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from streams import clients
from streams.errors import CloutError
from streams.settings import KafkaSettings

T = TypeVar("T")

POLL_SECONDS: Final = 0.1
"""A reader asks for so long; it is not told earlier that the end is reached."""
METADATA_TIMEOUT_SECONDS: Final = 10.0
STALLED_SECONDS_MAX: Final = 60.0
"""Longest wait for a transaction under way; the broker ends an abandoned one much sooner."""
FETCH_WAIT_MS: Final = 20
BATCH_RECORDS: Final = 500
FETCHED_KILOBYTES_MAX: Final = 16_384
"""What a reader holds in memory before it is asked for; the largest records, dead letters, have at most 8 MiB."""

_MOVING: Final = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE)


class Extent(NamedTuple):
    """What a partition holds: the offsets from `begin` up to `end`."""

    topic: str
    partition: int
    begin: int
    end: int


@contextmanager
def reading(kafka: KafkaSettings, group: str) -> Iterator[Consumer]:
    """Open a reader of committed records; what Kafka refuses meanwhile is a `CloutError`."""
    reader = clients.consumer(
        kafka,
        {
            "group.id": group,
            "enable.partition.eof": True,
            "queued.max.messages.kbytes": FETCHED_KILOBYTES_MAX,
            # Else the broker lets half a second pass before it says that there is no more.
            "fetch.wait.max.ms": FETCH_WAIT_MS,
        },
    )
    try:
        yield reader
    except KafkaException as error:
        raise CloutError(
            "the topic cannot be read", detail=error.args[0].str(), hint="check --broker and that Kafka runs"
        ) from error
    finally:
        reader.close()


def extents(kafka: KafkaSettings, group: str, topics: Sequence[str]) -> Iterator[Extent]:
    """Yield what every partition of the topics holds, records of open transactions included."""
    asker = clients.consumer(kafka, {"group.id": group, "isolation.level": "read_uncommitted"})
    try:
        for topic in topics:
            partitions = asker.list_topics(topic, timeout=METADATA_TIMEOUT_SECONDS).topics[topic].partitions
            if not partitions:
                raise CloutError(f"topic {topic} is missing", hint="run `clout topics create`")
            for partition in sorted(partitions):
                yield Extent(topic, partition, *_watermarks(asker, TopicPartition(topic, partition)))
    finally:
        asker.close()


def _watermarks(asker: Consumer, place: TopicPartition) -> tuple[int, int]:
    """Return the first offset and the end; a partition that changes its leader, or is new, is asked again."""
    deadline = time.monotonic() + METADATA_TIMEOUT_SECONDS
    while True:
        try:
            return asker.get_watermark_offsets(place, timeout=METADATA_TIMEOUT_SECONDS)
        except KafkaException as error:
            if error.args[0].code() not in _MOVING or time.monotonic() > deadline:
                raise
        time.sleep(POLL_SECONDS)


def read_from(reader: Consumer, places: Sequence[TopicPartition]) -> None:
    """Let a reader begin at these places at once."""
    for topic in sorted({place.topic for place in places}):
        # A client that has rested asks only after up to a second who leads a topic that is new to it.
        reader.list_topics(topic, timeout=METADATA_TIMEOUT_SECONDS)
    reader.assign(list(places))


def records(reader: Consumer, extent: Extent) -> Iterator[Message]:
    """Yield the committed records of a partition."""
    for batch in record_batches(reader, extent):
        yield from batch


def record_batches(reader: Consumer, extent: Extent, batch_records: int = BATCH_RECORDS) -> Iterator[list[Message]]:
    """Yield the same a batch at a time."""
    if extent.begin >= extent.end:
        return
    read_from(reader, [TopicPartition(extent.topic, extent.partition, extent.begin)])
    deadline = time.monotonic() + STALLED_SECONDS_MAX
    while True:
        found: list[Message] = []
        done = False
        for message in reader.consume(batch_records, POLL_SECONDS):
            error = message.error()
            offset: Any = message.offset()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - its public name
                raise KafkaException(error)
            if error is None and offset < extent.end:
                found.append(message)
            if offset + (error is None) >= extent.end:
                done = True
                break
        if found:
            deadline = time.monotonic() + STALLED_SECONDS_MAX
            yield found
        if done:
            return
        if time.monotonic() > deadline:
            raise CloutError(
                f"{extent.topic}/{extent.partition} cannot be read to its end",
                detail="a transaction has been under way there for long",
                hint="try again; if it stays so, look for a writer that hangs",
            )


def readable(decode: Callable[[bytes], T], value: bytes, topic: str) -> T:
    """Return what a record's value says; raise `CloutError` when it says nothing that this version knows.

    >>> readable(msgspec.json.decode, b"[7]", "population.v1")
    [7]
    """
    try:
        return decode(value)
    except msgspec.DecodeError as error:
        raise CloutError(
            f"a record of {topic} cannot be read",
            detail=str(error),
            hint="a worker of another version wrote it: use the same version everywhere",
        ) from error
