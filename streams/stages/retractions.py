"""The actors stage on what an operator takes back: which event is it, and to which partition does its adjustment go?

Beside an event's identity the row says when that copy of it came, and from which collector: the ledger's event is taken
back only if it is this copy that counted. So a feed that sent again what had counted before, or what another collector
had brought, loses none of that. What is not found leaves no mark: a later honest event counts.

Such rows come in records, and so in batches, of their own (`streams.intake`).
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from schemas.packed import CREDITS, RETRACTIONS, Record
from schemas.users import user_hashes
from scorer.actor_state import decode_actors, encode_actors
from scorer.actors import fold_actors
from scorer.model import Parameters
from streams.fingerprints import REPEATED, RETRACTED, UNMATCHED
from streams.forgotten import Forgotten
from streams.ledger import ANYBODY, HELD_CODE, TAKEN_CODE, Found, Ledger
from streams.ledger_block import COLUMNS, UNKNOWN_ARRIVAL, LedgerRows
from streams.packing import Rows, joined
from streams.stages.actors import ActorsOutcome, adjustments_of, masked_rows, past_of
from streams.stages.lookup import labels, network_codes, require_kind
from streams.store import Row, actor_key
from streams.task_state import Ordered, TaskState

ELSEWHERE: Final = 100
"""A verdict beside those of `streams.fingerprints`: another copy of the event counted."""
_COUNTED: Final = {RETRACTED: "retracted", REPEATED: "repeated", ELSEWHERE: "elsewhere", UNMATCHED: "unmatched"}
_EVENTS: Final = ("epoch", "actor_hash", "event_hash", "source_hash", "arrival")
_NO_CREDITS: Final = Rows(CREDITS, [], [], [], [], {"target": np.empty(0, np.uint32)})

Columns = dict[str, NDArray[Any]]


def fold(
    records: Sequence[Record],
    state: TaskState,
    *,
    read_states: Callable[[list[bytes]], list[bytes | None]],
    parameters: Parameters,
    partitions: int,
    ledger: Ledger,
    forgotten: Forgotten,
) -> ActorsOutcome:
    """Take events back in the order of the lane; count in `state` what became of each row of the latest order.

    `read_states` gives the stored rows of actor keys.
    """
    require_kind(records, RETRACTIONS)
    references, label = labels(records)
    rows: Columns = {name: joined(records, name) for name in _EVENTS}
    rows |= {"network": network_codes(records, state), "label": label}
    ledger_row = ledger.rows_of(rows["event_hash"])
    there = np.flatnonzero(ledger_row >= 0)
    found = ledger.find(ledger_row[there])
    verdict = np.full(len(ledger_row), UNMATCHED, np.uint8)
    verdict[there] = _verdicts(rows, there, ledger_row, found, state.networks)
    _count(state, rows["epoch"], verdict)

    taken = np.flatnonzero(verdict[there] == RETRACTED)
    found, at = found.select(taken), there[taken]
    states = _without(found, read_states, parameters)
    granted = (found.amplification > 0.0) & ~masked_rows(found, ledger_row[at], forgotten)
    adjustments = adjustments_of(found, np.flatnonzero(granted), references, rows["label"][at[granted]], state)
    adjusted = user_hashes(adjustments.targets)
    return ActorsOutcome(
        states,
        _NO_CREDITS,
        np.empty(0, np.uint8),
        adjustments,
        (adjusted % np.uint64(partitions)).astype(np.uint8)[adjustments.columns["target"]],
        _marks(rows["event_hash"][at], found),
        # They came now, whenever their events did: a window after the newest of these the marks expire.
        max((part.last_arrival for part in state.ledger.slices), default=0),
    )


def _verdicts(
    rows: Columns, there: NDArray[np.int64], ledger_row: NDArray[np.int64], found: Found, networks: list[str]
) -> NDArray[np.uint8]:
    """Say what becomes of the rows whose hash is in the ledger; equal hashes alone do not make the same event."""
    same = found.anybody | (found.actor_hash == rows["actor_hash"][there])
    theirs = rows["network"][there].tolist()
    same &= np.array([networks[code] == name for code, name in zip(theirs, found.networks, strict=True)], np.bool_)
    mark = (found.kind == TAKEN_CODE) | (found.kind == HELD_CODE)
    copy = (found.source_hash == rows["source_hash"][there]) & (
        (found.arrival == rows["arrival"][there]) | (found.arrival == UNKNOWN_ARRIVAL)
    )
    verdict = np.full(len(there), UNMATCHED, np.uint8)
    verdict[same] = ELSEWHERE
    verdict[same & (mark | copy)] = REPEATED
    counted = np.flatnonzero(same & ~mark & copy)
    # The same copy twice in the batch: the first takes it back.
    _, first = np.unique(ledger_row[there[counted]], return_index=True)
    verdict[counted[first]] = RETRACTED
    return verdict


def _without(
    found: Found, read_states: Callable[[list[bytes]], list[bytes | None]], parameters: Parameters
) -> list[Row]:
    """Return the actors' new rows: their rates and memories lose the events.

    Events about oneself never were in there, and of an actor who was forgotten since there is none.
    """
    worth = np.flatnonzero((found.amplification > 0.0) & ~found.anybody)
    lost = found.select(worth)
    whose = [actor_key(who, name.encode()) for who, name in zip(lost.actors, lost.networks, strict=True)]
    keys = sorted(set(whose))
    number = dict(zip(keys, range(len(keys)), strict=True)).__getitem__
    states = decode_actors(read_states(keys))
    size = len(worth)
    nothing = np.zeros(size, np.int64)
    fold_actors(
        states,
        index=np.fromiter(map(number, whose), np.int64, size),
        targets=nothing.astype(np.uint64),
        kinds=nothing.astype(np.uint8),
        times=nothing,
        influence=np.zeros(len(keys)),
        parameters=parameters,
        takes_back=np.arange(size, 2 * size),
        past=past_of(lost),
    )
    there = (states["events"] > 0).tolist()
    return [(key, row) for key, row, is_there in zip(keys, encode_actors(states), there, strict=True) if is_there]


def _marks(event_hash: NDArray[np.uint64], found: Found) -> LedgerRows:
    """Return what the ledger keeps of events that were taken back: nobody can send them again, or take them back."""
    size = len(event_hash)
    actors, networks = sorted(set(found.actors)), sorted(set(found.networks))
    columns = {name: np.zeros(size, kind) for name, kind in COLUMNS.items()}
    columns |= {
        "actor": _numbers(found.actors, actors),
        "network": _numbers(found.networks, networks).astype(np.uint8),
        "kind": np.full(size, TAKEN_CODE, np.uint8),
        "event_hash": event_hash,
        "time": found.time,
        "arrival": np.maximum(found.arrival, 0),
    }
    return LedgerRows(networks, [""], actors, [ANYBODY], np.zeros(len(actors)), columns)


def _numbers(names: Sequence[Any], listed: Sequence[Any]) -> NDArray[np.uint32]:
    number = dict(zip(listed, range(len(listed)), strict=True)).__getitem__
    return np.fromiter(map(number, names), np.uint32, len(names))


def _count(state: TaskState, epoch: NDArray[np.uint64], verdict: NDArray[np.uint8]) -> None:
    """Count what became of the rows of each order; a later one begins at nothing."""
    for order in np.unique(epoch).tolist():
        if order > state.ordered.epoch:
            state.ordered = Ordered(epoch=order)
        if order == state.ordered.epoch:
            of_order = verdict[epoch == order]
            for code, outcome in _COUNTED.items():
                state.ordered.counters[outcome] += int(np.count_nonzero(of_order == code))
