"""One owned partition: its store, its transactional producer, and the commit path between them."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import structlog
from confluent_kafka import KafkaException, Message, TopicPartition
from rocksdict import Cache

from schemas.packed import Record, Stamp, encode_key
from scorer.laws import Batch, audit
from scorer.model import Model
from scorer.target_state import published_scores
from streams import changelog, clients, topics
from streams.errors import CloutError
from streams.intake import Accepted, Intake
from streams.metrics import WorkerMetrics
from streams.names import Names
from streams.packing import cut, groups_of
from streams.publish import Change, changes
from streams.settings import KafkaSettings, WorkerSettings
from streams.stages import actors as actors_stage
from streams.stages import targets as targets_stage
from streams.store import META_KEY, Local, Row, Store
from streams.task_state import ACTORS, LANES, TARGETS, TaskState, TaskStateError, decode, encode

_log = structlog.get_logger(__name__)

_INIT_SECONDS: Final = 30.0
_COMMIT_SECONDS: Final = 20.0
_COMMIT_RETRIES_MAX: Final = 5
_QUEUE_RECORDS_MAX: Final = 2_000_000
_RECORD_ROWS_MAX: Final = 4_000


class TaskLostError(Exception):
    """The commit failed for good: the task drops its memory and begins again through restore."""


@dataclass(frozen=True, slots=True)
class Shared:
    """What all tasks of a worker have in common."""

    kafka: KafkaSettings
    names: Names
    model: Model
    settings: WorkerSettings
    partitions: int
    directory: Path
    cache: Cache
    metrics: WorkerMetrics
    clock: Callable[[], float] = time.time
    """Wall clock in seconds, for latencies and the age of local state; scores never see it."""


@dataclass(slots=True)
class Proposal:
    """What a batch comes to, before anything is written."""

    state: TaskState
    lane: Sequence[tuple[int, bytes]]
    """Records for partitions of the targets lane."""
    changes: Sequence[Change]
    dead: Sequence[Accepted]
    targets: list[Row]
    actors: list[Row]
    outcome: targets_stage.TargetsOutcome | None


class Task:
    """One partition of both lanes."""

    def __init__(self, partition: int, shared: Shared) -> None:
        """Prepare; nothing is opened yet."""
        self.partition = partition
        self.shared = shared
        self.source = f"actors/{partition}"
        self.intake = Intake()
        self.stop_restore = threading.Event()
        self.stopped = ""
        """Why the task stands still, if it does."""
        self.state = self._new_state()
        self._parameters = shared.model.parameters
        self._changes_source = f"/{shared.names.app_id}/{shared.model.name}".encode()
        self._changelog_end = -1
        self._topic_id = ""
        self.store: Store | None = None
        self._log = _log.bind(partition=partition)

    # Opening and closing -------------------------------------------------------------------------------------------

    def open(self) -> int | None:
        """Fence the former owner, restore, and check that it all fits; return the records restored.

        Return None when `stop_restore` was set meanwhile. Raise `CloutError` when the partition must not be worked
        on, `KafkaException` when Kafka cannot be used now. Runs in a thread.
        """
        shared = self.shared
        self._producer = clients.producer(
            shared.kafka,
            {
                "transactional.id": shared.names.task_transactional_id(self.partition),
                "transaction.timeout.ms": shared.settings.transaction_timeout_seconds * 1000,
                "linger.ms": 5,
                "compression.type": "lz4",
                "queue.buffering.max.messages": _QUEUE_RECORDS_MAX,
            },
        )
        self._producer.init_transactions(_INIT_SECONDS)
        self.store = store = Store(shared.directory / str(self.partition), shared.cache)
        admin = clients.admin(shared.kafka)
        facts = self._facts(topics.topic_id(admin, shared.names.state), store)
        if not changelog.judge(facts) and facts.local is not None:
            self._log.warning("local state too old, rebuilding it", written_at_seconds=facts.local.written_at_seconds)
            store.destroy()
            self.store = store = Store(shared.directory / str(self.partition), shared.cache)
            facts = self._facts(facts.topic_id, store)
        restored = changelog.restore(shared.kafka, store, facts, stop=self.stop_restore, clock=shared.clock)
        if restored is None or self.stop_restore.wait(shared.settings.restore_delay_seconds):
            return None
        self._topic_id, self._changelog_end = facts.topic_id, facts.end
        self.state = self._load(store)
        lanes = {ACTORS: shared.names.actors_lane, TARGETS: shared.names.targets_lane}
        for lane, topic in lanes.items():
            begin, _ = changelog.watermarks(shared.kafka, topic, self.partition)
            self._check_lane(lane, topic, topics.topic_id(admin, topic), begin)
        return restored

    def _facts(self, topic_id: str, store: Store) -> changelog.Facts:
        shared, topic = self.shared, self.shared.names.state
        begin, end = changelog.watermarks(shared.kafka, topic, self.partition)
        group = clients.consumer(shared.kafka, {"group.id": shared.names.app_id})
        try:
            committed = group.committed(
                [
                    TopicPartition(lane, self.partition)
                    for lane in (shared.names.actors_lane, shared.names.targets_lane)
                ],
                timeout=_INIT_SECONDS,
            )
        finally:
            group.close()
        return changelog.Facts(
            topic,
            self.partition,
            topic_id,
            begin,
            end,
            store.local(),
            any(position.offset > 0 for position in committed),
            shared.clock(),
        )

    def _new_state(self) -> TaskState:
        return TaskState(model=self.shared.model.name, model_hash=self.shared.model.parameters_hash)

    def _load(self, store: Store) -> TaskState:
        value = store.meta()
        if value is None:
            return self._new_state()
        try:
            state = decode(value)
        except TaskStateError as error:
            raise CloutError(f"partition {self.partition} cannot be opened", detail=str(error)) from error
        model = self.shared.model
        if (state.model, state.model_hash) != (model.name, model.parameters_hash):
            raise CloutError(
                f"partition {self.partition} has state of another model",
                detail=f"the state was made with model {state.model!r} ({state.model_hash}), "
                f"the configuration says {model.name!r} ({model.parameters_hash})",
                hint="set [model] back, or give the changed model a name of its own (model.name)",
            )
        return state

    def _check_lane(self, lane: str, topic: str, topic_id: str, begin: int) -> None:
        where, position = f"{topic} [{self.partition}]", self.state.positions[lane]
        way_out = "bring the records back from a replica or backup, or start anew under another kafka.prefix"
        known = self.state.topic_ids.setdefault(lane, topic_id)
        if known != topic_id:
            raise CloutError(
                f"the lane {where} is not the one that this partition has been reading",
                detail=f"topic id {topic_id} now, {known} before: it was deleted and created again",
                hint=way_out,
            )
        if begin > position + 1:
            raise CloutError(
                f"the lane {where} begins after the next record to read",
                detail=f"it begins at offset {begin}, the next would be {position + 1}: records were lost",
                hint=way_out,
            )

    def close(self) -> None:
        """Close the store, if it is open."""
        if self.store is not None:
            store, self.store = self.store, None
            store.close()

    # The commit path -----------------------------------------------------------------------------------------------

    def commit(self, batch: Sequence[Accepted]) -> None:
        """Turn accepted lane records into committed results. Runs in a thread.

        1. `batch` holds the records accepted, in the order of their lanes.
        2. Read the states concerned.
        3. Fold: targets first, then actors.
        4. Audit the proposal against the laws; a violation raises and nothing is written.
        5. One Kafka transaction: credits, changes, dead letters, changelog, the task's record last.
        6. One RocksDB write batch: the same rows, and the changelog offset reached.
        7. The caller acknowledges the records.

        A crash before 5 leaves nothing; between 5 and 6 the changelog is ahead and restore catches up; after that a
        record read again is skipped by position. Raise `TaskLostError` when the transaction failed for good,
        `CloutError` when the task must stop.
        """
        metrics = self.shared.metrics
        proposal = self._propose(batch)
        self._audit(proposal, batch)
        begun = time.perf_counter()
        self._write_transaction(proposal)
        metrics.commit_seconds.observe(time.perf_counter() - begun)
        assert self.store is not None
        local = Local(self._topic_id, self._changelog_end, self.shared.clock())
        self.store.write(proposal.actors, proposal.targets, encode(proposal.state), local)
        before, self.state = self.state, proposal.state
        self._count(before, proposal)

    def _propose(self, batch: Sequence[Accepted]) -> Proposal:
        """Read and fold; the task's own state stays as it is."""
        shared, store = self.shared, self.store
        assert store is not None
        state = self.state.copy()
        records: dict[str, list[Record]] = {lane: [] for lane in LANES}
        dead = []
        for accepted in batch:
            state.positions[accepted.lane] = accepted.offset
            if accepted.stamp is not None:
                state.seen[accepted.lane][accepted.stamp.source] = accepted.stamp.sequence
            if accepted.record is not None:
                records[accepted.lane].append(accepted.record)
            else:
                dead.append(accepted)
        proposal = Proposal(state, [], [], dead, [], [], None)
        if records[TARGETS]:
            with shared.metrics.batch_seconds.labels(TARGETS).time():
                outcome = targets_stage.fold(
                    records[TARGETS], state, read=store.read_targets, parameters=self._parameters
                )
                proposal.outcome, proposal.targets = outcome, outcome.rows
                proposal.changes = list(
                    changes(
                        outcome.published,
                        outcome.users,
                        state.networks,
                        cause="interaction",
                        model=shared.model.name,
                        source=self._changes_source,
                    )
                )
        if records[ACTORS]:
            with shared.metrics.batch_seconds.labels(ACTORS).time():
                credited = actors_stage.fold(
                    records[ACTORS],
                    state,
                    read_states=store.read_actors,
                    read_scores=lambda users: published_scores(self._newest(users, dict(proposal.targets))),
                    parameters=self._parameters,
                    partitions=shared.partitions,
                )
                proposal.actors = credited.states
                proposal.lane = cut(
                    credited.credits, groups_of(credited.partitions, shared.partitions), _RECORD_ROWS_MAX
                )
        return proposal

    def _newest(self, users: list[bytes], proposed: dict[bytes, bytes | None]) -> list[bytes | None]:
        """Return the users' rows, those that this batch proposes before those stored."""
        assert self.store is not None
        stored = self.store.read_targets(users)
        return [proposed.get(user, row) for user, row in zip(users, stored, strict=True)] if proposed else stored

    def _audit(self, proposal: Proposal, batch: Sequence[Accepted]) -> None:
        outcome = proposal.outcome
        if outcome is None:
            return
        rows_in = sum(a.record.rows for a in batch if a.lane == TARGETS and a.record is not None)
        violations = audit(
            Batch(
                heads_before=outcome.before.heads,
                entries_before=outcome.before.entries,
                clocks_before=outcome.before.clocks,
                heads_after=outcome.after.heads,
                entries_after=outcome.after.entries,
                clocks_after=outcome.after.clocks,
                users=outcome.user,
                networks=outcome.network,
                times=outcome.time,
                grants=outcome.grants,
                scored=outcome.scored,
                published=outcome.published,
                rows_in=rows_in,
                duplicates=0,
                skipped=0,
            ),
            self._parameters,
        )
        for violation in violations:
            self.shared.metrics.law_violations.labels(violation.name).inc()
        if violations:
            raise CloutError(
                f"partition {self.partition} stopped: a batch breaks the law {violations[0].name}",
                detail="; ".join(f"{violation.name}: {violation.detail}" for violation in violations)
                + f"; lane positions {self.state.positions} to {proposal.state.positions}",
                hint="nothing of the batch was published; mend the fold and start the worker again",
            )

    def _write_transaction(self, proposal: Proposal) -> None:
        names, producer, partition = self.shared.names, self._producer, self.partition
        sent = proposal.state.sent
        try:
            producer.begin_transaction()
            for target, value in proposal.lane:
                sent[target] = sent.get(target, 0) + 1
                key = encode_key(Stamp(self.source, sent[target]))
                producer.produce(names.targets_lane, value, key, partition=target)
            for change in proposal.changes:
                producer.produce(names.changes, change.value, change.key, partition=partition, headers=change.headers)
            for dead in proposal.dead:
                producer.produce(names.lane_dead_letters, dead.value, dead.key, headers=self._why_dead(dead))
            rows = [{"key": key, "value": value} for key, value in (*proposal.targets, *proposal.actors)]
            if rows and producer.produce_batch(names.state, rows, partition=partition) != len(rows):
                raise TaskLostError("the producer's queue did not take the whole changelog batch")
            producer.produce(
                names.state, encode(proposal.state), META_KEY, partition=partition, on_delivery=self._delivered
            )
            self._commit_transaction()
        except (KafkaException, BufferError) as error:
            raise TaskLostError(str(error)) from error

    def _commit_transaction(self) -> None:
        for attempt in range(_COMMIT_RETRIES_MAX + 1):
            try:
                self._producer.commit_transaction(_COMMIT_SECONDS)
            except KafkaException as error:
                if not error.args[0].retriable() or attempt == _COMMIT_RETRIES_MAX:
                    raise
                self._log.warning("commit will be retried", attempt=attempt + 1, reason=error.args[0].str())
            else:
                return

    def _delivered(self, error: Any, message: Message) -> None:
        if error is None:
            offset = message.offset()
            assert offset is not None
            self._changelog_end = offset + 1

    def _why_dead(self, dead: Accepted) -> list[tuple[str, bytes]]:
        names = self.shared.names
        topic = names.actors_lane if dead.lane == ACTORS else names.targets_lane
        return [
            ("reason", b"not_a_packed_record"),
            ("detail", dead.problem.encode()),
            ("source_topic", topic.encode()),
            ("source_partition", str(self.partition).encode()),
            ("source_offset", str(dead.offset).encode()),
        ]

    def _count(self, before: TaskState, proposal: Proposal) -> None:
        metrics, outcome = self.shared.metrics, proposal.outcome
        for network, counters in proposal.state.counters.items():
            for name, count in counters.items():
                metrics.events.labels(network, name).inc(count - before.counters.get(network, {}).get(name, 0))
        rows = Counter({lane: sum(counters[name] for counters in proposal.state.counters.values())
                        - sum(counters[name] for counters in before.counters.values())
                        for lane, name in ((ACTORS, "credited"), (TARGETS, "applied"))})
        for lane, count in rows.items():
            metrics.rows.labels(lane).inc(count)
        metrics.changes.labels("interaction").inc(len(proposal.changes))
        if outcome is not None and len(outcome.published.index):
            changed = np.zeros(len(outcome.users), np.bool_)
            changed[outcome.published.index] = True
            theirs = changed[outcome.user]
            now_ms = self.shared.clock() * 1000
            metrics.event_to_change.observe((now_ms - outcome.time[theirs]) / 1000)
            metrics.arrival_to_change.observe((now_ms - outcome.arrival[theirs]) / 1000)
