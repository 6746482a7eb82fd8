"""Bring a partition's store to the end of its changelog, or refuse when that cannot be done rightly.

The order matters: fence the former owner (`init_transactions`), look at the facts, judge them, restore. After the
fence nothing of the former owner is open, so the end of the changelog is the end.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from streams.clients import KAFKA, Connect
from streams.errors import CloutError
from streams.settings import KafkaSettings
from streams.store import Local, Row, Store
from streams.topics import DAY_MS

_BATCH_RECORDS: Final = 20_000
_POLL_SECONDS: Final = 0.1
WATERMARK_SECONDS: Final = 15.0
LOCAL_AGE_SECONDS_MAX: Final = 7 * DAY_MS / 2000
"""Half of the time that compaction keeps deletions: an older copy may have missed some."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known about a partition's changelog before its restore."""

    topic: str
    partition: int
    topic_id: str
    begin: int
    """First offset that the changelog still has."""
    end: int
    """Offset after its last committed record."""
    written_end: int
    """The same of all records. Where it is another, a transaction has no end."""
    local: Local | None
    """What the local copy says of itself."""
    group_has_positions: bool
    """The worker group has committed positions on the lanes: there was state once."""
    now_seconds: float


def judge(facts: Facts) -> bool:
    """Return whether the local copy can be used; raise `CloutError` when the changelog cannot be right."""
    where = f"{facts.topic} [{facts.partition}]"
    local = facts.local
    start_over = "set the group's offsets, lanes and changes aside and start anew under another kafka.prefix"
    if facts.written_end > facts.end:
        raise CloutError(
            f"the changelog {where} has a transaction without an end",
            detail=f"it is committed up to offset {facts.end} and goes on to {facts.written_end}; nobody writes: the "
            "broker lost whether that counts, as Apache Kafka 4.3.0, 4.3.1 and 4.4.0 may when they are killed",
            hint=f"use Apache Kafka 4.2.2, or a later one without KAFKA-20734, and {start_over}",
        )
    if local is not None and local.changelog_topic_id != facts.topic_id:
        raise CloutError(
            f"the changelog {where} is not the one that the local state was made from",
            detail=f"topic id {facts.topic_id} now, {local.changelog_topic_id} in the local state: it was re-created",
            hint=f"bring the old topic back, or {start_over}",
        )
    if local is not None and local.changelog_end > facts.end:
        raise CloutError(
            f"the changelog {where} ends before what the local state has already taken from it",
            detail=f"it ends at offset {facts.end}, the local state stands at {local.changelog_end}: records were lost",
            hint=f"restore the topic from a replica or backup, or {start_over}",
        )
    if facts.begin == facts.end and (facts.group_has_positions or (local is not None and local.changelog_end > 0)):
        raise CloutError(
            f"the changelog {where} is empty, but this partition has been worked on",
            detail="the worker group has committed positions on its lanes, or a local copy has state",
            hint=f"restore the topic from a replica or backup, or {start_over}",
        )
    if local is None:
        usable = False
    elif facts.begin > local.changelog_end:
        raise CloutError(
            f"the changelog {where} begins after what the local state has taken from it",
            detail=f"it begins at offset {facts.begin}, the local state stands at {local.changelog_end}",
            hint=f"its cleanup.policy must be compact alone; restore the topic from a backup, or {start_over}",
        )
    else:
        usable = facts.now_seconds - local.written_at_seconds <= LOCAL_AGE_SECONDS_MAX
    if not usable and facts.begin > 0:
        raise CloutError(
            f"the changelog {where} was truncated",
            detail=f"it begins at offset {facts.begin} and no local copy has what lay before",
            hint=f"its cleanup.policy must be compact alone; restore the topic from a backup, or {start_over}",
        )
    return usable


def watermarks(
    kafka: KafkaSettings, topic: str, partition: int, connect: Connect = KAFKA, *, committed: bool = True
) -> tuple[int, int]:
    """Return the first offset and the offset after the last record, of those that are committed or of all."""
    isolation = "read_committed" if committed else "read_uncommitted"
    consumer = connect.consumer(kafka, {"group.id": "clout-watermarks", "isolation.level": isolation})
    try:
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=WATERMARK_SECONDS)
    finally:
        consumer.close()
    return low, high


def restore(
    kafka: KafkaSettings,
    store: Store,
    facts: Facts,
    *,
    stop: threading.Event,
    clock: Callable[[], float],
    connect: Connect = KAFKA,
) -> int | None:
    """Read the changelog from where the store stands to its end; return the records read, None when stopped."""
    start = facts.local.changelog_end if facts.local is not None else facts.begin
    count, done = 0, start >= facts.end
    deleted: set[bytes] = set()
    consumer = connect.consumer(
        kafka,
        {
            "group.id": "clout-restore",
            "enable.partition.eof": True,
            "queued.min.messages": 1_000_000,
            "queued.max.messages.kbytes": 65_536,
            "fetch.wait.max.ms": 10,
            "check.crcs": True,
        },
    )
    try:
        consumer.assign([TopicPartition(facts.topic, facts.partition, start)])
        while not done:
            if stop.is_set():
                return None
            rows: list[Row] = []
            reached = -1
            for message in consumer.consume(_BATCH_RECORDS, _POLL_SECONDS):
                error = message.error()
                if error is None:
                    rows.append((message.key() or b"", message.value()))
                    reached = (message.offset() or 0) + 1
                elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  the client has no public name for it
                    reached, done = message.offset() or 0, True
                elif not error.retriable():
                    raise KafkaException(error)
            if reached >= 0:
                store.write_changelog(rows, Local(facts.topic_id, reached, clock()))
                count += len(rows)
                deleted.update(key for key, value in rows if value is None)
    finally:
        consumer.close()
    store.erase_restored(deleted)
    if start >= facts.end:
        store.write_changelog([], Local(facts.topic_id, facts.end, clock()))
    return count
