"""What must hold of any run: the chain of changes, and states equal to the reference."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any

from confluent_kafka import Message, TopicPartition

from schemas.change import ScoreChange, decode_change
from schemas.export import UserState, decode_user
from schemas.times import parse_ms
from scorer.reference import Sums
from streams import clients
from streams.settings import KafkaSettings


def committed(kafka: KafkaSettings, topic: str) -> list[tuple[bytes | None, bytes | None]]:
    """All records of a topic that a `read_committed` reader sees, partition by partition, in order."""
    return [record for records in _committed_by_partition(kafka, topic).values() for record in records]


def committed_records(kafka: KafkaSettings, topic: str) -> Iterator[tuple[int, int, bytes | None, bytes | None]]:
    """Yield partition, offset, key and value of all records that a `read_committed` reader sees, in their order."""
    for message in committed_messages(kafka, topic):
        partition, offset = message.partition(), message.offset()
        assert partition is not None
        assert offset is not None
        yield partition, offset, message.key(), message.value()


def committed_messages(kafka: KafkaSettings, topic: str) -> Iterator[Message]:
    """Yield all records that a `read_committed` reader sees, in their order."""
    options = {"group.id": "checks", "enable.partition.eof": True, "fetch.wait.max.ms": 10}
    consumer = clients.consumer(kafka, options)
    open_partitions = set(consumer.list_topics(topic, timeout=10).topics[topic].partitions)
    consumer.assign([TopicPartition(topic, partition, 0) for partition in open_partitions])
    while open_partitions:
        # A call waits its whole time for so many: at the end of a topic that is what a look costs.
        for message in consumer.consume(10_000, 0.05):
            if message.error() is None:
                yield message
            else:
                open_partitions.discard(message.partition())
    consumer.close()


def raw_records(kafka: KafkaSettings, topic: str) -> dict[int, list[tuple[bytes | None, Any]]]:
    """Keys and decoded JSON values of the records in each partition of a network's topic, in order."""
    return {
        partition: [(key, json.loads(value or b"")) for key, value in records]
        for partition, records in _committed_by_partition(kafka, topic).items()
    }


def _committed_by_partition(kafka: KafkaSettings, topic: str) -> dict[int, list[tuple[bytes | None, bytes | None]]]:
    records: dict[int, list[tuple[bytes | None, bytes | None]]] = {}
    for partition, _, key, value in committed_records(kafka, topic):
        records.setdefault(partition, []).append((key, value))
    return dict(sorted(records.items()))


def changes_of(kafka: KafkaSettings, topic: str) -> dict[str, list[ScoreChange]]:
    """Every user's changes, in the order of the topic; a tombstone may follow the change of one who is forgotten."""
    found: dict[str, list[ScoreChange]] = {}
    for key, value in committed(kafka, topic):
        assert key is not None
        if value is None:
            assert found[key.decode()][-1].cause == "forget"
            continue
        change = decode_change(value)
        assert change.user.encode() == key
        found.setdefault(change.user, []).append(change)
    return found


def broken_chains(changes: Mapping[str, list[ScoreChange]]) -> list[str]:
    """Users whose sequence is not 1, 2, 3 … or whose `previous` is not the score before, with what is wrong."""
    broken = []
    for user, theirs in changes.items():
        if [change.sequence for change in theirs] != list(range(1, len(theirs) + 1)):
            broken.append(f"{user}: sequence {[change.sequence for change in theirs]}")
        elif theirs[0].previous is not None:
            broken.append(f"{user}: the first change has previous {theirs[0].previous}")
        elif any(after.previous != before.score for before, after in pairwise(theirs)):
            broken.append(f"{user}: a previous is not the score before")
    return broken


def users_of(lines: Iterable[bytes]) -> dict[str, UserState]:
    """The users of an export."""
    states = (decode_user(line) for line in lines if line.strip())
    return {state.user: state for state in states}


def wrong_sums(
    users: Mapping[str, UserState], expected: Mapping[tuple[str, str], Sums], influence_floor: float
) -> list[str]:
    """Users whose sums differ from those expected: reach and amplification by more than 1e-9, network out of bounds."""
    wrong = []
    found = {(user, network) for user, state in users.items() for network in state.networks}
    wrong += [f"{user} on {network} should not be there" for user, network in found - expected.keys()]
    for (user, network), sums in expected.items():
        if (user, network) not in found:
            wrong.append(f"{user} on {network} is missing")
            continue
        have = users[user].networks[network]
        if parse_ms(have.time) != sums.time or have.events != sums.events:
            wrong.append(
                f"{user} on {network}: {have.time} and {have.events} events, not {sums.time} and {sums.events}"
            )
        for name in ("reach", "amplification"):
            is_, should = getattr(have, name), getattr(sums, name)
            if not math.isclose(is_, should, rel_tol=1e-9):
                wrong.append(f"{user} on {network}: {name} {is_!r}, not {should!r}")
        low, high = influence_floor * sums.amplification, sums.amplification
        if not low * (1 - 1e-9) <= have.network <= high * (1 + 1e-9):
            wrong.append(f"{user} on {network}: network {have.network} is not within {low} and {high}")
    return wrong
