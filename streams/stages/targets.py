"""The targets stage on a batch: fold credits into the users' decayed sums, and say whose score changed.

Adjustments take credits back. Neither counts for somebody who was forgotten (`streams.forgotten`). Users whose time has
come (`streams.timers`) are scored with them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.change import CAUSES
from schemas.packed import ADJUSTMENTS, CREDITS, Record
from schemas.users import canaries_among, people_among, user_hashes
from scorer.actors import Grants
from scorer.arrays import Bools, Ints, Records
from scorer.laws import Batch
from scorer.model import Parameters
from scorer.population import below_tenths, came_below
from scorer.target_state import decode_targets, encode_targets, found
from scorer.targets import Published, Scored, fold_targets, publish, score_targets
from scorer.timers import Moved, advance, clock_column, evaluation_times, reschedule
from streams.forgotten import Entry, Forgotten
from streams.masking import masked
from streams.packing import distinct, distinct_as_seen, joined, renumbered
from streams.references import References, of_changes, of_rows
from streams.stages.lookup import network_codes, require_kind
from streams.store import Row
from streams.task_state import TaskState

_INTERACTION = CAUSES.index("interaction")
_DECAY = CAUSES.index("decay")


class Users(NamedTuple):
    """The users of a batch at one moment: heads[n], entries[n, networks], and the clocks in ms, one a network.

    Before the batch, entries are what it found (`scorer.target_state.FOUND`).
    """

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
    references: References
    """What each published change refers to."""
    rows: list[Row]
    """The users' new rows."""
    moved: Moved
    """Due times that are others than before, or have come."""
    named: NDArray[np.uint32]
    """Actors, as numbers among these, who have come among somebody's contributors."""
    actors: list[bytes]
    actor_hashes: NDArray[np.uint64]
    """Of the actors, 0 for those who must not be named; one more, 0, is nobody's."""
    actor: NDArray[np.uint32]
    """Each row's actor, as a number among them."""
    counted: Bools | None
    """Which of the rows that came in are among those above; None: all."""

    @property
    def canaries(self) -> slice:
        """Return which of the users are synthetic accounts."""
        return canaries_among(self.users)

    def batch(self, rows_in: int, clocks_before: Ints, clocks_after: Ints) -> Batch:
        """Return what the audit looks at; `rows_in` counts all rows that came, dropped ones too.

        The clocks (ms, by the networks' codes) are those that the task has, whatever the fold went by.
        """
        return Batch(
            heads_before=self.before.heads,
            entries_before=self.before.entries,
            clocks_before=clocks_before,
            heads_after=self.after.heads,
            entries_after=self.after.entries,
            clocks_after=clocks_after,
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
    due: Sequence[bytes] = (),
) -> TargetsOutcome:
    """Fold credits and adjustments in the order of the lane, count them, and take scores at the clocks of `state`.

    `clocks_before` are those of the batch before. `sources` says who wrote each record, `read` gives the stored rows of
    users, `due` names those whose time has come. Raise `CloutError` for a kind of record that this stage does not fold.
    """
    require_kind(records, CREDITS, ADJUSTMENTS)
    batch = _joined(records, sources, due, state, forgotten)
    users, user, network = batch.users, batch.user, batch.network

    heads, entries, contributors = decode_targets(read(users), len(state.networks))
    has_row = heads["sequence"] > 0
    for place, entry in batch.lives.items():
        # A new life goes on with the old one's numbers.
        heads[place]["sequence"] = max(int(heads[place]["sequence"]), entry.sequence)
    clocks = clock_column(state.clocks, state.networks)
    before = Users(heads.copy(), found(entries), clock_column(clocks_before, state.networks))
    entered = fold_targets(
        entries,
        users=user,
        networks=network,
        times=batch.time,
        grants=batch.grants,
        parameters=parameters,
        takes_back=batch.takes_back,
        actors=batch.actor_hashes.take(batch.actor) if len(batch.actor_hashes) else None,
        contributors=contributors,
    )
    credited = np.zeros(len(users), np.bool_)
    credited[user] = True
    times = evaluation_times(entries, clocks)
    advance(heads, entries, times, np.flatnonzero(~credited), clocks, parameters)
    scored = score_targets(heads, entries, times, parameters)
    published = publish(heads, entries, scored, state.population.shift.hour)
    moved = reschedule(heads, entries, times, clocks, parameters)
    for people in people_among(users):
        state.population.follow(
            len(state.networks), (before.heads[people], before.entries[people]), (heads[people], entries[people])
        )

    _count_by(state, network[~batch.takes_back], "applied")
    _count_by(state, network[batch.takes_back], "adjusted")
    weightiest = np.where(credited, _INTERACTION, _DECAY).astype(np.uint8)
    np.maximum.at(weightiest, user, batch.cause)
    causes = weightiest[published.index]
    # What others do adds: if the score is lower all the same, decay took more.
    fell = np.nan_to_num(published.score) * 10.0 < published.previous_tenths
    causes[fell & (causes == _INTERACTION)] = _DECAY
    references = of_rows(records)
    if batch.counted is not None:
        references = references._replace(number=references.number[batch.counted])
    canaries = canaries_among(users)
    public = (published.index < canaries.start) | (published.index >= canaries.stop)
    for cause, count in zip(CAUSES, np.bincount(causes[public], minlength=len(CAUSES)).tolist(), strict=True):
        if count:
            state.population.count_changes(cause, count)
    of_published = of_changes(references, user, len(users), published.index, causes)
    _count_taken_back(state, of_published, published.index, public, before.heads, heads)
    # Who had no score and lost all credits within the batch was never there, nor is anybody forgotten of whom an old
    # copy still has a due time.
    there = has_row | np.any(entries["events"] > 0, axis=1)
    rows: list[Row] = list(zip(users, encode_targets(heads, entries, contributors), strict=True))
    return TargetsOutcome(
        users,
        before,
        Users(heads, entries, clocks),
        user,
        network,
        batch.time,
        batch.arrival,
        batch.grants,
        batch.takes_back,
        batch.dropped,
        scored,
        published,
        causes,
        of_published,
        rows if there.all() else [row for row, is_there in zip(rows, there.tolist(), strict=True) if is_there],
        moved,
        _present(batch.actor[entered], len(batch.actor_hashes)),
        batch.actors,
        batch.actor_hashes,
        batch.actor,
        batch.counted,
    )


