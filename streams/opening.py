"""Open a partition: fence the former owner, restore the store, and check that lanes, changelog and model fit it."""

import shutil
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from rocksdict import Cache

from schemas.users import keyed_hash
from scorer.model import Model
from streams import changelog, lane_check, topics
from streams.actor_names import KnownNames
from streams.clients import KAFKA, Connect, fence
from streams.damage import Trouble, trouble_of
from streams.errors import CloutError
from streams.forgotten import Forgotten
from streams.ledger import Ledger
from streams.metrics import WorkerMetrics
from streams.names import Names
from streams.notices import Notices
from streams.settings import KafkaSettings, NetworkSettings, WorkerSettings
from streams.store import Local, Store
from streams.task_state import ACTORS, TARGETS, TaskState, TaskStateError, decode
from streams.timers import Timers

_log = structlog.get_logger(__name__)

_REQUEST_SECONDS: Final = 30.0
_QUEUE_RECORDS_MAX: Final = 2_000_000
_LINGER_MS: Final = 1_000
"""Longer than a transaction takes to be written: only full requests go out before its commit, which waits for nothing.

What a transaction writes to a partition is to go out in one request. An idempotent client has one under way for each
partition, and while more is ready to be sent it asks its socket without a pause: on busy cores that took more of them
than all the rest of its work. `docs/decisions/0035` has figures.
"""
_REQUEST_BYTES_MAX: Final = topics.BATCH_BYTES_MAX - (1 << 20)
"""Of records as they are written; less than what topics take, for what is added to them."""
_REQUEST_RECORDS_MAX: Final = 1_000_000
"""As many as the client allows."""


@dataclass(frozen=True, slots=True)
class Shared:
    """What all tasks of a worker have in common."""

    kafka: KafkaSettings
    names: Names
    networks: Mapping[str, NetworkSettings]
    model: Model
    settings: WorkerSettings
    partitions: int
    directory: Path
    cache: Cache
    metrics: WorkerMetrics
    hash_key: bytes
    """Of `schemas.users.keyed_hash`, by which users who were forgotten are known."""
    clock: Callable[[], float] = time.time
    """Wall clock in seconds, for latencies and the age of local state; scores never see it."""
    connect: Connect = KAFKA
    open_store: Callable[[Path, Cache], Store] = Store
    """How clients and stores are made; a simulation has its own."""
    address: str = ""
    """HOST:PORT where the worker answers questions about its users."""

    def new_state(self) -> TaskState:
        """Return the record of a task that has done nothing yet."""
        return TaskState(model=self.model.name, model_hash=self.model.parameters_hash)


@dataclass(frozen=True, slots=True)
class Opened:
    """A partition ready to be worked on."""

    producer: Producer
    store: Store
    state: TaskState
    ledger: Ledger
    forgotten: Forgotten
    timers: Timers
    names: KnownNames
    notices: Notices
    changelog_topic_id: str
    changelog_end: int
    restored_records: int


def open_partition(shared: Shared, partition: int, stop: threading.Event) -> Opened | None:
    """Open a partition; return None when `stop` was set meanwhile.

    A local copy that is damaged is rebuilt from the changelog. Raise `CloutError` when the partition must not be
    worked on, `KafkaException` when Kafka cannot be used now, what RocksDB raises when its files cannot be written.
    """
    producer = _fenced_producer(shared, partition)
    admin = shared.connect.admin(shared.kafka)
    topic_id = topics.topic_id(admin, shared.names.state)
    try:
        return _open(shared, partition, stop, producer, admin, topic_id)
    except Exception as error:
        if trouble_of(error) is not Trouble.DAMAGED:
            raise
        reason = str(error)
    # Before the copy is deleted: a changelog that cannot replace it is refused, and the files stay for a rescue.
    changelog.judge(_facts(shared, partition, topic_id, None))
    _log.warning("local state is damaged and will be rebuilt from the changelog", partition=partition, reason=reason)
    shutil.rmtree(_path(shared, partition), ignore_errors=True)
    return _open(shared, partition, stop, producer, admin, topic_id)


def _open(
    shared: Shared, partition: int, stop: threading.Event, producer: Producer, admin: AdminClient, topic_id: str
) -> Opened | None:
    """Restore the store and check that everything fits."""
    store = shared.open_store(_path(shared, partition), shared.cache)
    try:
        facts = _facts(shared, partition, topic_id, store.local())
        if not changelog.judge(facts) and facts.local is not None:
            _log.warning("local state is too old and will be rebuilt", partition=partition)
            store.destroy()
            store = shared.open_store(_path(shared, partition), shared.cache)
            facts = _facts(shared, partition, topic_id, store.local())
        restored = changelog.restore(shared.kafka, store, facts, stop=stop, clock=shared.clock, connect=shared.connect)
        if restored is None or stop.wait(shared.settings.restore_delay_seconds):
            store.close()
            return None
        state = _load(shared, facts, store)
        if not _count_users(state, store, stop):
            store.close()
            return None
        ledger = Ledger(state.ledger, store.scan("ledger"), store.ledger_block)
        forgotten = _forgotten(shared, partition, state, store)
        for lane, topic in ((ACTORS, shared.names.actors_lane), (TARGETS, shared.names.targets_lane)):
            _check_lane(shared, partition, state, lane, topic, topics.topic_id(admin, topic))
        notices = Notices(shared.kafka, shared.names, partition, shared.connect)
    except BaseException:
        store.close()
        raise
    timers = Timers(store.timers_between)
    return Opened(
        producer, store, state, ledger, forgotten, timers, KnownNames(), notices, topic_id, facts.end, restored
    )


