"""One owned partition: its store, its transactional producer, and the commit path between them."""

import threading
import time
from collections.abc import Sequence
from typing import Final

import numpy as np
import structlog
from confluent_kafka import KafkaException, Producer

from schemas.incident import encode_incident
from schemas.packed import CLOCKS, COMMANDS, RETRACTIONS, PackedError, Record, Stamp, decode, decode_key, encode_key
from scorer.target_state import published_scores
from streams import quarantine
from streams.audit import LawBrokenError, broken_laws
from streams.forgotten import Forgotten
from streams.intake import Accepted, Intake
from streams.ledger import LedgerLimits, LedgerState
from streams.opening import Opened, Shared, open_partition
from streams.packing import cut, groups_of
from streams.population import Pace, next_population
from streams.proposal import Proposal, Sorted
from streams.publish import NO_CHANGES, changes
from streams.reasons import reasons_of
from streams.stages import actors as actors_stage
from streams.stages import clocks, commands, retractions
from streams.stages import targets as targets_stage
from streams.stopping import advice, finding_of, try_alone
from streams.store import META_KEY, Local, Rows, Store
from streams.task_state import ACTORS, LANES, TARGETS, TaskState, encode, source_of_task, task_of
from streams.ticks import clocks_value
from streams.timers import NOTHING_DUE, moved_rows
from streams.transaction import commit_transaction, letter_headers, produce_changes, produce_rows

_log = structlog.get_logger(__name__)

_RECORD_ROWS_MAX: Final = 8_000
_NONE: Final = np.empty(0, np.int64)


class TaskLostError(Exception):
    """The commit failed for good: the task drops its memory and begins again through restore."""


