"""Faults put into the code on purpose, one of each class: a simulator that does not notice one proves nothing."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec
import numpy as np
from confluent_kafka import TopicPartition

from schemas.packed import ADJUSTMENTS, COMMANDS, RELEASES, TICKS, peek
from streams.fingerprints import Fingerprints
from streams.forgotten import Forgotten
from streams.intake import Accepted, Intake, Verdict
from streams.proposal import Proposal
from streams.store import _LOCAL_KEY, META_KEY, Local, Row, Rows
from streams.task import Task
from streams.task_state import encode
from streams.timers import Range
from tests.simulator.clients import Consumer, Producer
from tests.simulator.feeders import Feeder
from tests.simulator.script import FAULTS
from tests.simulator.store import MemoryStore
from tests.simulator.workers import Worker
from tests.simulator.world import Parts


class EarlyFeeder(Feeder):
    """Ingest acknowledges what it has read before the transaction."""

    def finish(self) -> bool:
        if self.pending is not None:
            group = self.log.groups[self.ingest.names.ingest_group]
            for at in self.pending.offsets:
                group[at.topic, at.partition] = (at.offset, at.metadata or "")
        return super().finish()


class TwiceFeeder(Feeder):
    """Ingest writes a batch again, with the same numbers, when it hears nothing of the commit."""

    def finish(self) -> bool:
        work, again = self.pending, self.trouble.startswith("answer lost")
        finished = super().finish()
        if work is not None and again and finished:
            self.pending = work
            return super().finish()
        return finished


class ForgetfulFeeder(Feeder):
    """Ingest drops dead letters."""

    def finish(self) -> bool:
        if self.pending is not None:
            self.pending.letters.clear()
        return super().finish()


class UnfreezableFeeder(Feeder):
    """Ingest reads on, whatever is frozen."""

    def forget_everything(self) -> None:
        super().forget_everything()
        ingest: Any = self.ingest
        ingest._freeze = lambda _consumer: None


class TrustingFeeder(Feeder):
    """Whether a raw partition is read to its end is not asked."""

    def ask(self) -> None:
        for feed in self.ingest.feeds.values():
            feed.vouched = not feed.frozen


class TwiceReportingFeeder(Feeder):
    """Ingest tells twice what came in."""

    def finish(self) -> bool:
        if self.pending is not None:
            feeds = self.ingest.names.feeds
            self.pending.records.extend([record for record in self.pending.records if record[0] == feeds])
        return super().finish()


class EarlyTask(Task):
    """The task notes its positions before the transaction."""

    def commit(self, batch: Sequence[Accepted]) -> None:
        opened = self._opened
        assert opened is not None
        state = self.state.copy()
        for accepted in batch:
            state.positions[accepted.lane] = accepted.offset
            if accepted.stamp is not None:
                state.seen[accepted.lane][accepted.stamp.source] = accepted.stamp.sequence
        local = Local(opened.changelog_topic_id, self._changelog_end, self.shared.clock())
        opened.store.write(Rows(), encode(state), local)
        super().commit(batch)


class AheadTask(Task):
    """The local copy claims more of the changelog than it holds."""

    def _write_transaction(self, proposal: Proposal, producer: Any) -> None:
        super()._write_transaction(proposal, producer)
        self._changelog_end += 1


class UnrecordedTask(Task):
    """The local copy gets rows that the changelog does not."""

    def _write_transaction(self, proposal: Proposal, producer: Any) -> None:
        kept = proposal.rows
        proposal.rows = kept._replace(targets=kept.targets[1:])
        super()._write_transaction(proposal, producer)
        proposal.rows = kept


class NoLedgerTask(Task):
    """The ledger's fingerprints are not restored."""

    def open(self) -> int | None:
        restored = super().open()
        if self._opened is not None:
            self._opened.ledger._prints = Fingerprints(self.state.ledger.next_row)
        return restored


class NoMemoryOfForgettingTask(Task):
    """Who was forgotten is not restored."""

    def open(self) -> int | None:
        restored = super().open()
        if self._opened is not None:
            self._opened = replace(self._opened, forgotten=Forgotten(self.shared.hash_key))
        return restored


class TwiceAdjustingTask(Task):
    """What a retraction takes back goes out twice."""

    def _propose_actors(self, records: Any, opened: Any, proposal: Proposal) -> None:
        super()._propose_actors(records, opened, proposal)
        again = [(at, value) for at, value in proposal.lane if peek(value).kind == ADJUSTMENTS]
        proposal.lane = [*proposal.lane, *again]


