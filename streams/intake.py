"""Which lane records a task takes in: only those of its own generation, each exactly once and in order.

A record can reach a task that must not take it: held in back-pressure across a rebalance, or still queued between
the revoke and the seek that follows the next assignment. On a kept partition such a record jumps the queue, and what
lies before it would be lost for ever. So a task accepts only between the seek to its own positions in the current
generation and the next revoke, only records of that generation, and only beyond the last one accepted.
"""

from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from schemas.incident import Span
from schemas.packed import COMMANDS, RETRACTIONS, PackedError, Stamp, decode_key, peek
from streams.task_state import ACTORS, LANES, TARGETS, TaskState, task_of

_CLOSED: Final = -1
_ALONE: Final = (COMMANDS, RETRACTIONS)
"""Kinds of record that are not folded together with others."""


class Verdict(Enum):
    """What became of a record that was offered."""

    ACCEPTED = "accepted"
    STALE = "stale"
    GAP = "gap"


@dataclass(slots=True)
class Accepted:
    """A lane record that waits for its commit."""

    lane: str
    offset: int
    stamp: Stamp | None
    """None when the key could not be read: the record goes to dead letters."""
    kind: str
    rows: int
    """Kind that it says it is of, and rows that it says it has; it is read at the commit, in a thread."""
    key: bytes | None
    value: bytes
    event: Any
    """Faust's event, acknowledged after the commit."""


@dataclass(slots=True)
class Intake:
    """The records accepted and not yet committed, lane by lane."""

    waiting: dict[str, list[Accepted]] = field(default_factory=lambda: {lane: [] for lane in LANES})
    rows: dict[str, int] = field(default_factory=lambda: dict.fromkeys(LANES, 0))
    gap: str = ""
    """Which sequence was missing or came twice; the task stops."""
    gap_at: Span | None = None
    """The record at which that was seen."""
    _generation: int = _CLOSED
    _offsets: dict[str, int] = field(default_factory=dict)
    _seen: dict[str, dict[str, int]] = field(default_factory=dict)

    def open(self, state: TaskState, generation: int) -> None:
        """Accept records of this generation that follow the committed state."""
        self.close()
        self._offsets = dict(state.positions)
        self._seen = {lane: dict(sources) for lane, sources in state.seen.items()}
        self._generation = generation

    def close(self) -> None:
        """Accept nothing more and drop what was not committed."""
        self._generation = _CLOSED
        for lane in LANES:
            self.waiting[lane] = []
            self.rows[lane] = 0

    def takes(self, lane: str, offset: int, generation: int) -> bool:
        """Return whether a record would be accepted."""
        return generation == self._generation and offset > self._offsets[lane]

    def last_offset(self, lane: str) -> int | None:
        """Return the offset of the last record accepted; None before the first opening."""
        return self._offsets.get(lane)

    def offer(
        self, lane: str, offset: int, generation: int, message: tuple[bytes | None, bytes], event: Any
    ) -> Verdict:
        """Take a record in, unless it is stale; a gap or repeat of its source's sequence closes the intake."""
        if not self.takes(lane, offset, generation):
            return Verdict.STALE
        key, value = message
        accepted = Accepted(lane, offset, None, *peek(value), key, value, event)
        with suppress(PackedError):
            accepted.stamp = decode_key(key)
        if accepted.stamp is not None:
            source, sequence = accepted.stamp
            last = self._seen[lane].get(source, 0)
            if sequence != last + 1:
                self.gap = (
                    f"{lane} lane, offset {offset}: record {sequence} of {source} follows record {last}; "
                    f"{'records are missing' if sequence > last else 'a record came twice'}"
                )
                self.gap_at = Span(lane=lane, first=offset, last=offset)  # type: ignore[arg-type]
                self.close()
                return Verdict.GAP
            self._seen[lane][source] = sequence
        self._offsets[lane] = offset
        self.waiting[lane].append(accepted)
        self.rows[lane] += accepted.rows
        return Verdict.ACCEPTED

    def take(self, state: TaskState, own_source: str, *, rows_max: int, own_in_flight_max: int) -> list[Accepted]:
        """Return the next batch, targets first; at most `rows_max` rows a lane, but at least one record.

        A lane's part is commands alone or no commands, so that those are obeyed exactly where they stand; so it is
        with what an operator takes back.

        Actor records are left while more than `own_in_flight_max` of the task's own credits are not yet folded, so
        that the stage that makes work does not run away from the one that does it.
        """
        batch = self._take(TARGETS, rows_max)
        own = state.seen[TARGETS].get(own_source, 0)
        for accepted in batch:
            if accepted.stamp is not None and accepted.stamp.source == own_source:
                own = accepted.stamp.sequence
        if state.sent.get(task_of(own_source), 0) - own <= own_in_flight_max:
            batch += self._take(ACTORS, rows_max)
        return batch

    def _take(self, lane: str, rows_max: int) -> list[Accepted]:
        waiting, rows, count = self.waiting[lane], 0, 0
        while count < len(waiting) and (count == 0 or rows + waiting[count].rows <= rows_max):
            if count and _alone(waiting[count].kind) != _alone(waiting[0].kind):
                break
            rows += waiting[count].rows
            count += 1
        self.waiting[lane] = waiting[count:]
        self.rows[lane] -= rows
        return waiting[:count]


def _alone(kind: str) -> str:
    """Return the kind of a record that is folded with its like alone, and nothing for all others."""
    return kind if kind in _ALONE else ""
