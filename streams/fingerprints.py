"""Which events a partition has taken in, by their 64-bit hashes: an open-addressing table in memory.

A slot holds a hash and, in 32 bits, the status and the number of the event's row in the ledger (modulo 2^30). Rows are
numbered as they come and expire from the oldest on, so a slot whose row has expired is free for others; nothing has to
be deleted one by one. 12 bytes a slot, 0.05 µs an event (`python -m bench --only ledger`).
"""

from typing import Final, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

LIVE: Final = 0
"""The event was taken in."""
TAKEN: Final = 1
"""It was taken back, or may not count any more."""
HELD: Final = 2
"""It has not come, but its retraction has."""

TAKEN_IN: Final = 0
DUPLICATE: Final = 1
WITHHELD: Final = 2
"""An event whose retraction came first."""
RETRACTED: Final = 3
REPEATED: Final = 4
"""A retraction of what is taken back already, or of what another one waits for."""
UNMATCHED: Final = 5
"""A retraction whose event has not come."""

_STATUS_SHIFT: Final = np.uint32(30)
_ROW_MASK: Final = (1 << 30) - 1
"""Numbers are compared modulo 2^30: `streams.settings.LEDGER_ROWS_MAX` is half of that."""
_SLOTS_MIN: Final = 1 << 12
_LOAD_MAX: Final = 0.7
_SLOTS_PER_ROW: Final = 1.5
"""After a rebuild; then it is filled, by live and expired rows, up to `_LOAD_MAX`."""
_MULTIPLIER: Final = np.uint64(0x9E3779B97F4A7C15)
_NOTHING: Final = -1
_TOUCHED_AHEAD: Final = 128
"""Rows whose slots are fetched into the processor's cache together, before the first is looked at."""

Hashes = NDArray[np.uint64]


class Judged(NamedTuple):
    """What becomes of the rows of a batch."""

    verdict: NDArray[np.uint8]
    batch_row: NDArray[np.int64]
    """The first row of the batch with the same hash, where the ledger has none; else -1."""
    ledger_row: NDArray[np.int64]
    """The row of the ledger with the same hash, or -1."""


class Fingerprints:
    """Hash to row and status, for the rows from `oldest` to `newest`.

    >>> table = Fingerprints()
    >>> hashes = np.array([7, 8, 7], np.uint64)
    >>> table.judge(hashes, np.zeros(3, np.bool_)).verdict.tolist()
    [0, 0, 1]
    >>> table.insert(hashes[:2], np.zeros(2, np.uint8))
    >>> table.judge(hashes, np.array([True, False, False])).ledger_row.tolist()
    [0, 1, 0]
    """

    def __init__(self, first_row: int = 0) -> None:
        """Begin without rows; the next one has the number `first_row`."""
        self.oldest = self.next = first_row
        self._used = 0
        self._hashes: Hashes = np.zeros(_SLOTS_MIN, np.uint64)
        self._rows: NDArray[np.uint32] = np.zeros(_SLOTS_MIN, np.uint32)

    @property
    def slots(self) -> int:
        """Return how many slots there are, free ones too."""
        return len(self._hashes)

    def judge(self, hashes: Hashes, retractions: NDArray[np.bool_]) -> Judged:
        """Say what becomes of events and retractions, in their order; the table stays as it is."""
        size = len(hashes)
        slots = 1 << max(4, (2 * size - 1).bit_length())
        judged = Judged(np.empty(size, np.uint8), np.full(size, _NOTHING, np.int64), np.full(size, _NOTHING, np.int64))
        _judge(
            np.require(hashes, np.uint64, ["C", "W", "A"]),
            np.require(retractions, np.bool_, ["C", "W", "A"]),
            self._hashes,
            self._rows,
            self.oldest,
            self.next,
            np.zeros(slots, np.int32),
            np.empty(size, np.uint8),
            *judged,
        )
        return judged

    def insert(self, hashes: Hashes, statuses: NDArray[np.uint8]) -> None:
        """Number the next rows; a hash that is there already is from now on the new row's."""
        size = len(hashes)
        if self._used + size > _LOAD_MAX * len(self._hashes):
            self._rebuild(size)
        used, _ = _insert(
            np.require(hashes, np.uint64, ["C", "W", "A"]),
            np.require(statuses, np.uint8, ["C", "W", "A"]),
            self._hashes,
            self._rows,
            self.oldest,
            self.next,
        )
        self._used += used
        self.next += size

    def expire(self, oldest: int) -> None:
        """Let go of all rows before this one."""
        self.oldest = max(self.oldest, oldest)

    def _rebuild(self, extra: int) -> None:
        rows = self.next - self.oldest + extra
        slots = max(_SLOTS_MIN, 1 << int(_SLOTS_PER_ROW * rows - 1).bit_length())
        hashes, numbers = np.zeros(slots, np.uint64), np.zeros(slots, np.uint32)
        self._used = _move(self._hashes, self._rows, hashes, numbers, self.oldest, self.next)
        self._hashes, self._rows = hashes, numbers


@numba.njit(cache=True, nogil=True)
def _start(key: np.uint64, mask: np.uint64) -> np.uint64:
    return ((key * _MULTIPLIER) >> np.uint64(20)) & mask


@numba.njit(cache=True, nogil=True)
def _key(value: np.uint64) -> np.uint64:
    """0 marks a free slot."""
    return value if value != np.uint64(0) else np.uint64(1)