class ForgottenCountTask(Task):
    """A user who is forgotten goes on being counted."""

    def _propose_targets(self, records: Any, sources: Any, opened: Any, proposal: Proposal) -> None:
        before = proposal.state.copy().population
        super()._propose_targets(records, sources, opened, proposal)
        if records and records[0].kind == COMMANDS:
            proposal.state.population.histograms = before.histograms
            proposal.state.population.shift = before.shift


class TwiceTellingTask(Task):
    """The number of what is told about users is kept in memory, and not with the state."""

    _told = 0

    def _propose(self, batch: Any, opened: Any) -> Proposal:
        self.state.population.sequence = self._told
        proposal = super()._propose(batch, opened)
        self._told = proposal.state.population.sequence
        return proposal


class HastyTask(Task):
    """A clock goes by the input that is furthest instead of waiting for all."""

    def _hear(self, heard: Any, state: Any) -> dict[str, int]:
        for record in (record for record in heard if record.kind == TICKS):
            record.columns["raw_partitions"] = np.ones_like(record.columns["raw_partitions"])
            record.columns["raw_partition"] = np.zeros_like(record.columns["raw_partition"])
        return super()._hear(heard, state)


class DeafTask(Task):
    """Releases are not obeyed."""

    def _hear(self, heard: Any, state: Any) -> dict[str, int]:
        return super()._hear([record for record in heard if record.kind != RELEASES], state)


class AnyGenerationIntake(Intake):
    """Records of former generations are taken."""

    def takes(self, lane: str, offset: int, generation: int) -> bool:
        return super().takes(lane, offset, self._generation if generation >= 0 else generation)


class AnySequenceIntake(Intake):
    """What a source has already sent is taken again."""

    def offer(self, lane: str, offset: int, generation: int, message: Any, event: Any) -> Verdict:
        self._seen[lane] = _Expecting()
        return super().offer(lane, offset, generation, message, event)


class _Expecting(dict[str, int]):
    """Says of every source that the record before was the last: whatever comes fits."""

    def get(self, key: str, default: Any = None) -> Any:
        del key, default
        return _Before()


class _Before(int):
    def __add__(self, other: object) -> Any:
        return _Equal()


class _Equal:
    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0


class HalfStore(MemoryStore):
    """The position is flushed before the rows that it speaks of."""

    def write(
        self, rows: Rows, meta: bytes | None, local: Local, timers: Sequence[Row] = (), passed: Sequence[Range] = ()
    ) -> None:
        self._put(Rows(), meta, local)
        self.flush()
        super().write(rows, meta, local, timers, passed)


class NoTombstoneStore(MemoryStore):
    """Deletions in the changelog are passed over."""

    def write_changelog(self, records: Sequence[Row], local: Local) -> None:
        super().write_changelog([row for row in records if row[1] is not None], local)


class AgelessStore(MemoryStore):
    """A copy never says how old it is."""

    def local(self) -> Local | None:
        local = super().local()
        return None if local is None else msgspec.structs.replace(local, written_at_seconds=self.disk.log.now_ms / 1000)


class TornStore(MemoryStore):
    """A copy is taken to be as far as the table that is furthest."""

    def local(self) -> Local | None:
        values = [table.get(_LOCAL_KEY) for table in (self._db, *self._tables.values())]
        told = [msgspec.msgpack.decode(value, type=Local) for value in values if value is not None]
        return max(told, key=lambda local: local.changelog_end, default=None)


class NoPositionProducer(Producer):
    """The changelog gets a batch's rows without the task's record."""

    def produce(self, topic: str, value: Any = None, key: Any = None, *more: Any, **named: Any) -> None:
        if key != META_KEY or self.log.random.random() < 1 / 2:
            super().produce(topic, value, key, *more, **named)


class NoFenceProducer(Producer):
    """A new owner does not fence the former one."""

    def init_transactions(self, _seconds: float = 0) -> None:
        self.epoch = self.log.epochs[self.owner]

    def begin_transaction(self) -> None:
        """What the former owner left open is the new one's."""
        left = self.log.open.get(self.owner)
        super().begin_transaction()
        if left is not None:
            self.transaction = self.log.open[self.owner] = left


class AnyMemberProducer(Producer):
    """Offsets of a member that the group has left behind are taken."""

    def send_offsets_to_transaction(self, offsets: Any, group: Any, _seconds: float = 0) -> None:
        super().send_offsets_to_transaction(offsets, (group[0], self.log.generations[group[0]]))


