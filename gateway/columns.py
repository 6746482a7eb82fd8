"""Who stands where: the newest scores of all users as columns in memory, for tops and movers.

A user has a slot, the same in every column. Scores are as published; NaN stands for no score.
"""

from collections.abc import Iterable, Sequence
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from gateway.read_model import Seen
from schemas.change import ScoreChange
from schemas.times import DAY_MS, HOUR_MS

By = Literal["score", "reach", "amplification", "network"]
BYS: Final[tuple[By, ...]] = get_args(By)

_SLOTS_FIRST: Final = 1_024
_NO_HOUR: Final = -1


class Columns:
    """The columns; one writer, any number of readers."""

    def __init__(self, networks: Iterable[str]) -> None:
        """Begin with nobody."""
        self.users: list[bytes] = []
        """The user of each slot; empty where nobody is any more."""
        self.slots: dict[bytes, int] = {}
        self.scores: dict[By, NDArray[np.float32]] = {by: _empty(_SLOTS_FIRST) for by in BYS}
        self.networks: dict[str, NDArray[np.float32]] = {name: _empty(_SLOTS_FIRST) for name in networks}
        self._days = np.full(_SLOTS_FIRST, -1, np.int32)
        self._hours = np.full((2, _SLOTS_FIRST), _NO_HOUR, np.int32)
        """The last two hours of event time in which each user's score moved, the newest first."""
        self._anchors = np.full((2, _SLOTS_FIRST), np.nan, np.float32)
        """What each user had when those hours began."""
        self._free: list[int] = []
        self.hour = _NO_HOUR
        """The latest hour that any change speaks of."""

    def day_of(self, user: bytes) -> int:
        """Return the day of a user's newest change, -1 where there is none."""
        slot = self.slots.get(user)
        return -1 if slot is None else int(self._days[slot])

    def put(self, changes: Sequence[Seen], *, moved: bool = True) -> None:
        """Take changes in, in their order; those that did not just happen have not `moved` anybody."""
        begin = 0
        for at, seen in enumerate(changes):
            if seen.change.cause == "forget":
                self._put(changes[begin:at], moved=moved)
                self._drop(seen.user)
                begin = at + 1
        self._put(changes[begin:], moved=moved)

    def _put(self, changes: Sequence[Seen], *, moved: bool) -> None:
        """Take changes in, none of which forgets anybody, by column: of a user's several the last one stays."""
        if not changes:
            return
        slots = np.array([self._slot(seen.user) for seen in changes])
        times = np.array([seen.at_ms for seen in changes])
        if moved:
            self._anchor(slots, times // HOUR_MS, changes)
        self._days[slots] = np.maximum(times, 0) // DAY_MS
        values = np.array([_values(seen.change) for seen in changes], np.float32)
        for at, column in enumerate(self.scores.values()):
            column[slots] = values[:, at]
        for name, column in self.networks.items():
            column[slots] = [seen.change.networks.get(name, np.nan) for seen in changes]

    def moved(self) -> NDArray[np.float32]:
        """Return how far each score has moved since the last full hour began, NaN where it has not: float32[slots]."""
        count = len(self.users)
        hours, anchors = self._hours[:, :count], self._anchors[:, :count]
        since = np.where(hours[1] >= self.hour - 1, anchors[1], anchors[0])
        since[hours[0] < self.hour - 1] = np.nan
        moved: NDArray[np.float32] = self.scores["score"][:count] - since
        return moved

    def _anchor(self, slots: NDArray[np.int64], hours: NDArray[np.int64], changes: Sequence[Seen]) -> None:
        """Keep what those had for whom another hour begins."""
        self.hour = max(self.hour, int(hours.max()))
        for at in np.flatnonzero(hours > self._hours[0, slots]).tolist():
            slot, hour, previous = slots[at], hours[at], changes[at].change.previous
            if hour > self._hours[0, slot]:
                self._hours[1, slot], self._anchors[1, slot] = self._hours[0, slot], self._anchors[0, slot]
                self._hours[0, slot], self._anchors[0, slot] = hour, np.nan if previous is None else previous

    def _slot(self, user: bytes) -> int:
        slot = self.slots.get(user)
        return self._take(user) if slot is None else slot

    def _take(self, user: bytes) -> int:
        if self._free:
            slot = self._free.pop()
            self.users[slot] = user
        else:
            slot = len(self.users)
            if slot == len(self._days):
                self._grow()
            self.users.append(user)
        self.slots[user] = slot
        return slot

    def _drop(self, user: bytes) -> None:
        slot = self.slots.pop(user, None)
        if slot is None:
            return
        self.users[slot] = b""
        self._free.append(slot)
        self._days[slot] = -1
        self._hours[:, slot], self._anchors[:, slot] = _NO_HOUR, np.nan
        for column in (*self.scores.values(), *self.networks.values()):
            column[slot] = np.nan

    def _grow(self) -> None:
        more = len(self._days)
        self.scores = {name: np.append(column, _empty(more)) for name, column in self.scores.items()}
        self.networks = {name: np.append(column, _empty(more)) for name, column in self.networks.items()}
        self._days = np.append(self._days, np.full(more, -1, np.int32))
        self._hours = np.append(self._hours, np.full((2, more), _NO_HOUR, np.int32), axis=1)
        self._anchors = np.append(self._anchors, np.full((2, more), np.nan, np.float32), axis=1)


def _values(change: ScoreChange) -> tuple[float | None, ...]:
    """Return a change's score and parts, in the order of `BYS`; numpy makes NaN of None."""
    parts = change.subscores
    if parts is None:
        return change.score, None, None, None
    return change.score, parts.reach, parts.amplification, parts.network


def _empty(count: int) -> NDArray[np.float32]:
    return np.full(count, np.nan, np.float32)
