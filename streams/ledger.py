"""The ledger of a partition: what each recent event granted, so that it counts once and can be taken back.

Every event that the actors stage takes in is a row, numbered as it comes; so is every retraction, as a *mark* that
says what became of the event of that hash (kinds `HELD_CODE` and `TAKEN_CODE`, no grant). Rows lie in packed blocks
(`streams.ledger_block`) in the store's `ledger` table and in the changelog, under `LEDGER_KEY` and the number of their
first row (u8, big-endian).

In memory there are only the fingerprints of the rows (`streams.fingerprints`), rebuilt from the blocks on restore; a
hit is verified in its block. Rows expire by whole slices: a slice ends after a part of the window, in arrival time, or
of the rows that the ledger may have, and goes when it is older than the window or the ledger is full.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.interaction import RETRACT_CODE
from schemas.users import user_hashes
from streams.errors import CloutError
from streams.fingerprints import HELD, LIVE, TAKEN, Fingerprints, Judged
from streams.ledger_block import Block, BlockError, LedgerRows, decode_block, encode_blocks, without
from streams.store import LEDGER_KEY, Row

HELD_CODE: Final = 253
"""Kind of a mark: a retraction that waits for its event."""
TAKEN_CODE: Final = RETRACT_CODE
"""Kind of a mark: the event was taken back, or may not count."""
_STATUS_OF_KIND: Final = np.full(256, LIVE, np.uint8)
_STATUS_OF_KIND[TAKEN_CODE] = TAKEN
_STATUS_OF_KIND[HELD_CODE] = HELD

ANYBODY: Final = b"\0"
"""In the place of a user who was forgotten; no user has this id."""

_SLICES_OF_WINDOW: Final = 24
_SLICES_OF_ROWS: Final = 32
_BLOCKS_HELD_MAX: Final = 64
"""Decoded blocks kept for the next look-up."""
_NUMBER_BYTES: Final = 8


class Slice(msgspec.Struct):
    """Rows that expire together, up to the first one of the next slice."""

    first_row: int
    first_arrival: int
    last_arrival: int


class LedgerState(msgspec.Struct):
    """What the task's record says of the ledger."""

    next_row: int = 0
    slices: list[Slice] = []

    @property
    def first_row(self) -> int:
        """Return the oldest row that is still there."""
        return self.slices[0].first_row if self.slices else self.next_row

    @property
    def rows(self) -> int:
        """Return how many rows there are."""
        return self.next_row - self.first_row

    @property
    def begins_ms(self) -> int | None:
        """Return the arrival of the oldest row, None when nothing has expired yet."""
        return self.slices[0].first_arrival if self.first_row else None

    @property
    def window_seconds(self) -> float:
        """Return the effective window: the arrival time between the oldest and the newest row."""
        if not self.slices:
            return 0.0
        return (max(part.last_arrival for part in self.slices) - self.slices[0].first_arrival) / 1000


@dataclass(frozen=True, slots=True)
class LedgerLimits:
    """How long and how much a ledger remembers."""

    window_seconds: int
    rows_max: int


class Found(NamedTuple):
    """Rows of the ledger, by column."""

    actors: list[bytes]
    actor_hash: NDArray[np.uint64]
    anybody: NDArray[np.bool_]
    """The actor has been forgotten since."""
    targets: list[bytes]
    networks: list[str]
    source_hash: NDArray[np.uint64]
    """`schemas.users.user_hash` of the name of the collector that brought it."""
    kind: NDArray[np.uint8]
    arrival: NDArray[np.int64]
    """`streams.ledger_block.UNKNOWN_ARRIVAL` where that was not kept."""
    time: NDArray[np.int64]
    reach: NDArray[np.float64]
    amplification: NDArray[np.float64]
    influence: NDArray[np.float64]
    rate_lead: NDArray[np.int64]
    former_target: NDArray[np.uint64]
    former_x: NDArray[np.float64]
    former_time: NDArray[np.int64]

    def select(self, rows: NDArray[np.int64]) -> "Found":
        """Return some of the rows."""
        chosen = rows.tolist()
        return Found(
            *([part[row] for row in chosen] if isinstance(part, list) else part[rows] for part in self)  # type: ignore[arg-type]
        )


_NUMBERS: Final = {
    "kind": np.uint8,
    "arrival": np.int64,
    "time": np.int64,
    "reach": np.float64,
    "amplification": np.float64,
    "influence": np.float64,
    "rate_lead": np.int64,
    "former_target": np.uint64,
    "former_x": np.float64,
    "former_time": np.int64,
}


class Entered(NamedTuple):
    """Rows that a batch adds: what goes to the store, and what the fingerprints take after the commit."""

    blocks: list[Row]
    hashes: NDArray[np.uint64]
    statuses: NDArray[np.uint8]
    state: LedgerState