class UncommittedRestoreConsumer(Consumer):
    """A restore reads what was aborted, too."""

    def assign(self, partitions: Sequence[TopicPartition]) -> None:
        super().assign(partitions)
        self.committed_only = self.group != "clout-restore"


class UncommittedWorker(Worker):
    """Lanes are read without regard to transactions."""

    def fetch(self, partition: int) -> None:
        self.read_committed = False
        super().fetch(partition)


class StubbornWorker(Worker):
    """A task whose commit failed goes on with what it remembers."""

    def commit(self, task: Task) -> bool:
        opened = task._opened
        done = super().commit(task)
        if task.partition not in self.tasks:
            task._opened = opened
            self.lost.discard(task.partition)
            self.tasks[task.partition] = task
            opened_: Any = opened
            self.process.alive = True
            opened_.producer.epoch = self.log.fence(opened_.producer.owner)
            self._flow_in(task)
        return done


@dataclass(frozen=True, slots=True)
class Canary:
    """A planted fault, and the faults of the world that bring it out."""

    name: str
    parts: Parts
    faults: dict[str, int] = field(default_factory=dict)


_CRASHES: Final = {"crash": 2, "task point": 5}

CANARIES: Final = (
    Canary("ingest acknowledges before the commit", Parts(feeder=EarlyFeeder), {"ingest point": 5}),
    Canary("ingest writes a batch twice", Parts(feeder=TwiceFeeder), {"ingest trouble": 5}),
    Canary(
        "a sequence that came before is accepted",
        Parts(feeder=TwiceFeeder, intake=AnySequenceIntake),
        {"ingest trouble": 5},
    ),
    Canary("dead letters are dropped", Parts(feeder=ForgetfulFeeder)),
    Canary("nobody asks whether quiet raw partitions are read", Parts(feeder=TrustingFeeder)),
    Canary("a frozen network is read", Parts(feeder=UnfreezableFeeder), {"freeze": 5}),
    Canary("what came in is reported twice", Parts(feeder=TwiceReportingFeeder)),
    Canary("a task acknowledges before the commit", Parts(task=EarlyTask), _CRASHES),
    Canary("a batch in the changelog without its position", Parts(producer=NoPositionProducer), _CRASHES),
    Canary("a position is written before its rows", Parts(store=HalfStore), _CRASHES),
    Canary("a copy claims more of the changelog than it holds", Parts(task=AheadTask), _CRASHES),
    Canary("rows are missing in the changelog", Parts(task=UnrecordedTask)),
    Canary("a stale generation is accepted", Parts(intake=AnyGenerationIntake), {"move": 5}),
    Canary("restore without the fence", Parts(producer=NoFenceProducer), {"pause": 2, "task point": 5}),
    Canary(
        "restore reads what was aborted", Parts(consumer=UncommittedRestoreConsumer), {"task point": 5, "lost copy": 2}
    ),
    Canary("lanes are read before the commit", Parts(worker=UncommittedWorker), {"task point": 5}),
    Canary("an ingest that was left behind may commit", Parts(producer=AnyMemberProducer), {"ingest pause": 5}),
    Canary("memory is kept after a failed commit", Parts(worker=StubbornWorker), {"trouble": 5}),
    Canary("a deletion is skipped", Parts(store=NoTombstoneStore), {"command": 2, "lost copy": 2}),
    Canary(
        "an old copy brings back who was forgotten",
        Parts(store=AgelessStore),
        dict.fromkeys(FAULTS, 0) | {"command": 5, "stale copy": 5, "time": 5, "compact": 5},
    ),
    Canary("a torn copy is taken for whole", Parts(store=TornStore), {"stale copy": 5, "damaged copy": 2}),
    Canary("a clock does not wait for the slowest input", Parts(task=HastyTask)),
    Canary("a user who is forgotten goes on being counted", Parts(task=ForgottenCountTask), {"command": 5}),
    Canary("the number of what is told is not kept with the state", Parts(task=TwiceTellingTask), {"crash": 2}),
    Canary("a release is not obeyed", Parts(task=DeafTask), {"release": 5}),
    Canary("the ledger is not restored", Parts(task=NoLedgerTask), {"crash": 2}),
    Canary("who was forgotten is not restored", Parts(task=NoMemoryOfForgettingTask), {"command": 5, "crash": 2}),
    Canary("a retraction is taken back twice", Parts(task=TwiceAdjustingTask)),
)
"""All of them."""