class Task:
    """One partition of both lanes."""

    def __init__(self, partition: int, shared: Shared) -> None:
        """Prepare; nothing is opened yet."""
        self.partition = partition
        self.shared = shared
        self.source = source_of_task(partition)
        self.intake = Intake()
        self.stop_restore = threading.Event()
        self.stopped = ""
        """Why the task stands still, if it does."""
        self.state = shared.new_state()
        self.behind_seconds = 0.0
        """Age of the newest event of the last batch, from its arrival at Kafka to its commit here."""
        self._opened: Opened | None = None
        self._changelog_end = -1
        self._pace = Pace(shared.clock)
        self.parameters = shared.model.parameters
        self._changes_source = f"/{shared.names.app_id}/{shared.model.name}".encode()

    @property
    def store(self) -> Store | None:
        """The partition's tables while they are open."""
        return self._opened.store if self._opened is not None else None

    @property
    def forgotten(self) -> Forgotten:
        """Who was forgotten, as the open partition knows it."""
        return self._opened.forgotten if self._opened is not None else Forgotten(self.shared.hash_key)

    @property
    def has_due(self) -> bool:
        """Whether there may be users whose time has come, for a batch without any record."""
        return self._opened is not None and self._opened.timers.pending

    @property
    def has_work(self) -> bool:
        """Whether there is something to do without any record: users whose time has come, or numbers to tell."""
        return self.has_due or (self._opened is not None and self._pace.is_due())

    def open(self) -> int | None:
        """Open the partition; return the records restored, or None when `stop_restore` was set meanwhile.

        Raise `CloutError` when the partition must not be worked on, `KafkaException` when Kafka cannot be used now.
        Runs in a thread.
        """
        opened = open_partition(self.shared, self.partition, self.stop_restore)
        if opened is None:
            return None
        self._opened, self.state, self._changelog_end = opened, opened.state, opened.changelog_end
        self._pace = Pace(self.shared.clock)
        self._show_ledger()
        return opened.restored_records

    def close(self) -> None:
        """Close the store, if it is open."""
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.store.close()
        self._show_ledger()

    def _show_ledger(self) -> None:
        """Show what the ledger holds; of a partition that is not open, nothing."""
        ledger = self.state.ledger if self._opened is not None else LedgerState()
        self.shared.metrics.ledger_rows.labels(str(self.partition)).set(ledger.rows)
        self.shared.metrics.ledger_window_seconds.labels(str(self.partition)).set(ledger.window_seconds)

    # The commit path -----------------------------------------------------------------------------------------------

    def commit(self, batch: Sequence[Accepted]) -> None:
        """Turn accepted lane records into committed results. Runs in a thread.

        1. `batch` holds the records accepted, in the order of their lanes; none when it is for those whose time has
           come, or for numbers to tell.
        2. Read the states concerned.
        3. Fold: targets first, then actors; count the users as they are now.
        4. Audit the proposal against the laws; a violation raises and nothing is written.
        5. One Kafka transaction: credits, changes, dead letters, now and then the users in numbers, changelog, the
           task's record last.
        6. One RocksDB write batch: the same rows, and the changelog offset reached.
        7. The caller acknowledges the records.

        A crash before 5 leaves nothing; between 5 and 6 the changelog is ahead and restore catches up; after that a
        record read again is skipped by position. Raise `TaskLostError` when the transaction failed for good,
        `CloutError` when the task must stop.
        """
        opened, metrics = self._opened, self.shared.metrics
        if opened is None:
            raise TaskLostError("the partition was closed")
        proposal = self._propose(batch, opened)
        if not batch and proposal.population is None and (proposal.due is None or not proposal.due.keys):
            opened.timers.committed(NOTHING_DUE, None, {})
            return
        try:
            self._audit(proposal)
        except LawBrokenError as error:
            for law in error.laws:
                metrics.law_violations.labels(law).inc()
            raise
        reached, now_ms = proposal.state.positions, self._now_ms()
        proposal.ended = opened.notices.ending(reached, proposal.orders(), now_ms, opened.forgotten)
        begun = time.perf_counter()
        self._write_transaction(proposal, opened.producer)
        metrics.commit_seconds.observe(time.perf_counter() - begun)
        # Before the rows: who asks meanwhile must know every network that a row may have.
        before, self.state = self.state, proposal.state
        self._pace.committed(told=proposal.population is not None, changed=_population_changed(before, self.state))
        local = Local(opened.changelog_topic_id, self._changelog_end, self.shared.clock())
        opened.store.write(proposal.rows, encode(proposal.state), local, proposal.timers, proposal.passed_timers)
        moved = proposal.outcome.moved if proposal.outcome is not None else None
        opened.timers.committed(proposal.due, moved, _by_code(proposal.state))
        opened.names.written(proposal.rows.names)
        opened.notices.committed(proposal.orders(), proposal.ended)
        if proposal.entered is not None:
            opened.ledger.apply(proposal.entered)
        if proposal.erased:
            opened.store.erase(proposal.erased)
        self._count(before, proposal)

    def _propose(self, batch: Sequence[Accepted], opened: Opened) -> Proposal:
        """Read and fold; the task's own state stays as it is, but for `opened.forgotten`, which goes with the task."""
        state = self.state.copy()
        proposal = Proposal(state, [], NO_CHANGES, NO_CHANGES, [], Rows(), None, None, [], None)
        records, sources, heard, told = self._sorted(batch, opened, proposal)
        # What an operator takes back came long ago.
        lanes = [lane for lane in records.values() if lane and lane[-1].kind != RETRACTIONS]
        last = [lane[-1].columns.get("arrival", _NONE)[-1:] for lane in lanes]
        proposal.newest_arrival_ms = max((int(arrival[0]) for arrival in last if len(arrival)), default=None)
        clocks.take_clocks(told, state, self.shared.partitions)
        if not (records[TARGETS] and records[TARGETS][0].kind == COMMANDS):
            proposal.due = opened.timers.due(_by_code(state))
        if records[TARGETS] or (proposal.due is not None and proposal.due.keys):
            with self.shared.metrics.batch_seconds.labels(TARGETS).time():
                self._propose_targets(records[TARGETS], sources[TARGETS], opened, proposal)
        if records[ACTORS]:
            with self.shared.metrics.batch_seconds.labels(ACTORS).time():
                self._propose_actors(records[ACTORS], opened, proposal)
        if moved := self._hear(heard, state):
            # After the credits of the batch: whoever hears of the time has all that came before it.
            value = clocks_value(moved)
            proposal.lane += [(partition, value) for partition in range(self.shared.partitions)]
        if self._pace.is_due(changed=_population_changed(self.state, state), heard=bool(batch)):
            proposal.population = next_population(state, self.partition, self.shared)
        return proposal

    def _sorted(self, batch: Sequence[Accepted], opened: Opened, proposal: Proposal) -> Sorted:
        """Take note of every record, put those aside that are not folded, and return the others by what they are."""
        came = Sorted({lane: [] for lane in LANES}, {lane: [] for lane in LANES}, [], [])
        state = proposal.state
        for accepted in batch:
            state.positions[accepted.lane] = accepted.offset
            if self._is_set_aside(accepted, opened, proposal):
                continue
            try:
                source, sequence = decode_key(accepted.key)
                state.seen[accepted.lane][source] = sequence
                record = decode(accepted.value)
                if record.kind == CLOCKS:
                    came.told.append((task_of(source), record))
                    continue
            except PackedError as error:
                proposal.dead.append((accepted, error.reason))
                continue
            if record.kind in clocks.HEARD:
                came.heard.append(record)
            else:
                came.records[accepted.lane].append(record)
                came.sources[accepted.lane].append(source)
        return came

    # When it stops ------------------------------------------------------------------------------------------------

    def report(self, error: Exception, batch: Sequence[Accepted]) -> None:
        """Open an incident about a stop, with the record that is to blame, if one alone is. Runs in a thread."""
        opened = self._opened
        if opened is None:
            return
        trial = try_alone(batch, lambda records: self._fails(records, opened))
        if self.intake.gap_at is None:
            self.stopped = advice(error, trial.suspect, self.partition)
        finding = finding_of(error, batch, trial, self.intake.gap_at)
        opened.notices.found(finding, self.state, self._now_ms())
        opened.notices.write(opened.producer)

    def look_for_orders(self) -> bool:
        """Return whether a record was ordered to be set aside that lies ahead. Runs in a thread, while it stands."""
        opened = self._opened
        if opened is None:
            return False
        opened.notices.write(opened.producer)
        return any(offset > self.state.positions[lane] for lane, offset in opened.notices.look())

    def _fails(self, records: Sequence[Accepted], opened: Opened) -> bool:
        """Return whether these records cannot be committed; nothing comes of trying."""
        try:
            self._audit(self._propose(records, opened))
        except Exception:  # noqa: BLE001  whatever a fold raises is what is looked for
            return True
        return False

    def _now_ms(self) -> int:
        return int(self.shared.clock() * 1000)

    # The parts of a batch -----------------------------------------------------------------------------------------

    def _is_set_aside(self, accepted: Accepted, opened: Opened, proposal: Proposal) -> bool:
        """Return whether an operator set a record aside, which then takes its place and nothing else."""
        command = opened.notices.orders.get((accepted.lane, accepted.offset))
        if command is None or not quarantine.may_be_set_aside(accepted):
            return False
        if accepted.stamp is not None:
            proposal.state.seen[accepted.lane][accepted.stamp.source] = accepted.stamp.sequence
        rows = quarantine.rows_of(accepted.value)
        quarantine.count(rows, proposal.state)
        proposal.set_aside.append((accepted, command, quarantine.detail_of(rows, accepted)))
        return True

    def _hear(self, heard: Sequence[Record], state: TaskState) -> dict[str, int]:
        return clocks.hear(heard, state, self.shared.networks)

    def _propose_targets(self, records: list[Record], sources: list[str], opened: Opened, proposal: Proposal) -> None:
        store, model = opened.store, self.shared.model.name
        if records and records[0].kind == COMMANDS:
            obeyed = commands.obey_targets(
                records,
                sources,
                proposal.state,
                store=store,
                forgotten=opened.forgotten,
                model=model,
            )
            proposal.rows = proposal.erased = obeyed.rows
            proposal.changes, proposal.canaries = obeyed.changes, obeyed.canaries
            proposal.timers = obeyed.timers
            return
        due = proposal.due or NOTHING_DUE
        outcome = targets_stage.fold(
            records,
            sources,
            proposal.state,
            read=store.read_targets,
            parameters=self.parameters,
            forgotten=opened.forgotten,
            clocks_before=self.state.clocks,
            due=due.users,
        )
        proposal.credits = records
        proposal.outcome = outcome
        named = [outcome.actors[number] for number in outcome.named.tolist()]
        names = opened.names.new_rows(outcome.actor_hashes[outcome.named], named)
        proposal.rows = Rows(targets=outcome.rows, names=names)
        proposal.passed_timers, proposal.timers = moved_rows(outcome.moved, outcome.users, due)
        everyones = changes(
            outcome.published,
            outcome.users,
            proposal.state.networks,
            causes=outcome.causes,
            reasons=reasons_of(outcome, self.shared.settings.reasons_share),
            references=outcome.references,
            model=model,
        )
        proposal.changes, proposal.canaries = everyones.parted()

    def _propose_actors(self, records: list[Record], opened: Opened, proposal: Proposal) -> None:
        shared, state, before = self.shared, proposal.state, proposal.rows
        if records[0].kind == COMMANDS:
            obeyed = commands.obey_actors(
                records,
                state,
                ledger=opened.ledger,
                forgotten=opened.forgotten,
                partition=self.partition,
                partitions=shared.partitions,
            )
            mine, erased = obeyed.rows, proposal.erased
            forgotten = [*before.forgotten, *mine.forgotten]
            names = [*before.names, *mine.names]
            proposal.rows = Rows(mine.actors, before.targets, mine.ledger, forgotten, names)
            proposal.erased = Rows(mine.actors, erased.targets, mine.ledger, forgotten, mine.names)
            for home, rows in obeyed.onward:
                proposal.lane += cut(rows, [(home, np.zeros(1, np.intp))], 1)
            return
        outcome = self._fold_actors(records, opened, proposal)
        for rows, partitions in (
            (outcome.credits, outcome.credit_partitions),
            (outcome.adjustments, outcome.adjustment_partitions),
        ):
            proposal.lane += cut(rows, groups_of(partitions, shared.partitions), _RECORD_ROWS_MAX)
        if outcome.entered.rows:
            limits = LedgerLimits(shared.settings.ledger_window_seconds, shared.settings.ledger_rows_max)
            proposal.entered = opened.ledger.enter(outcome.entered, outcome.newest_arrival, state.ledger, limits)
            state.ledger = proposal.entered.state
        blocks = proposal.entered.blocks if proposal.entered is not None else []
        proposal.rows = before._replace(actors=outcome.states, ledger=blocks)

    def _fold_actors(self, records: list[Record], opened: Opened, proposal: Proposal) -> actors_stage.ActorsOutcome:
        """Fold interactions, or what an operator takes back: these come in batches of their own."""
        store, before = opened.store, proposal.rows
        if records[0].kind == RETRACTIONS:
            return retractions.fold(
                records,
                proposal.state,
                read_states=store.read_actors,
                parameters=self.parameters,
                partitions=self.shared.partitions,
                ledger=opened.ledger,
                forgotten=opened.forgotten,
            )
        return actors_stage.fold(
            records,
            proposal.state,
            read_states=store.read_actors,
            read_scores=lambda users: published_scores(_newest(users, dict(before.targets), store)),
            parameters=self.parameters,
            partitions=self.shared.partitions,
            ledger=opened.ledger,
            forgotten=opened.forgotten,
        )

    def _audit(self, proposal: Proposal) -> None:
        """Raise `LawBrokenError` when a law is broken."""
        if proposal.outcome is None:
            return
        violations = broken_laws(
            proposal.outcome,
            proposal.credits,
            before=self.state,
            after=proposal.state,
            tasks=self.shared.partitions,
            parameters=self.parameters,
        )
        if violations:
            raise LawBrokenError(self.partition, violations, proposal.outcome, proposal.state.networks)

    def _write_transaction(self, proposal: Proposal, producer: Producer) -> None:
        names, partition = self.shared.names, self.partition
        sent = proposal.state.sent
        try:
            producer.begin_transaction()
            for target, value in proposal.lane:
                sent[target] = sent.get(target, 0) + 1
                key = encode_key(Stamp(self.source, sent[target]))
                producer.produce(names.targets_lane, value, key, partition=target)
            produce_changes(producer, names.changes, partition, proposal.changes, self._changes_source)
            produce_changes(producer, names.canaries, 0, proposal.canaries, self._changes_source)
            for dead, why in proposal.dead:
                headers = letter_headers(names, partition, dead, "not_a_packed_record", why)
                producer.produce(names.lane_dead_letters, dead.value, dead.key, headers=headers)
            for dead, command, why in proposal.set_aside:
                headers = letter_headers(names, partition, dead, "quarantined", why, command)
                producer.produce(names.lane_dead_letters, dead.value, dead.key, headers=headers)
            for incident in proposal.ended:
                producer.produce(names.incidents, encode_incident(incident), incident.id.encode())
            if proposal.population is not None:
                producer.produce(names.population, proposal.population, str(partition).encode())
            produce_rows(producer, names.state, partition, proposal.rows.all())
            producer.produce(names.state, encode(proposal.state), META_KEY, partition=partition)
            commit_transaction(producer, partition, self.state.positions)
        except (KafkaException, BufferError) as error:
            raise TaskLostError(str(error)) from error
        # This task alone writes here: its rows, its record and the transaction's control record.
        self._changelog_end += sum(map(len, proposal.rows)) + 2

    def _count(self, before: TaskState, proposal: Proposal) -> None:
        metrics, outcome = self.shared.metrics, proposal.outcome
        if proposal.newest_arrival_ms is not None:
            self.behind_seconds = self.shared.clock() - proposal.newest_arrival_ms / 1000
        for network, counters in proposal.state.counters.items():
            for name, count in counters.items():
                metrics.events.labels(network, name).inc(count - before.counters.get(network, {}).get(name, 0))
        for lane, outcome_name in ((ACTORS, "credited"), (TARGETS, "applied")):
            rows = proposal.state.total(outcome_name) - before.total(outcome_name)
            metrics.rows.labels(lane).inc(rows)
        for cause, count in proposal.state.population.changes.items():
            metrics.changes.labels(cause).inc(count - before.population.changes.get(cause, 0))
        self._show_ledger()
        metrics.clocks.show(self.partition, proposal.state, self.shared.networks)
        metrics.population.show(self.partition, proposal.state.population)
        if outcome is not None and len(outcome.published.index):
            changed = np.zeros(len(outcome.users), np.bool_)
            changed[outcome.published.index] = True
            changed[outcome.canaries] = False
            theirs = changed[outcome.user] & ~outcome.takes_back
            now_ms = self.shared.clock() * 1000
            metrics.event_to_change.observe((now_ms - outcome.time[theirs]) / 1000)
            metrics.arrival_to_change.observe((now_ms - outcome.arrival[theirs]) / 1000)


def _by_code(state: TaskState) -> dict[int, int]:
    """Return the networks' clocks in ms, by their codes."""
    return {code: state.clocks[name] for code, name in enumerate(state.networks) if name in state.clocks}


def _population_changed(before: TaskState, after: TaskState) -> bool:
    return before.population != after.population or before.counters != after.counters


def _newest(users: list[bytes], proposed: dict[bytes, bytes | None], store: Store) -> list[bytes | None]:
    """Return the users' rows, those that this batch proposes before those stored."""
    stored = store.read_targets(users)
    return [proposed.get(user, row) for user, row in zip(users, stored, strict=True)] if proposed else stored
