"""Both stages over rows in dictionaries, as one task of one partition drives them; every batch is audited."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.identity import event_hashes
from schemas.interaction import RETRACT_CODE
from schemas.kinds import KIND_CODES
from schemas.packed import INTERACTIONS, Record, decode
from schemas.users import user_hashes
from scorer.model import Model
from scorer.reference import Event
from scorer.target_state import decode_targets, published_scores
from streams.audit import broken_laws
from streams.forgotten import Forgotten
from streams.ledger import Ledger, LedgerLimits
from streams.packing import cut
from streams.stages import actors, retractions, targets
from streams.stages.actors import ActorsOutcome
from streams.stages.targets import TargetsOutcome
from streams.store import Row
from streams.task_state import TaskState

LIMITS = LedgerLimits(window_seconds=86_400, rows_max=1_000_000)


@dataclass(frozen=True, slots=True)
class Retraction:
    """Takes back what an actor did under this id."""

    network: str
    id: str
    actor: str
    time: int


Act = Event | Retraction


class Stages:
    """Takes events and retractions in, a batch at a time."""

    def __init__(self, model: Model, limits: LedgerLimits = LIMITS) -> None:
        self.model = model
        self.limits = limits
        self.state = TaskState(model=model.name, model_hash=model.parameters_hash)
        self.actors: dict[bytes, bytes | None] = {}
        self.targets: dict[bytes, bytes | None] = {}
        self.blocks: dict[bytes, bytes] = {}
        self.forgotten = Forgotten(b"key")
        self.ledger = Ledger(self.state.ledger, [], self.blocks.get)

    def reopen(self) -> None:
        """Begin again from what is stored."""
        self.ledger = Ledger(self.state.ledger, sorted(self.blocks.items()), self.blocks.get)

    def apply(self, acts: Sequence[Act], arrival_ms: int = 0) -> TargetsOutcome | None:
        """Fold a batch through both stages; None when nothing reaches the targets stage."""
        return self.take(record_of(acts, arrival_ms))

    def take(self, record: Record) -> TargetsOutcome | None:
        """Fold a record of interactions through both stages."""
        outcome = actors.fold(
            [record],
            self.state,
            read_states=lambda keys: [self.actors.get(key) for key in keys],
            read_scores=lambda users: published_scores([self.targets.get(user) for user in users]),
            parameters=self.model.parameters,
            partitions=1,
            ledger=self.ledger,
            forgotten=self.forgotten,
        )
        return self._commit(outcome)

    def take_back(self, record: Record) -> TargetsOutcome | None:
        """Fold a record of what an operator takes back through both stages."""
        return self._commit(
            retractions.fold(
                [record],
                self.state,
                read_states=lambda keys: [self.actors.get(key) for key in keys],
                parameters=self.model.parameters,
                partitions=1,
                ledger=self.ledger,
                forgotten=self.forgotten,
            )
        )

    def _commit(self, outcome: ActorsOutcome) -> TargetsOutcome | None:
        self.actors.update(outcome.states)
        if outcome.entered.rows:
            entered = self.ledger.enter(outcome.entered, outcome.newest_arrival, self.state.ledger, self.limits)
            self.state.ledger = entered.state
            self.store(entered.blocks)
            self.ledger.apply(entered)
        lane = [
            decode(value)
            for rows in (outcome.credits, outcome.adjustments)
            for _, value in cut(rows, [(0, np.arange(len(rows)))] if len(rows) else [], 1000)
        ]
        return self.credit(lane) if lane else None

    def store(self, blocks: Sequence[Row]) -> None:
        for key, value in blocks:
            if value is None:
                del self.blocks[key]
            else:
                self.blocks[key] = value

    def credit(self, records: Sequence[Record]) -> TargetsOutcome:
        """Fold credits and adjustments, audited."""
        outcome = targets.fold(
            records,
            ["actors/0"] * len(records),
            self.state,
            read=lambda users: [self.targets.get(user) for user in users],
            parameters=self.model.parameters,
            forgotten=self.forgotten,
            clocks_before=self.state.clocks,
        )
        broken = broken_laws(
            outcome, records, before=self.state, after=self.state, tasks=1, parameters=self.model.parameters
        )
        assert broken == []
        self.targets.update(outcome.rows)
        return outcome

    def sums(self, at_ms: int) -> dict[tuple[str, str], tuple[float, float, float, int]]:
        """Reach, amplification, network and events of every user and network that has any, decayed to a time."""
        half_life_ms = self.model.half_life_ms
        users = [user for user, row in self.targets.items() if row is not None]
        _, entries, _ = decode_targets([self.targets[user] for user in users], len(self.state.networks))
        return {
            (user.decode(), network): (
                *(
                    float(entry[name]) * 2.0 ** ((int(entry["time"]) - at_ms) / half_life_ms)
                    for name in ("reach", "amplification", "network")
                ),
                int(entry["events"]),
            )
            for user, row in zip(users, entries, strict=True)
            for network, entry in zip(self.state.networks, row, strict=True)
            if entry["events"]
        }

    def counted(self, outcome: str) -> int:
        return self.state.total(outcome)


def record_of(acts: Sequence[Act], arrival_ms: int, source: str = "") -> Record:
    """Pack acts as ingest does."""
    networks = sorted({act.network for act in acts})
    actors_ = sorted({act.actor.encode() for act in acts})
    aims = [act.target.encode() if isinstance(act, Event) else act.actor.encode() for act in acts]
    targets_ = sorted(set(aims))
    hashes = [
        event_hashes(act.network, user_hashes([act.actor.encode()]), user_hashes([act.id.encode()]))[0] for act in acts
    ]
    columns: dict[str, NDArray[Any]] = {
        "actor": np.array([actors_.index(act.actor.encode()) for act in acts], np.uint16),
        "actor_account": np.empty(0, np.uint16),
        "target": np.array([targets_.index(aim) for aim in aims], np.uint16),
        "target_account": np.empty(0, np.uint16),
        "network": np.array([networks.index(act.network) for act in acts], np.uint8),
        "kind": np.array([KIND_CODES[a.kind] if isinstance(a, Event) else RETRACT_CODE for a in acts], np.uint8),
        "label": np.zeros(len(acts), np.uint16),
        "time": np.array([act.time for act in acts], np.int64),
        "arrival": np.full(len(acts), arrival_ms, np.int64),
        "event_hash": np.array(hashes, np.uint64),
    }
    return Record(INTERACTIONS, len(acts), networks, [source], actors_, targets_, columns)
