"""The actors stage on a batch: what is each action worth, and to which partition does its credit go?

Events that were taken in before are dropped, retractions take back what their event granted: `streams.ledger` knows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.change import CAUSES
from schemas.interaction import RETRACT_CODE
from schemas.packed import ADJUSTMENTS, CREDITS, INTERACTIONS, Record
from schemas.users import user_hashes
from scorer.actor_state import decode_actors, encode_actors
from scorer.actors import Grants, Past, Undo, fold_actors, influences, no_past
from scorer.model import Parameters
from streams.fingerprints import DUPLICATE, REPEATED, RETRACTED, TAKEN_IN, UNMATCHED, WITHHELD
from streams.forgotten import Forgotten
from streams.ledger import ANYBODY, HELD_CODE, TAKEN_CODE, Found, Ledger
from streams.ledger_block import ANOTHER, ITSELF, KNOWN, NOTHING, LedgerRows
from streams.packing import Rows, distinct, distinct_as_seen, joined, renumbered, renumbering
from streams.stages.lookup import accounts, labels, network_codes, require_kind
from streams.store import Row, actor_key
from streams.task_state import TaskState

RETRACTION: int = CAUSES.index("retraction")
_PASSED_ON = ("kind", "time", "arrival", "event_hash")
_COUNTED = {
    DUPLICATE: "duplicate",
    WITHHELD: "withheld",
    RETRACTED: "retracted",
    REPEATED: "repeated",
    UNMATCHED: "unmatched",
}
_NO_INDEX = np.empty(0, np.uint32)
_NOT = -1


class ActorsOutcome(NamedTuple):
    """What a batch of interactions comes to."""

    states: list[Row]
    """The actors' new rows."""
    credits: Rows
    """What each interaction grants, in the order that they came."""
    credit_partitions: NDArray[np.uint8]
    """Partition of the targets lane that each credit goes to."""
    adjustments: Rows
    """What is taken back."""
    adjustment_partitions: NDArray[np.uint8]
    entered: LedgerRows
    newest_arrival: int