@numba.njit(cache=True, nogil=True)
def _row(stored: np.uint32, next_row: int) -> int | np.int64:
    """Return the full number of a row that is not older than 2^30 rows."""
    return next_row - ((next_row - np.int64(stored & np.uint32(_ROW_MASK))) & _ROW_MASK)


@numba.njit(cache=True, nogil=True)
def _look_up(
    key: np.uint64, keys: Hashes, rows: NDArray[np.uint32], oldest: int, next_row: int
) -> tuple[int | np.int64, int | np.int64]:
    """Return the row and the status of a hash, -1 and -1 when there is none."""
    mask = np.uint64(len(keys) - 1)
    slot = _start(key, mask)
    while keys[slot] != 0:
        if keys[slot] == key:
            found = _row(rows[slot], next_row)
            if oldest <= found < next_row:
                return found, np.int64(rows[slot] >> _STATUS_SHIFT)
            break
        slot = (slot + np.uint64(1)) & mask
    return _NOTHING, _NOTHING


@numba.njit(cache=True, nogil=True)
def _touch(hashes: Hashes, first: int, keys: Hashes, rows: NDArray[np.uint32]) -> np.uint64:
    """Read the slots of the next rows at once, so that the processor need not wait for one after the other.

    Return something that depends on them, or the compiler would leave the reads out.
    """
    mask = np.uint64(len(keys) - 1)
    read = np.uint64(0)
    for row in range(first, min(first + _TOUCHED_AHEAD, len(hashes))):
        slot = _start(_key(hashes[row]), mask)
        read ^= keys[slot] ^ np.uint64(rows[slot])
    return read


@numba.njit(cache=True, nogil=True)
def _judge(
    hashes: Hashes,
    retractions: NDArray[np.bool_],
    keys: Hashes,
    rows: NDArray[np.uint32],
    oldest: int,
    next_row: int,
    scratch: NDArray[np.int32],
    statuses: NDArray[np.uint8],
    verdict: NDArray[np.uint8],
    batch_row: NDArray[np.int64],
    ledger_row: NDArray[np.int64],
) -> np.uint64:
    """Fill the last three; `scratch` maps hashes of this batch to their first row + 1, `statuses` is theirs."""
    scratch_mask = np.uint64(len(scratch) - 1)
    touched = np.uint64(0)
    for row in range(len(hashes)):
        if row % _TOUCHED_AHEAD == 0:
            touched ^= _touch(hashes, row, keys, rows)
        key = _key(hashes[row])
        place = _start(key, scratch_mask)
        while scratch[place] != 0 and _key(hashes[scratch[place] - 1]) != key:
            place = (place + np.uint64(1)) & scratch_mask
        first = scratch[place] - 1
        if first >= 0:
            ledger_row[row] = ledger_row[first]
            batch_row[row] = first if ledger_row[first] < 0 else _NOTHING
            status: int | np.int64 = np.int64(statuses[first])
        else:
            first = row
            scratch[place] = row + 1
            ledger_row[row], status = _look_up(key, keys, rows, oldest, next_row)
        if retractions[row]:
            verdict[row] = RETRACTED if status == LIVE else UNMATCHED if status == _NOTHING else REPEATED
            statuses[first] = TAKEN if status == LIVE else HELD if status == _NOTHING else status
        else:
            verdict[row] = TAKEN_IN if status == _NOTHING else WITHHELD if status == HELD else DUPLICATE
            statuses[first] = LIVE if status == _NOTHING else TAKEN if status == HELD else status
    return touched


@numba.njit(cache=True, nogil=True)
def _put(key: np.uint64, number: np.uint32, keys: Hashes, rows: NDArray[np.uint32], oldest: int, next_row: int) -> int:
    """Write a slot; return whether it was free, 1 or 0."""
    mask = np.uint64(len(keys) - 1)
    slot = _start(key, mask)
    expired = np.int64(-1)
    while keys[slot] != 0 and keys[slot] != key:
        if expired < 0 and _row(rows[slot], next_row) < oldest:
            expired = np.int64(slot)
        slot = (slot + np.uint64(1)) & mask
    free = 1 if keys[slot] == 0 else 0
    if free and expired >= 0:
        slot = np.uint64(expired)
        free = 0
    keys[slot] = key
    rows[slot] = number
    return free


@numba.njit(cache=True, nogil=True)
def _insert(
    hashes: Hashes,
    statuses: NDArray[np.uint8],
    keys: Hashes,
    rows: NDArray[np.uint32],
    oldest: int,
    next_row: int,
) -> tuple[int, np.uint64]:
    """Return how many free slots were taken; the other value means nothing."""
    used = 0
    touched = np.uint64(0)
    end = next_row + len(hashes)
    for row in range(len(hashes)):
        if row % _TOUCHED_AHEAD == 0:
            touched ^= _touch(hashes, row, keys, rows)
        number = np.uint32((next_row + row) & _ROW_MASK) | (np.uint32(statuses[row]) << _STATUS_SHIFT)
        used += _put(_key(hashes[row]), number, keys, rows, oldest, end)
    return used, touched


@numba.njit(cache=True, nogil=True)
def _move(
    keys: Hashes,
    rows: NDArray[np.uint32],
    new_keys: Hashes,
    new_rows: NDArray[np.uint32],
    oldest: int,
    next_row: int,
) -> int:
    used = 0
    for slot in range(len(keys)):
        if keys[slot] != 0 and _row(rows[slot], next_row) >= oldest:
            used += _put(keys[slot], rows[slot], new_keys, new_rows, oldest, next_row)
    return used
