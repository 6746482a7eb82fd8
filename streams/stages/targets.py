"""The targets stage on a batch: fold credits into the users' decayed sums, and say whose score changed.

Adjustments take credits back. Neither counts for somebody who was forgotten (`streams.forgotten`).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.change import CAUSES
from schemas.packed import ADJUSTMENTS, CREDITS, Record
from schemas.users import user_hashes
from scorer.actors import Grants
from scorer.compiled import Bools, Ints, Records
from scorer.laws import Batch
from scorer.model import Parameters
from scorer.target_state import decode_targets, encode_targets
from scorer.targets import NO_CLOCK, Published, Scored, fold_targets, publish, score_targets
from streams.forgotten import Entry, Forgotten
from streams.packing import distinct, joined, renumbered
from streams.stages.lookup import network_codes, require_kind
from streams.store import Row
from streams.task_state import TaskState

_INTERACTION = CAUSES.index("interaction")


class Users(NamedTuple):
    """The users of a batch at one moment: heads[n], entries[n, networks], and the clocks in ms, one a network."""

    heads: Records
    entries: Records
    clocks: Ints


class TargetsOutcome(NamedTuple):
    """What a batch of credits and adjustments proposes."""

    users: list[bytes]
    before: Users
    after: Users
    user: Ints
    """Each row's user."""
    network: Ints
    """Each row's network, as the partition's code."""
    time: Ints
    arrival: Ints
    """0 for an adjustment."""
    grants: Grants
    takes_back: Bools
    """Which rows are adjustments."""
    dropped: int
    """Rows that came in and are none of these, since they name somebody who was forgotten."""
    scored: Scored
    published: Published
    causes: NDArray[np.uint8]
    """Why each published score changed, as numbers of `schemas.change.CAUSES`."""
    rows: list[Row]
    """The users' new rows."""

    def batch(self, rows_in: int) -> Batch:
        """Return what the audit looks at; `rows_in` counts all rows that came, dropped ones too."""
        return Batch(
            heads_before=self.before.heads,
            entries_before=self.before.entries,
            clocks_before=self.before.clocks,
            heads_after=self.after.heads,
            entries_after=self.after.entries,
            clocks_after=self.after.clocks,
            users=self.user,
            networks=self.network,
            times=self.time,
            grants=self.grants,
            takes_back=self.takes_back,
            scored=self.scored,
            published=self.published,
            rows_in=rows_in,
            duplicates=0,
            skipped=self.dropped,
        )


def fold(
    records: Sequence[Record],
    sources: Sequence[str],
    state: TaskState,
    *,
    read: Callable[[list[bytes]], list[bytes | None]],
    parameters: Parameters,
    forgotten: Forgotten,
    clocks_before: Mapping[str, int],
) -> TargetsOutcome:
    """Fold credits and adjustments in the order of the lane, count them, and take scores at the clocks of `state`.

    `clocks_before` are those of the batch before. `sources` says who wrote each record, `read` gives the stored rows of
    users. Raise `CloutError` for a kind of record that this stage does not fold.
    """
    require_kind(records, CREDITS, ADJUSTMENTS)
    network = network_codes(records, state).astype(np.int64)
    users, numbers = distinct([record.targets for record in records])
    user = renumbered(records, "target", numbers).astype(np.int64)
    time = joined(records, "time")
    arrival = np.concatenate([record.columns.get("arrival", np.zeros(record.rows, np.int64)) for record in records])
    grants = Grants(joined(records, "reach"), joined(records, "amplification"), joined(records, "influence"))
    takes_back = np.repeat([record.kind == ADJUSTMENTS for record in records], [record.rows for record in records])
    cause = np.concatenate(
        [record.columns.get("cause", np.full(record.rows, _INTERACTION, np.uint8)) for record in records]
    )

    lives = forgotten.find(users, user_hashes(users)) if len(forgotten) else {}
    dropped = 0
    if lives:
        counts = _counts(records, sources, user, lives)
        _count_by(state, network[~counts & ~takes_back], "dropped")
        _count_by(state, network[~counts & takes_back], "dropped_adjustments")
        dropped = int(np.count_nonzero(~counts))
        network, time, arrival = network[counts], time[counts], arrival[counts]
        takes_back, cause = takes_back[counts], cause[counts]
        grants = Grants(grants.reach[counts], grants.amplification[counts], grants.network[counts])
        kept, user = np.unique(user[counts], return_inverse=True)
        lives = {place: lives[old] for place, old in enumerate(kept.tolist()) if old in lives}
        users = [users[old] for old in kept.tolist()]

    heads, entries = decode_targets(read(users), len(state.networks))
    for place, entry in lives.items():
        # A new life goes on with the old one's numbers.
        heads[place]["sequence"] = max(int(heads[place]["sequence"]), entry.sequence)
    clocks = _clocks(state, state.clocks)
    before = Users(heads.copy(), entries.copy(), _clocks(state, clocks_before))
    fold_targets(
        entries,
        users=user,
        networks=network,
        times=time,
        grants=grants,
        parameters=parameters,
        takes_back=takes_back,
    )
    scored = score_targets(heads, entries, clocks, parameters)
    published = publish(heads, entries, scored)

    _count_by(state, network[~takes_back], "applied")
    _count_by(state, network[takes_back], "adjusted")
    weightiest = np.full(len(users), _INTERACTION, np.uint8)
    np.maximum.at(weightiest, user, cause)
    # Who had no score and lost all credits within the batch was never there.
    there = (heads["sequence"] > 0) | np.any(entries["events"] > 0, axis=1)
    rows: list[Row] = list(zip(users, encode_targets(heads, entries), strict=True))
    return TargetsOutcome(
        users,
        before,
        Users(heads, entries, clocks),
        user,
        network,
        time,
        arrival,
        grants,
        takes_back,
        dropped,
        scored,
        published,
        weightiest[published.index],
        rows if there.all() else [row for row, is_there in zip(rows, there.tolist(), strict=True) if is_there],
    )


def _clocks(state: TaskState, clocks_ms: Mapping[str, int]) -> Ints:
    return np.array([clocks_ms.get(name, NO_CLOCK) for name in state.networks], np.int64)


def _counts(
    records: Sequence[Record], sources: Sequence[str], user: NDArray[np.int64], lives: dict[int, Entry]
) -> NDArray[np.bool_]:
    """Return which rows count: all but those about a forgotten user from a source that has not undone it."""
    counts = np.ones(len(user), np.bool_)
    source = np.repeat(np.arange(len(records)), [record.rows for record in records])
    for place, entry in lives.items():
        refused = [number for number, name in enumerate(sources) if not entry.counts(name)]
        counts &= ~((user == place) & np.isin(source, refused))
    return counts


def _count_by(state: TaskState, network: NDArray[np.int64], outcome: str) -> None:
    for code, rows in enumerate(np.bincount(network, minlength=len(state.networks)).tolist()):
        if rows:
            state.count(state.networks[code], outcome, rows)