@dataclass(frozen=True, slots=True)
class _Batch:
    """The rows of a batch, by column, and the lists that they point into."""

    networks: list[str]
    labels: list[str]
    actors: list[bytes]
    targets: list[bytes]
    target_hashes: NDArray[np.uint64]
    columns: dict[str, NDArray[Any]]

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.columns[name]

    def select(self, chosen: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
        rows = _rows(chosen)
        return {name: column[rows] if len(column) else column for name, column in self.columns.items()}


class _Judged(NamedTuple):
    """What becomes of the rows of a batch."""

    verdict: NDArray[np.uint8]
    event_row: NDArray[np.int64]
    """Of a retraction, the row of the batch that it takes back, or -1."""
    found_at: NDArray[np.int64]
    """Of a retraction, the place in `found` of what it takes back, or -1."""
    found: Found
    masked: NDArray[np.bool_]
    """Of `found`: what was granted is gone since the user credited was forgotten."""


def fold(
    records: Sequence[Record],
    state: TaskState,
    *,
    read_states: Callable[[list[bytes]], list[bytes | None]],
    read_scores: Callable[[list[bytes]], NDArray[np.float64]],
    parameters: Parameters,
    partitions: int,
    ledger: Ledger,
    forgotten: Forgotten,
) -> ActorsOutcome:
    """Fold interactions and retractions in the order of the lane; count in `state` what became of each.

    `read_states` gives the stored rows of actor keys, `read_scores` the last published scores of users.
    """
    require_kind(records, INTERACTIONS)
    batch = _joined(records, state)
    judged = _judge(batch, ledger, forgotten)
    verdict = judged.verdict
    own = _on_oneself(batch)
    dropped = _dropped(batch, forgotten)

    events = (verdict == TAKEN_IN) & ~own & ~dropped
    worth = _worth_taking_back(judged, events)
    folded = events | worth
    rows = np.flatnonzero(folded)
    place = np.full(len(verdict), _NOT, np.int64)
    place[rows] = np.arange(len(rows))
    takes_back = _takes_back(judged, rows, place, worth) if worth.any() else None

    kept = batch.select(folded)
    of_actor, of_network, index = _states_needed(kept["actor"], kept["network"], len(batch.actors), len(state.networks))
    ends = [actor_key(b"", name.encode()) for name in state.networks]
    keys = [batch.actors[who] + ends[code] for who, code in zip(of_actor, of_network, strict=True)]
    states = decode_actors(read_states(keys))
    influence = influences(read_scores(batch.actors), parameters)
    grants, undo = fold_actors(
        states,
        index=index,
        targets=batch.target_hashes.take(kept["target"]),
        kinds=kept["kind"],
        times=kept["time"],
        influence=influence[np.array(of_actor, np.intp)],
        parameters=parameters,
        takes_back=takes_back,
        past=past_of(judged.found),
    )
    # What came and was taken back within the batch never leaves the partition.
    gone = np.zeros(len(verdict), np.bool_)
    gone[judged.event_row[worth & (judged.event_row >= 0)]] = True
    leaving = events & ~gone
    _count_rows(state, batch["network"], verdict, own=own, dropped=dropped, leaving=leaving)

    columns = batch.select(leaving)
    gone_on = place[_rows(leaving)]
    columns |= dict(zip(("reach", "amplification", "influence"), (part[gone_on] for part in grants), strict=True))
    found = judged.found_at[judged.found_at >= 0]
    granted = found[(judged.found.amplification[found] > 0.0) & ~judged.masked[found]]
    adjustments = adjustments_of(judged.found, granted, [""], np.zeros(len(granted), np.uint16), state)
    adjusted = user_hashes(adjustments.targets)
    there = (states["events"] > 0).tolist()
    encoded = zip(keys, encode_actors(states), there, strict=True)
    return ActorsOutcome(
        # Of an actor who was forgotten nothing is left to take back from.
        [(key, row) for key, row, is_there in encoded if is_there],
        Rows(CREDITS, list(state.networks), batch.labels, batch.actors, batch.targets, columns),
        (batch.target_hashes % np.uint64(partitions)).astype(np.uint8).take(columns["target"]),
        adjustments,
        (adjusted % np.uint64(partitions)).astype(np.uint8)[adjustments.columns["target"]],
        _entered(batch, verdict, events, own | events, place, (grants, undo, influence)),
        int(batch["arrival"].max()),
    )


def _joined(records: Sequence[Record], state: TaskState) -> _Batch:
    network = network_codes(records, state)
    actors, actor_numbers = distinct([record.actors for record in records])
    targets, target_numbers = distinct_as_seen([record.targets for record in records])
    label_names, label = labels(records)
    columns = {
        "actor": renumbered(records, "actor", actor_numbers),
        "actor_account": accounts(records, "actor", actor_numbers),
        "target": renumbered(records, "target", target_numbers),
        "target_account": accounts(records, "target", target_numbers),
        "network": network,
        "label": label,
    } | {name: joined(records, name) for name in _PASSED_ON}
    return _Batch(list(state.networks), label_names, actors, targets, user_hashes(targets), columns)


def _judge(batch: _Batch, ledger: Ledger, forgotten: Forgotten) -> _Judged:
    """Ask the ledger, and verify each hit in its block: the hash alone is not the event."""
    judged = ledger.judge(batch["event_hash"], batch["kind"] == RETRACT_CODE)
    verdict = judged.verdict
    size = len(verdict)
    event_row = np.where(verdict == RETRACTED, judged.batch_row, _NOT)
    found_at = np.full(size, _NOT, np.int64)
    hits = np.flatnonzero(judged.ledger_row >= 0)
    found = ledger.find(judged.ledger_row[hits])
    if not len(hits):
        return _Judged(verdict, event_row, found_at, found, np.empty(0, np.bool_))
    theirs = user_hashes(batch.actors)[batch["actor"][hits]]
    same = found.anybody | (found.actor_hash == theirs)
    network = batch["network"][hits].tolist()
    same &= np.array([batch.networks[code] == name for code, name in zip(network, found.networks, strict=True)])
    # Another event with the same hash: it counts, and from now on the hash is its own.
    others = hits[~same]
    retraction = batch["kind"][others] == RETRACT_CODE
    verdict[others] = np.where(retraction, UNMATCHED, TAKEN_IN)
    found_at[hits] = np.where(same & (verdict[hits] == RETRACTED), np.arange(len(hits)), _NOT)
    return _Judged(verdict, event_row, found_at, found, masked_rows(found, judged.ledger_row[hits], forgotten))


def masked_rows(found: Found, ledger_row: NDArray[np.int64], forgotten: Forgotten) -> NDArray[np.bool_]:
    """Return of which rows of the ledger what was granted is gone, since the user credited was forgotten."""
    masked = np.array([name == ANYBODY for name in found.targets], np.bool_)
    targets = list(dict.fromkeys(found.targets))
    for at, entry in forgotten.find(targets, user_hashes(targets)).items():
        names = np.array([name == targets[at] for name in found.targets])
        masked |= names & (ledger_row < entry.masked_before)
    return masked


def _on_oneself(batch: _Batch) -> NDArray[np.bool_]:
    """Return which rows have their own actor as target."""
    number = dict(zip(batch.actors, range(len(batch.actors)), strict=True)).get
    as_actor = np.fromiter(map(number, batch.targets, repeat(_NOT)), np.int64, len(batch.targets))
    own: NDArray[np.bool_] = as_actor.take(batch["target"]) == batch["actor"]
    return own


def _dropped(batch: _Batch, forgotten: Forgotten) -> NDArray[np.bool_]:
    """Return which rows credit somebody who was forgotten."""
    found = forgotten.find(batch.targets, batch.target_hashes)
    of_user = np.zeros(len(batch.targets), np.bool_)
    of_user[[at for at, entry in found.items() if entry.dropping]] = True
    dropped: NDArray[np.bool_] = of_user.take(batch["target"]) & (batch["kind"] != RETRACT_CODE)
    return dropped


def _worth_taking_back(judged: _Judged, events: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which rows take something out of their actor's memory: their event was folded, not about oneself.

    The memory of an actor who was forgotten since does not have it any more.
    """
    of_batch = judged.event_row >= 0
    of_ledger = judged.found_at >= 0
    found, at = judged.found, judged.found_at[of_ledger]
    worth = np.zeros(len(events), np.bool_)
    worth[of_batch] = events[judged.event_row[of_batch]]
    worth[of_ledger] = (found.amplification[at] > 0.0) & ~found.anybody[at]
    return worth


def _takes_back(
    judged: _Judged, rows: NDArray[np.int64], place: NDArray[np.int64], worth: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Return what each row to be folded takes back, as `scorer.actors.fold_actors` wants it."""
    of = np.full(len(rows), _NOT, np.int64)
    back = worth[rows]
    event, found = judged.event_row[rows], judged.found_at[rows]
    of[back] = np.where(event[back] >= 0, place[event[back]], len(rows) + found[back])
    return of


def past_of(found: Found) -> Past:
    """Return events of the ledger as their actors' memories are to lose them."""
    if not len(found.time):
        return no_past()
    undo = Undo(found.time + found.rate_lead, found.former_target, found.former_x, found.former_time)
    numbers, targets = _numbered(found.targets)
    return Past(user_hashes(targets)[numbers], found.time, found.reach, undo)


def _numbered(names: Sequence[bytes]) -> tuple[NDArray[np.int64], list[bytes]]:
    kept = list(dict.fromkeys(names))
    number = dict(zip(kept, range(len(kept)), strict=True)).__getitem__
    return np.fromiter(map(number, names), np.int64, len(names)), kept


def adjustments_of(
    found: Found, at: NDArray[np.int64], references: list[str], label: NDArray[Any], state: TaskState
) -> Rows:
    """Return what taking back some events of earlier batches comes to for those whom they credited.

    `at` are their places in `found`, `label` says for each of these which of the references it has.
    """
    numbers, targets = _numbered([found.targets[place] for place in at.tolist()])
    code = {name: state.network_code(name) for name in dict.fromkeys(found.networks)}
    codes = [code[found.networks[place]] for place in at.tolist()]
    return Rows(
        ADJUSTMENTS,
        list(state.networks),
        references,
        [],
        targets,
        {
            "actor": _NO_INDEX,
            "actor_account": _NO_INDEX,
            "target": numbers.astype(np.uint32),
            "target_account": _NO_INDEX,
            "network": np.array(codes, np.uint8),
            "label": label,
            "cause": np.full(len(at), RETRACTION, np.uint8),
            "time": found.time[at],
            "reach": found.reach[at],
            "amplification": found.amplification[at],
            "influence": found.influence[at],
        },
    )


def _entered(
    batch: _Batch,
    verdict: NDArray[np.uint8],
    folded: NDArray[np.bool_],
    live: NDArray[np.bool_],
    place: NDArray[np.int64],
    worth: tuple[Grants, Undo, NDArray[np.float64]],
) -> LedgerRows:
    """Return the rows that the ledger keeps: events with what they granted, and marks of all others."""
    grants, undo, influences_ = worth
    entering = (verdict != DUPLICATE) & (verdict != REPEATED)
    rows = _rows(entering)
    verdict, folded, place = verdict[rows], folded[rows], place[rows]
    mark = (verdict != TAKEN_IN) | ~live[rows]
    kind, target, targets = batch["kind"][rows], batch["target"][rows], batch.targets
    if mark.any():
        kind = np.where(mark, np.where(verdict == UNMATCHED, HELD_CODE, TAKEN_CODE), kind).astype(np.uint8)
        target = np.where(mark, len(targets), target).astype(np.uint32)
        targets = [*targets, ANYBODY]
    time = batch["time"][rows]
    columns = {name: batch[name][rows] for name in ("actor", "network", "label", "event_hash", "arrival")}
    columns |= {"target": target, "kind": kind, "time": time}
    of_fold = {
        "amplification": grants.amplification,
        "reach": grants.reach,
        "rate_lead": undo.rate_time,
        "former_target": undo.former_target,
        "former_x": undo.former_x,
        "former_time": undo.former_time,
    }
    every = bool(folded.all())
    for name, values in of_fold.items():
        columns[name] = values[place] if every else _filled(values, place, folded)
    columns["rate_lead"] = np.where(folded, columns["rate_lead"] - time, 0)
    former = columns["former_target"]
    columns["memory"] = np.where(
        former == 0,
        np.where(folded & (columns["reach"] < 1.0), KNOWN, NOTHING),
        np.where(former == batch.target_hashes.take(batch["target"][rows]), ITSELF, ANOTHER),
    ).astype(np.uint8)
    return LedgerRows(batch.networks, batch.labels, batch.actors, targets, influences_, columns)


def _filled(values: NDArray[Any], place: NDArray[np.int64], there: NDArray[np.bool_]) -> NDArray[Any]:
    """Return the values of those rows that have a place, and zeros."""
    if not len(values):
        return np.zeros(len(place), values.dtype)
    # To read all and drop some is faster than to choose first.
    return np.where(there, values.take(place, mode="clip"), values.dtype.type(0))


def _rows(chosen: NDArray[np.bool_]) -> Any:
    """Return an index of the rows chosen; where these are all, one that copies nothing."""
    return slice(None) if chosen.all() else np.flatnonzero(chosen)


def _states_needed(
    actor: NDArray[np.uint32], network: NDArray[np.uint8], actors: int, networks: int
) -> tuple[list[int], list[int], NDArray[np.int64]]:
    """Return actor and network of each state, and each row's state."""
    kept, index = renumbering(actor.astype(np.int64) * networks + network, actors * networks)
    return (kept // networks).tolist(), (kept % networks).tolist(), index


def _count_rows(
    state: TaskState,
    network: NDArray[np.uint8],
    verdict: NDArray[np.uint8],
    *,
    own: NDArray[np.bool_],
    dropped: NDArray[np.bool_],
    leaving: NDArray[np.bool_],
) -> None:
    _count(state, "credited", network[leaving])
    taken_in = verdict == TAKEN_IN
    if leaving.all():
        return
    _count(state, "self", network[taken_in & own])
    _count(state, "forgotten", network[taken_in & dropped & ~own])
    _count(state, "withheld", network[taken_in & ~own & ~dropped & ~leaving])
    for code, outcome in _COUNTED.items():
        _count(state, outcome, network[verdict == code])


def _count(state: TaskState, outcome: str, network: NDArray[np.uint8]) -> None:
    for code, rows in enumerate(np.bincount(network, minlength=len(state.networks)).tolist()):
        if rows:
            state.count(state.networks[code], outcome, rows)