def _fenced_producer(shared: Shared, partition: int) -> Producer:
    """Return the partition's producer; what the former owner left open is aborted, and it can commit no more."""
    producer = shared.connect.producer(
        shared.kafka,
        {
            "transactional.id": shared.names.task_transactional_id(partition),
            "transaction.timeout.ms": shared.settings.transaction_timeout_seconds * 1000,
            "linger.ms": _LINGER_MS,
            "batch.size": _REQUEST_BYTES_MAX,
            "batch.num.messages": _REQUEST_RECORDS_MAX,
            "message.max.bytes": topics.BATCH_BYTES_MAX,
            "compression.type": "lz4",
            "queue.buffering.max.messages": _QUEUE_RECORDS_MAX,
            # A commit says whether everything arrived; a report for each record would only cost time.
            "delivery.report.only.error": True,
        },
    )
    fence(producer, _REQUEST_SECONDS)
    return producer


def _path(shared: Shared, partition: int) -> Path:
    """Return where the partition's store lies."""
    return shared.directory / str(partition)


def _facts(shared: Shared, partition: int, topic_id: str, local: Local | None) -> changelog.Facts:
    names = shared.names
    begin, end = changelog.watermarks(shared.kafka, names.state, partition, shared.connect)
    _, written_end = changelog.watermarks(shared.kafka, names.state, partition, shared.connect, committed=False)
    group = shared.connect.consumer(shared.kafka, {"group.id": names.app_id})
    try:
        lanes = [TopicPartition(topic, partition) for topic in (names.actors_lane, names.targets_lane)]
        committed = group.committed(lanes, timeout=_REQUEST_SECONDS)
    finally:
        group.close()
    return changelog.Facts(
        topic=names.state,
        partition=partition,
        topic_id=topic_id,
        begin=begin,
        end=end,
        written_end=written_end,
        local=local,
        group_has_positions=any(position.offset > 0 for position in committed),
        now_seconds=shared.clock(),
    )


def _load(shared: Shared, facts: changelog.Facts, store: Store) -> TaskState:
    """Return the task's record; refuse one that was made with another model, and none where there must be one."""
    value, model, partition = store.meta(), shared.model, facts.partition
    if value is None and facts.group_has_positions:
        raise CloutError(
            f"partition {partition} has lost its state",
            detail=f"it has been worked on, and its changelog {facts.topic} [{partition}] brought no record of that",
            hint="start the worker again; if that brings nothing, restore the topic from a replica or backup",
        )
    if value is None:
        return shared.new_state()
    try:
        state = decode(value)
    except TaskStateError as error:
        raise CloutError(f"partition {partition} cannot be opened", detail=str(error)) from error
    if (state.model, state.model_hash) != (model.name, model.parameters_hash):
        raise CloutError(
            f"partition {partition} has state of another model",
            detail=f"the state was made with model {state.model!r} ({state.model_hash}), "
            f"the configuration says {model.name!r} ({model.parameters_hash})",
            hint="set [model] back, or give the changed model a name of its own (model.name)",
        )
    return state


def _count_users(state: TaskState, store: Store, stop: threading.Event) -> bool:
    """Count all users if the record is of before they were counted; return whether nobody stopped it."""
    if state.population.counted:
        return True
    state.population.move_to(state.clocks)
    return state.population.count_all(len(state.networks), store.scan_targets, stop.is_set)


def _forgotten(shared: Shared, partition: int, state: TaskState, store: Store) -> Forgotten:
    """Return the users who were forgotten; refuse another hash key, under which nobody would be."""
    forgotten = Forgotten(shared.hash_key, store.scan("forgotten"))
    mark = keyed_hash(b"", shared.hash_key).hex()
    if len(forgotten) and state.hash_key_mark != mark:
        raise CloutError(
            f"partition {partition} knows forgotten users under another hash key",
            detail=f"{len(forgotten)} users who were forgotten would be taken in again",
            hint="set control.hash_key to what it was, or bring back the data directory's file control/secrets.json",
        )
    state.hash_key_mark = mark
    return forgotten


def _check_lane(shared: Shared, partition: int, state: TaskState, lane: str, topic: str, topic_id: str) -> None:
    """Refuse a lane that is another than before, or that has lost records not yet read."""
    where, position = f"{topic} [{partition}]", state.positions[lane]
    way_out = "bring the records back from a replica or backup, or start anew under another kafka.prefix"
    known = state.topic_ids.setdefault(lane, topic_id)
    if known != topic_id:
        raise CloutError(
            f"the lane {where} is not the one that this partition has been reading",
            detail=f"topic id {topic_id} now, {known} before: it was deleted and created again",
            hint=way_out,
        )
    begin, end = changelog.watermarks(shared.kafka, topic, partition, shared.connect)
    if end <= position:
        raise CloutError(
            f"the lane {where} ends before what this partition has already read",
            detail=f"it ends at offset {end}, the last record read was {position}: records were lost",
            hint=way_out,
        )
    if begin <= position + 1:
        return
    # Control records take offsets too, so what retention deleted may all have been read: ask the writers.
    lost = lane_check.lost_records(shared.kafka, shared.names, shared.networks, partition, lane, state, shared.connect)
    if lost:
        raise CloutError(
            f"the lane {where} begins after the next record to read",
            detail=f"it begins at offset {begin}, the next would be {position + 1}; {lost}",
            hint=way_out,
        )
