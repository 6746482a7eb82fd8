"""Users who are there already: rows as the targets stage would have left them, written straight to the changelog."""

from collections.abc import Iterator
from typing import Final

import numpy as np
from confluent_kafka import Producer

from bench.load import DAY_MS, NETWORK, RAW_PARTITIONS, SPAN_DAYS
from bench.site import Installation
from schemas.users import user_hashes
from scorer.model import Parameters
from scorer.target_state import ENTRY, HEAD, encode_targets
from scorer.targets import publish, score_targets
from scorer.timers import evaluation_times, reschedule
from streams import clients
from streams.clocks import Inputs, Raw
from streams.store import META_KEY
from streams.task_state import TaskState, encode

_CHUNK_USERS: Final = 250_000
_FLUSH_SECONDS: Final = 120.0


def write_users(installation: Installation, users: int, clock_ms: int) -> None:
    """Write so many users, and records of tasks whose clocks stand at a time; nobody has anything due by then.

    Each has a few people's interactions on one network, the last of them somewhere in the 30 days before.
    """
    settings, topic = installation.settings, installation.names.state
    partitions = settings.lanes.partitions
    producer = clients.producer(
        settings.kafka,
        {"compression.type": "lz4", "linger.ms": 20, "queue.buffering.max.messages": 1_000_000},
    )
    for names, rows in _users(users, clock_ms, settings.model.parameters):
        homes = user_hashes(names) % np.uint64(partitions)
        for partition in range(partitions):
            theirs = np.flatnonzero(homes == partition).tolist()
            _send(producer, topic, partition, [{"key": names[at], "value": rows[at]} for at in theirs])
    for partition in range(partitions):
        state = _state(installation, clock_ms)
        producer.produce(topic, encode(state), META_KEY, partition=partition)
    if producer.flush(_FLUSH_SECONDS):
        raise TimeoutError(f"{len(producer)} rows were not written within {_FLUSH_SECONDS:.0f} s")


def _send(producer: Producer, topic: str, partition: int, records: list[dict[str, bytes]]) -> None:
    while records:
        taken = producer.produce_batch(topic, records, partition=partition)
        records = records[taken:]
        producer.poll(0.05 if records else 0)


def _users(users: int, clock_ms: int, parameters: Parameters) -> Iterator[tuple[list[bytes], list[bytes]]]:
    """Yield ids and rows, some at a time."""
    chance = np.random.default_rng(5)
    clocks = np.array([clock_ms])
    for first in range(0, users, _CHUNK_USERS):
        size = min(_CHUNK_USERS, users - first)
        heads, entries = np.zeros(size, HEAD), np.zeros((size, 1), ENTRY)
        entry = entries[:, 0]
        entry["events"] = 1 + chance.geometric(0.3, size)
        entry["time"] = clock_ms - chance.integers(0, SPAN_DAYS * DAY_MS, size)
        entry["reach"] = entry["events"] * chance.uniform(0.5, 1.0, size)
        entry["amplification"] = entry["reach"] * chance.uniform(0.3, 1.0, size)
        entry["network"] = entry["amplification"] * chance.uniform(0.1, 0.4, size)
        for sum_ in ("reach", "amplification", "network"):
            entry[f"granted_{sum_}"] = entry[sum_]
        times = evaluation_times(entries, clocks)
        publish(heads, entries, score_targets(heads, entries, times, parameters))
        reschedule(heads, entries, times, clocks, parameters)
        yield [b"twitter:%d" % number for number in range(first, first + size)], encode_targets(heads, entries)


def _state(installation: Installation, clock_ms: int) -> TaskState:
    settings = installation.settings
    state = TaskState(model=settings.model.name, model_hash=settings.model.parameters_hash)
    state.network_code(NETWORK)
    state.clocks[NETWORK] = clock_ms
    state.told_ms[NETWORK] = dict.fromkeys(range(settings.lanes.partitions), clock_ms)
    raw = {number: Raw(clock_ms, clock_ms) for number in range(RAW_PARTITIONS)}
    state.inputs[NETWORK] = Inputs(raw_partitions=RAW_PARTITIONS, raw=raw, clock_ms=clock_ms)
    return state
