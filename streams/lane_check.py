"""Whether records that a lane no longer has were all read, asked of those who wrote them.

A lane may begin after the next offset to read although nothing is lost: a quiet lane's last segment holds control
records only, and retention deletes it. Offsets cannot tell; sequences can. Each source's last sequence is known
exactly (ingest: in the metadata of its committed offsets; a task: in its record, the last of its changelog), and
what the lane still has is read from its keys.
"""

from collections.abc import Mapping
from typing import Final

from confluent_kafka import Consumer, TopicPartition

from schemas.packed import PackedError, decode_key
from streams import feed_position, task_state
from streams.clients import KAFKA, Connect
from streams.feed_position import CONTROL
from streams.names import Names
from streams.settings import KafkaSettings, NetworkSettings
from streams.store import META_KEY
from streams.task_state import ACTORS, TaskState

_REQUEST_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.2
_FIRST_STEP_RECORDS: Final = 4
"""A changelog partition ends with the task's record and a control record, unless aborted ones follow."""


def lost_records(
    kafka: KafkaSettings,
    names: Names,
    networks: Mapping[str, NetworkSettings],
    partition: int,
    lane: str,
    state: TaskState,
    connect: Connect = KAFKA,
) -> str:
    """Return which records of a lane partition are gone unread, in words; empty when none is."""
    topic = names.actors_lane if lane == ACTORS else names.targets_lane
    if lane == ACTORS:
        sent = _sent_by_ingest(kafka, names, networks, partition, connect)
    else:
        sent = _sent_by_tasks(kafka, names, partition, connect)
    present = _first_sequences(kafka, topic, partition, connect)
    for source, last in sent.items():
        seen = state.seen[lane].get(source, 0)
        first = present.get(source, last + 1)
        if first > seen + 1:
            return f"records {seen + 1} to {first - 1} of {source} are gone"
    return ""


def _sent_by_ingest(
    kafka: KafkaSettings, names: Names, networks: Mapping[str, NetworkSettings], partition: int, connect: Connect
) -> dict[str, int]:
    """Return each raw partition's last sequence for a lane partition."""
    sent = {}
    group = connect.consumer(kafka, {"group.id": names.ingest_group})
    try:
        lane_partitions = len(
            group.list_topics(names.actors_lane, timeout=_REQUEST_SECONDS).topics[names.actors_lane].partitions
        )
        feeds = {names.interactions(network): network for network in networks} | {names.control: CONTROL}
        for topic, network in feeds.items():
            partitions = group.list_topics(topic, timeout=_REQUEST_SECONDS).topics[topic].partitions
            positions = [TopicPartition(topic, number) for number in partitions]
            for position in group.committed(positions, timeout=_REQUEST_SECONDS):
                if position.metadata:
                    source = feed_position.source_of(network, position.partition)
                    sent[source] = feed_position.decode(position.metadata, lane_partitions).sent[partition]
    finally:
        group.close()
    return sent


def _sent_by_tasks(kafka: KafkaSettings, names: Names, partition: int, connect: Connect) -> dict[str, int]:
    """Return each task's last sequence for a lane partition."""
    sent = {}
    reader = connect.consumer(kafka, {"group.id": "clout-lane-check", "enable.partition.eof": True})
    try:
        for number in reader.list_topics(names.state, timeout=_REQUEST_SECONDS).topics[names.state].partitions:
            value = _last_task_record(reader, names.state, number)
            if value is not None:
                sent[f"actors/{number}"] = task_state.decode(value).sent.get(partition, 0)
    finally:
        reader.close()
    return sent


def _last_task_record(reader: Consumer, topic: str, partition: int) -> bytes | None:
    """Return the last task record of a changelog partition, looking ever further back for it."""
    begin, end = reader.get_watermark_offsets(TopicPartition(topic, partition), timeout=_REQUEST_SECONDS)
    step = _FIRST_STEP_RECORDS
    while True:
        start = max(begin, end - step)
        found = None
        for key, value in _keys_and_values(reader, topic, partition, start):
            if key == META_KEY:
                found = value
        if found is not None or start == begin:
            return found
        step *= 10


def _first_sequences(kafka: KafkaSettings, topic: str, partition: int, connect: Connect) -> dict[str, int]:
    """Return the first sequence of each source that a lane partition still has."""
    first: dict[str, int] = {}
    # Whoever holds a transaction open here hides committed records behind it. A number that was aborted does no harm:
    # the record that has it for good comes later, so it is there too.
    options = {"group.id": "clout-lane-check", "enable.partition.eof": True, "isolation.level": "read_uncommitted"}
    reader = connect.consumer(kafka, options)
    try:
        begin, _ = reader.get_watermark_offsets(TopicPartition(topic, partition), timeout=_REQUEST_SECONDS)
        for key, _ in _keys_and_values(reader, topic, partition, begin):
            try:
                stamp = decode_key(key)
            except PackedError:
                continue
            first.setdefault(stamp.source, stamp.sequence)
    finally:
        reader.close()
    return first


def _keys_and_values(
    reader: Consumer, topic: str, partition: int, start: int
) -> list[tuple[bytes | None, bytes | None]]:
    """Return keys and values from an offset to the end of a partition."""
    reader.assign([TopicPartition(topic, partition, start)])
    records: list[tuple[bytes | None, bytes | None]] = []
    while True:
        for message in reader.consume(1000, _POLL_SECONDS):
            if message.error() is not None:
                return records
            records.append((message.key(), message.value()))
