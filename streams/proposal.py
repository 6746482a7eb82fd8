"""What a batch comes to, before anything is written: folds fill it, the audit judges it, the transaction writes it."""

from dataclasses import dataclass, field
from typing import NamedTuple

from schemas.incident import Incident
from schemas.packed import Record
from streams.intake import Accepted
from streams.ledger import Entered
from streams.notices import Order
from streams.publish import Changes
from streams.stages.targets import TargetsOutcome
from streams.store import Row, Rows
from streams.task_state import TaskState
from streams.timers import Found, Range


@dataclass(slots=True)
class Proposal:
    """What a batch comes to, before anything is written."""

    state: TaskState
    lane: list[tuple[int, bytes]]
    """Records for partitions of the targets lane."""
    changes: Changes
    canaries: Changes
    """Those of synthetic accounts."""
    dead: list[tuple[Accepted, str]]
    """Records that cannot be read, and why."""
    rows: Rows
    """Rows of the tables."""
    outcome: TargetsOutcome | None
    entered: Entered | None
    """What the ledger takes in."""
    credits: list[Record]
    """Credits and adjustments that came on the targets lane."""
    newest_arrival_ms: int | None
    """When the last of the events came to Kafka."""
    erased: Rows = field(default_factory=Rows)
    """Rows that commands wrote: no file may keep their former versions."""
    due: Found | None = None
    """Due times that have come; None when nobody looked."""
    timers: list[Row] = field(default_factory=list)
    """Rows of the due times, which are in the local copy alone."""
    passed_timers: list[Range] = field(default_factory=list)
    """Due times that are deleted before these are written."""
    population: bytes | None = None
    """The users in numbers, where it is time to tell them."""
    set_aside: list[tuple[Accepted, str, str]] = field(default_factory=list)
    """Records that an operator set aside, the command that says so, and what they take with them."""
    ended: list[Incident] = field(default_factory=list)
    """Incidents that the batch resolves."""

    def orders(self) -> list[Order]:
        """Return the places of the records set aside, and the commands."""
        return [(accepted.lane, accepted.offset, command) for accepted, command, _ in self.set_aside]


class Sorted(NamedTuple):
    """The records of a batch by what they are."""

    records: dict[str, list[Record]]
    """By lane: what is folded."""
    sources: dict[str, list[str]]
    """Who wrote each of these."""
    heard: list[Record]
    """Ticks and releases."""
    told: list[tuple[int, Record]]
    """Clocks, and whose they are."""