class Ledger:
    """The rows of one partition; changed only by `apply`, after the commit."""

    def __init__(self, state: LedgerState, blocks: Iterable[tuple[bytes, bytes]], read: Callable[[bytes], Any]) -> None:
        """Rebuild the fingerprints from the stored blocks, in the order of their keys; `read` gives one block.

        Raise `CloutError` when blocks are missing or cannot be read.
        """
        self._read = read
        self._blocks: OrderedDict[int, Block] = OrderedDict()
        self._prints = Fingerprints(state.first_row)
        self._starts: list[int] = []
        for key, value in blocks:
            first, block = first_row(key), _decoded(value)
            if first != self._prints.next:
                raise _damaged(f"row {self._prints.next} is missing: the next block begins at row {first}")
            self._starts.append(first)
            self._prints.insert(block.columns["event_hash"], _STATUS_OF_KIND[block.columns["kind"]])
        if self._prints.next != state.next_row:
            raise _damaged(f"blocks end before row {self._prints.next}, the task's record says {state.next_row}")

    def judge(self, hashes: NDArray[np.uint64], retractions: NDArray[np.bool_]) -> Judged:
        """Say what becomes of a batch's events and retractions."""
        return self._prints.judge(hashes, retractions)

    def rows_of(self, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return the row of each hash, -1 where there is none; the event in it may be another one."""
        return self._prints.judge(hashes, np.ones(len(hashes), np.bool_)).ledger_row

    def find(self, rows: NDArray[np.int64]) -> Found:
        """Return rows by their numbers, in that order; they must be there."""
        starts = np.array(self._starts, np.int64)
        block_of = np.searchsorted(starts, rows, "right") - 1
        size = len(rows)
        actors, targets, networks = [b""] * size, [b""] * size, [""] * size
        columns: dict[str, Any] = {name: np.zeros(size, kind) for name, kind in _NUMBERS.items()}
        actor_hash, anybody = np.zeros(size, np.uint64), np.zeros(size, np.bool_)
        source_hash = np.zeros(size, np.uint64)
        for number in np.unique(block_of).tolist():
            at = np.flatnonzero(block_of == number)
            start = self._starts[number]
            block = self._block(start)
            found = block.select(rows[at] - start)
            for name, column in columns.items():
                column[at] = found[name]
            source_hash[at] = user_hashes(list(map(str.encode, block.labels)))[found["label"]]
            numbers, of_row = np.unique(found["actor"], return_inverse=True)
            names = [block.actors[number] for number in numbers.tolist()]
            actor_hash[at] = user_hashes(names)[of_row]
            anybody[at] = np.array([name == ANYBODY for name in names])[of_row]
            where = [column.tolist() for column in (of_row, found["target"], found["network"])]
            for place, actor, target, network in zip(at.tolist(), *where, strict=True):
                actors[place] = names[actor]
                targets[place] = block.targets[target]
                networks[place] = block.networks[network]
        return Found(actors, actor_hash, anybody, targets, networks, source_hash, **columns)

    def enter(self, rows: LedgerRows, newest_arrival: int, state: LedgerState, limits: LedgerLimits) -> Entered:
        """Return what adding rows comes to: their blocks, deletions of expired ones, and the new state."""
        first = state.next_row
        blocks: list[Row] = []
        for count, value in encode_blocks(rows):
            blocks.append((block_key(first), value))
            first += count
        slices = [Slice(part.first_row, part.first_arrival, part.last_arrival) for part in state.slices]
        window_ms = limits.window_seconds * 1000
        if slices:
            last = slices[-1]
            full = state.next_row - last.first_row >= limits.rows_max // _SLICES_OF_ROWS
            if full or newest_arrival - last.first_arrival >= window_ms // _SLICES_OF_WINDOW:
                slices.append(Slice(state.next_row, newest_arrival, newest_arrival))
            else:
                last.last_arrival = max(last.last_arrival, newest_arrival)
        else:
            slices.append(Slice(state.next_row, newest_arrival, newest_arrival))
        newest = max(part.last_arrival for part in slices)
        while len(slices) > 1 and (
            slices[0].last_arrival < newest - window_ms or first - slices[0].first_row > limits.rows_max
        ):
            slices.pop(0)
        new = LedgerState(first, slices)
        blocks += [(block_key(start), None) for start in self._starts if start < new.first_row]
        return Entered(blocks, rows.columns["event_hash"], _STATUS_OF_KIND.take(rows.columns["kind"]), new)

    def apply(self, entered: Entered) -> None:
        """Take committed rows into the fingerprints, and let go of the expired ones."""
        oldest = entered.state.first_row
        self._prints.expire(oldest)
        self._prints.insert(entered.hashes, entered.statuses)
        gone = [first_row(key) for key, value in entered.blocks if value is None]
        self._starts = self._starts[len(gone) :]
        self._starts += [first_row(key) for key, value in entered.blocks if value is not None]
        for start in gone:
            self._blocks.pop(start, None)

    def without(self, user: bytes, changed: Mapping[bytes, bytes | None]) -> list[Row]:
        """Return the blocks that name a user, without the name; `changed` holds blocks that this batch rewrote."""
        rows: list[Row] = []
        for start in self._starts:
            key = block_key(start)
            value = without(changed.get(key) or self._read(key), user, ANYBODY)
            if value is not None:
                rows.append((key, value))
                self._blocks.pop(start, None)
        return rows

    def _block(self, start: int) -> Block:
        block = self._blocks.pop(start, None)
        if block is None:
            value = self._read(block_key(start))
            if value is None:
                raise _damaged(f"the block of row {start} is missing")
            block = _decoded(value)
        self._blocks[start] = block
        if len(self._blocks) > _BLOCKS_HELD_MAX:
            self._blocks.popitem(last=False)
        return block


def block_key(row: int) -> bytes:
    r"""Return the key of the block that begins with a row.

    >>> block_key(258)
    b'\x00ledger\x00\x00\x00\x00\x00\x00\x01\x02'
    """
    return LEDGER_KEY + row.to_bytes(_NUMBER_BYTES, "big")


def first_row(key: bytes) -> int:
    """Return the number of the first row of a block.

    >>> first_row(block_key(258))
    258
    """
    return int.from_bytes(key[len(LEDGER_KEY) :], "big")


def _decoded(value: bytes) -> Block:
    try:
        return decode_block(value)
    except BlockError as error:
        raise _damaged(str(error)) from error


def _damaged(detail: str) -> CloutError:
    return CloutError(
        "the ledger of this partition cannot be used",
        detail=detail,
        hint="stop the worker and delete its local state: it will be restored from the changelog; if that does not "
        "help, the changelog itself is damaged: bring it back from a replica or backup",
    )
