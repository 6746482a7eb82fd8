"""A reader tells what compaction dropped from what was lost by a record's age, as `docs/consuming.md` says.

A day takes three seconds; Kafka's own cleaner compacts while changes come, and a reader begins anew again and again.
"""

import time
from collections.abc import Callable
from contextlib import closing
from typing import Final

import pytest
from confluent_kafka import OFFSET_BEGINNING, TopicPartition
from score_copy import KEPT_MS, judge

from schemas.change import decode_change, encode_change
from streams.clients import admin, consumer, producer
from streams.names import Names
from streams.settings import KafkaSettings, LaneSettings
from streams.topics import DAY_MS, make, specification
from tests.drills.test_retention import DAY_SECONDS, hurried

pytestmark = pytest.mark.drill

SECONDS: Final = 90
USERS: Final = 20
HURRIED_KEPT_MS: Final = KEPT_MS * DAY_SECONDS * 1000 // DAY_MS


def test_every_gap_that_compaction_leaves_ends_at_an_old_record(
    kafka_settings: KafkaSettings, say: Callable[[str], None]
) -> None:
    names = Names(kafka_settings.prefix, "1")
    specs = specification(names, LaneSettings(partitions=1), {})
    make(admin(kafka_settings), [hurried(spec) for spec in specs if spec.name == names.changes], 1)
    to, sequence, begun = producer(kafka_settings), 0, time.monotonic()
    by_compaction = lost = 0
    while time.monotonic() < begun + SECONDS:
        sequence += 1
        for number in range(USERS):
            previous = None if sequence == 1 else 20.0
            value = encode_change(f"u{number}", sequence, 20.0, previous, None, {}, sequence, "decay", "1")
            to.produce(names.changes, value, b"u%d" % number)
        assert to.flush(20) == 0
        if sequence % 10 == 0:
            found = gaps(kafka_settings, names.changes)
            by_compaction += len(found)
            lost += sum(age_ms <= HURRIED_KEPT_MS for age_ms in found)
        time.sleep(0.2)
    say(f"{by_compaction:,} gaps left by compaction, {lost} of them at records within {HURRIED_KEPT_MS:,} ms")
    assert by_compaction > 0
    assert lost == 0


def gaps(kafka: KafkaSettings, topic: str) -> list[int]:
    """Read the topic from its beginning; return the ages in ms of the records at which changes are missing."""
    reader = consumer(kafka, {"group.id": "gaps", "enable.partition.eof": True, "fetch.wait.max.ms": 10})
    reader.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    known: dict[str, tuple[int, float | None]] = {}
    found: list[int] = []
    with closing(reader):
        while True:
            for message in reader.consume(10_000, 0.2):
                if message.error() is not None:
                    return found
                change = decode_change(message.value() or b"")
                told = {"sequence": change.sequence, "previous": change.previous}
                fault = judge(known.get(change.user), told, is_old=False)
                if fault is not None:
                    assert fault.kind == "gap"
                    found.append(time.time_ns() // 1_000_000 - message.timestamp()[1])
                known[change.user] = (change.sequence, change.score)