class _Batch(NamedTuple):
    """The rows of a batch that count, by column, and the users concerned."""

    users: list[bytes]
    """In order; with those whose time has come."""
    lives: dict[int, Entry]
    """Of users who were forgotten and count again."""
    actors: list[bytes]
    actor_hashes: NDArray[np.uint64]
    user: Ints
    network: Ints
    time: Ints
    arrival: Ints
    grants: Grants
    takes_back: Bools
    cause: NDArray[np.uint8]
    actor: NDArray[np.uint32]
    """Number of who acted, among the actors and one more: nobody."""
    dropped: int
    counted: Bools | None = None
    """Which rows count; None: all."""


def _joined(
    records: Sequence[Record], sources: Sequence[str], due: Sequence[bytes], state: TaskState, forgotten: Forgotten
) -> _Batch:
    credited, numbers = distinct([*(record.targets for record in records), list(due)])
    actors, actor_numbers = distinct_as_seen([record.actors for record in records])
    if not records:
        nothing = np.empty(0, np.int64)
        no_grants = Grants(np.empty(0), np.empty(0), np.empty(0))
        none = np.empty(0, np.bool_)
        return _Batch(
            credited, {}, [], np.zeros(1, np.uint64), nothing, nothing, nothing, nothing, no_grants, none,
            np.empty(0, np.uint8), np.empty(0, np.uint32), 0,
        )  # fmt: skip
    batch = _Batch(
        users=credited,
        lives=forgotten.find(credited, user_hashes(credited)) if len(forgotten) else {},
        actors=actors,
        actor_hashes=_hashes(actors, forgotten),
        user=renumbered(records, "target", numbers[:-1]).astype(np.int64),
        network=network_codes(records, state).astype(np.int64),
        time=joined(records, "time"),
        arrival=_or_else(records, "arrival", np.int64(0)),
        grants=Grants(joined(records, "reach"), joined(records, "amplification"), joined(records, "influence")),
        takes_back=np.repeat([record.kind == ADJUSTMENTS for record in records], [record.rows for record in records]),
        cause=_or_else(records, "cause", np.uint8(_INTERACTION)),
        actor=np.concatenate(
            [
                table.take(record.columns["actor"])
                if "actor" in record.columns
                else np.full(record.rows, len(actors), "<u4")
                for record, table in zip(records, actor_numbers, strict=True)
            ]
        ),
        dropped=0,
    )
    return _without_forgotten(batch, records, sources, numbers[-1], state) if batch.lives else batch


