"""Who stands highest and who moved furthest, from the columns; kept for a second, as long as many ask alike."""

import time
from collections.abc import Callable, Hashable, Iterator
from threading import Lock
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gateway.columns import By, Columns

LISTED_MAX: Final = 100
"""People whom one list names."""
KEPT_SECONDS: Final = 1.0
LISTS_KEPT_MAX: Final = 1_000
"""Lists kept at a time; there are few, since each is one of so many kinds."""

Visible = Callable[[str], bool]


class Placed(NamedTuple):
    """Somebody in a list, and what it is ordered by."""

    user: str
    value: float
    score: float


def top(columns: Columns, by: By, network: str | None, visible: Visible) -> list[Placed]:
    """Return who stands highest, of all or of those on a network; there `score` is their score on it.

    >>> top(Columns(["twitter"]), "score", None, lambda user: True)
    []
    """
    count = len(columns.users)
    values = columns.scores[by][:count]
    if network is not None:
        there = columns.networks[network][:count]
        values = there if by == "score" else np.where(np.isnan(there), np.float32(np.nan), values)
    return _listed(columns, values, values, visible)


def movers(columns: Columns, visible: Visible) -> list[Placed]:
    """Return whose score moved furthest since the last full hour began, up or down.

    >>> movers(Columns(["twitter"]), lambda user: True)
    []
    """
    moved = np.round(columns.moved(), 1)
    moved[moved == 0] = np.nan
    return _listed(columns, np.abs(moved), moved, visible)


def _listed(columns: Columns, keys: NDArray[np.float32], values: NDArray[np.float32], visible: Visible) -> list[Placed]:
    """Return those with the largest keys who may be seen; equal ones in the order of their ids."""
    found: list[Placed] = []
    for slot in _descending(columns, keys):
        user = columns.users[slot].decode()
        score = float(columns.scores["score"][slot])
        # Meanwhile the slot may be free, or somebody else's.
        if user and not np.isnan(score) and visible(user):
            found.append(Placed(user, round(float(values[slot]), 1), round(score, 1)))
            if len(found) == LISTED_MAX:
                break
    return found


def _descending(columns: Columns, keys: NDArray[np.float32]) -> Iterator[int]:
    """Yield slots with a key, the largest first; twice as many are looked at each time the last were not enough."""
    known = np.flatnonzero(~np.isnan(keys))
    negative = -keys[known]
    done, wanted = 0, 2 * LISTED_MAX
    while done < len(known):
        if wanted < len(known):
            # Whoever stands as high as the last one belongs to them: so equal ones come in one order.
            limit = np.partition(negative, wanted - 1)[wanted - 1]
            chosen = np.flatnonzero(negative <= limit)
        else:
            chosen = np.arange(len(known))
        order = sorted(known[chosen].tolist(), key=lambda slot: (-keys[slot], columns.users[slot]))
        yield from order[done:]
        done, wanted = len(order), 2 * len(order)


class Kept:
    """Results that are made anew at most once in a while."""

    def __init__(self, seconds: float = KEPT_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        """Keep each for so long."""
        self._seconds, self._clock = seconds, clock
        self._lock = Lock()
        self._results: dict[Hashable, tuple[float, Any]] = {}

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Return what was made for this key a moment ago, or make it; one at a time, whoever waits gets the same.

        >>> kept = Kept(clock=lambda: 0.0)
        >>> kept.get("top", lambda: 1), kept.get("top", lambda: 2)
        (1, 1)
        """
        with self._lock:
            found = self._results.get(key)
            if found is not None and self._clock() - found[0] < self._seconds:
                return found[1]
            if len(self._results) >= LISTS_KEPT_MAX:
                self._results.clear()
            result = make()
            self._results[key] = self._clock(), result
            return result
