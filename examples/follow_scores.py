"""Keeps a correct copy of all scores with confluent-kafka: one process, no consumer group, positions in the copy.

    python examples/follow_scores.py localhost:9092 scores.changes.v1 scores.db
    sqlite3 scores.db 'SELECT user, score FROM scores ORDER BY score DESC LIMIT 10'

TLS and SASL: options under librdkafka's names, as JSON in KAFKA_OPTIONS. `score_copy.py` is the copy;
docs/consuming.md says what is promised.
"""

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from threading import Event
from typing import Any, Final

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from score_copy import Copy, Record

RECORDS_MAX: Final = 5_000
WAIT_SECONDS: Final = 0.1
ANSWER_SECONDS: Final = 30.0


def now_ms() -> int:
    """Return the time."""
    return time.time_ns() // 1_000_000


def options(broker: str) -> dict[str, Any]:
    """Return what every client takes."""
    return {"bootstrap.servers": broker, **json.loads(os.environ.get("KAFKA_OPTIONS", "{}"))}


def topic_id(broker: str, topic: str) -> str:
    """Return the id that Kafka gave the topic when it was made: offsets of another one say nothing about it."""
    client = AdminClient(options(broker))
    try:
        return str(client.describe_topics(TopicCollection([topic]))[topic].result(ANSWER_SECONDS).topic_id)
    except KafkaException as error:
        sys.exit(f"the topic {topic} cannot be described: {error.args[0].str()}")


def open_copy(path: Path, broker: str, topic: str, *, rebuild: bool) -> Copy:
    """Open the copy, or begin anew where that is asked for or needed."""
    if rebuild:
        for file in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
            file.unlink(missing_ok=True)
    copy = Copy(path, topic_id(broker, topic), now_ms())
    if copy.begun_anew:
        print(f"begins anew: {copy.begun_anew}", flush=True)
    return copy


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Keep a correct copy of all scores.")
    parser.add_argument("broker", help="HOST:PORT")
    parser.add_argument("topic", help="scores.changes.v1, with the installation's prefix before it")
    parser.add_argument("copy", type=Path, help="file of the copy")
    parser.add_argument("--rebuild", action="store_true", help="empty the copy first, and read all that the topic has")
    return parser.parse_args()


def follow(consumer: Consumer, copy: Copy, partitions: Iterable[int], stop: Event) -> None:
    """Take what comes until told to stop."""
    behind = set(partitions)
    while not stop.is_set():
        records = []
        was_behind = bool(behind)
        for message in consumer.consume(RECORDS_MAX, WAIT_SECONDS):
            error = message.error()
            if error is None:
                records.append(record_of(message))
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - its public name
                behind.discard(message.partition() or 0)
            elif error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001 - its public name
                sys.exit(f"the topic does not go on from here ({error.str()}): read it anew with --rebuild")
            elif not error.retriable():
                sys.exit(f"Kafka says: {error.str()}")
        for line in copy.take(records, now_ms()) if records else ():
            print(line, flush=True)
        if was_behind and not behind:
            print(f"level with the topic: {copy.users()} users have a score", flush=True)


def record_of(message: Message) -> Record:
    """Return a record as the copy takes it."""
    key = message.key()
    return Record(message.partition() or 0, message.offset() or 0, message.timestamp()[1], key or b"", message.value())


def main() -> None:
    """Follow until SIGTERM or Ctrl-C."""
    asked = arguments()
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    consumer = Consumer(
        {
            "isolation.level": "read_committed",  # what a worker wrote and could not commit was never published
            "auto.offset.reset": "error",  # a position that is gone must not be passed over in silence
            "enable.auto.commit": False,  # the position is in the copy, in the transaction of what it speaks of
            "enable.partition.eof": True,
            "group.id": "unused",  # the client wants one; partitions are assigned by hand
            **options(asked.broker),
        }
    )
    partitions = consumer.list_topics(asked.topic, timeout=ANSWER_SECONDS).topics[asked.topic].partitions
    copy = open_copy(asked.copy, asked.broker, asked.topic, rebuild=asked.rebuild)
    consumer.assign([TopicPartition(asked.topic, at, copy.positions.get(at, OFFSET_BEGINNING)) for at in partitions])
    try:
        follow(consumer, copy, partitions, stop)
    finally:
        consumer.close()
        copy.close()


if __name__ == "__main__":
    main()
