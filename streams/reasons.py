"""Who added most to the scores that changed in a batch: the `reasons` of changes.

Which changes say so is drawn by a hash of user and sequence, so that it is the same whenever it is computed. None is
noted where decay will never show: nothing would replace the names in the compacted topic.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from msgspec import UNSET, UnsetType
from numpy.typing import NDArray

from schemas.change import GRANTED_STEPS, Reason
from schemas.users import user_hashes
from scorer.arrays import Bools, Floats, Ints
from scorer.compiled import kernel
from scorer.timers import NEVER
from streams.stages.targets import TargetsOutcome

REASONS_MAX: Final = 3
"""People that a change names."""

_GRANTED_MAX: Final = 1e12
_DRAWS: Final = 1 << 53
_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX: Final = np.uint64(0xD6E8FEB86659FD93)


class Reasons(NamedTuple):
    """The reasons of c changes, one after the other: columns."""

    begins: Ints
    """Where those of each change begin and the last one's end [c + 1]."""
    names: list[bytes]
    actor: Ints
    """Its number among `names`; -1 for somebody who is not named."""
    network: Ints
    """Its code."""
    events: Ints
    granted: Ints
    """In steps of 1 / `GRANTED_STEPS`."""

    def of(self, change: int, networks: Sequence[str]) -> list[Reason] | UnsetType:
        """Return the reasons of a change as its contract has them."""
        found = [
            Reason(
                None if self.actor[at] < 0 else self.names[self.actor[at]].decode(),
                networks[self.network[at]],
                int(self.events[at]),
                int(self.granted[at]) / GRANTED_STEPS,
            )
            for at in range(self.begins[change], self.begins[change + 1])
        ]
        return found or UNSET


def no_reasons(changes: int) -> Reasons:
    """Return that nothing was noted.

    >>> no_reasons(2).of(1, [])
    UNSET
    """
    nothing = np.empty(0, np.int64)
    return Reasons(np.zeros(changes + 1, np.int64), [], nothing, nothing, nothing, nothing)


def drawn(users: Sequence[bytes], sequences: NDArray[np.uint64], share: float) -> Bools:
    """Return which changes say why, about `share` of them.

    >>> drawn([b"twitter:7"] * 4, np.arange(1, 5, dtype=np.uint64), 0.5).tolist()
    [False, False, False, True]
    """
    mixed = user_hashes(list(users)) + sequences * _GOLDEN
    mixed = (mixed ^ mixed >> np.uint64(32)) * _MIX
    mixed ^= mixed >> np.uint64(32)
    chosen: Bools = (mixed >> np.uint64(11)).astype(np.int64) < round(share * _DRAWS)
    return chosen


def reasons_of(outcome: TargetsOutcome, share: float) -> Reasons:
    """Return who added most to each published change of a batch, for the `share` of them that say so."""
    published = outcome.published
    count = len(published.index)
    if share <= 0.0 or count == 0:
        return no_reasons(count)
    entries = outcome.after.entries[published.index]
    fades = np.any((entries["events"] > 0) & (entries["due"] < NEVER), axis=1)
    chosen = fades & drawn([outcome.users[at] for at in published.index.tolist()], published.sequence, share)
    change_of_user = np.full(len(outcome.users), -1)
    change_of_user[published.index[chosen]] = np.flatnonzero(chosen)
    change = change_of_user[outcome.user]
    rows = np.flatnonzero((change >= 0) & ~outcome.takes_back)
    networks = outcome.after.entries.shape[1]
    people = len(outcome.actors) + 1
    keys = (change[rows] * people + outcome.actor[rows]) * networks + outcome.network[rows]
    order = np.argsort(keys, kind="stable")
    found, key = np.zeros(count, np.int64), np.zeros((count, REASONS_MAX), np.int64)
    events, granted = np.zeros((count, REASONS_MAX), np.int64), np.zeros((count, REASONS_MAX))
    _largest(keys[order], outcome.grants.network[rows[order]], people * networks, found, key, events, granted)
    kept = np.arange(REASONS_MAX) < found[:, np.newaxis]
    actor, network = np.divmod(key[kept], networks)
    named = outcome.actor_hashes[actor] != 0
    used, of_used = np.unique(actor[named], return_inverse=True)
    number = np.full(len(actor), -1)
    number[named] = of_used
    return Reasons(
        begins=np.append(0, np.cumsum(found)),
        names=[outcome.actors[at] for at in used.tolist()],
        actor=number,
        network=network,
        events=events[kept],
        # The audit, which stops what is no number, comes later.
        granted=np.rint(np.clip(np.nan_to_num(granted[kept]), 0.0, _GRANTED_MAX) * GRANTED_STEPS).astype(np.int64),
    )


@kernel
def _largest(keys: Ints, grants: Floats, width: int, found: Ints, key: Ints, events: Ints, granted: Floats) -> None:
    """Add up runs of the same key, and keep the largest of each change, the first of equals first.

    A key is the change's place times `width`, plus who and where.
    """
    row = 0
    while row < len(keys):
        this, total, begin = keys[row], 0.0, row
        while row < len(keys) and keys[row] == this:
            total += grants[row]
            row += 1
        change = this // width
        place = found[change]
        while place > 0 and granted[change, place - 1] < total:
            place -= 1
        if place == REASONS_MAX:
            continue
        found[change] = min(found[change] + 1, REASONS_MAX)
        for later in range(found[change] - 1, place, -1):
            key[change, later] = key[change, later - 1]
            events[change, later] = events[change, later - 1]
            granted[change, later] = granted[change, later - 1]
        key[change, place] = this % width
        events[change, place] = row - begin
        granted[change, place] = total