def _or_else(records: Sequence[Record], name: str, default: np.generic) -> NDArray[Any]:
    """Return a column that some kinds of record do not have."""
    return np.concatenate([record.columns.get(name, np.full(record.rows, default)) for record in records])


def _hashes(actors: list[bytes], forgotten: Forgotten) -> NDArray[np.uint64]:
    """Return the actors' hashes, and 0 for nobody: so are those who must not be named, whose names are not kept."""
    hashes = user_hashes(actors)
    if len(forgotten):
        hashes[masked(actors, hashes, forgotten)] = 0
    return np.append(hashes, np.uint64(0))


def _without_forgotten(
    batch: _Batch, records: Sequence[Record], sources: Sequence[str], due: NDArray[np.uint32], state: TaskState
) -> _Batch:
    """Return the batch without rows that name somebody who was forgotten, and count these."""
    counts = _counts(records, sources, batch.user, batch.lives)
    _count_by(state, batch.network[~counts & ~batch.takes_back], "dropped")
    _count_by(state, batch.network[~counts & batch.takes_back], "dropped_adjustments")
    kept, user = np.unique(np.append(batch.user[counts], due), return_inverse=True)
    return batch._replace(
        users=[batch.users[old] for old in kept.tolist()],
        lives={place: batch.lives[old] for place, old in enumerate(kept.tolist()) if old in batch.lives},
        user=user[: np.count_nonzero(counts)],
        network=batch.network[counts],
        time=batch.time[counts],
        arrival=batch.arrival[counts],
        grants=Grants(*(part[counts] for part in batch.grants)),
        takes_back=batch.takes_back[counts],
        cause=batch.cause[counts],
        actor=batch.actor[counts],
        dropped=int(np.count_nonzero(~counts)),
        counted=counts,
    )


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


def _count_taken_back(
    state: TaskState, references: References, changed: Ints, public: Bools, before: Records, after: Records
) -> None:
    """Count whom changes lowered that refer to an incident; `changed` are their users, among all of the batch."""
    hour = state.population.shift.hour
    for number, incident in enumerate(references.names):
        whom = changed[public & (references.number == number)]
        came = came_below(below_tenths(before[whom], hour), below_tenths(after[whom], hour))
        state.population.count_taken_back(incident, came)


def _present(numbers: NDArray[np.uint32], end: int) -> NDArray[np.uint32]:
    """Return the distinct numbers, all below `end`, in order."""
    there = np.zeros(end, np.bool_)
    there[numbers] = True
    return np.flatnonzero(there).astype(np.uint32)


def _count_by(state: TaskState, network: NDArray[np.int64], outcome: str) -> None:
    for code, rows in enumerate(np.bincount(network, minlength=len(state.networks)).tolist()):
        if rows:
            state.count(state.networks[code], outcome, rows)
