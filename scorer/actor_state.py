"""What is remembered of an actor on a network, in memory and on disk.

In memory one `ACTOR` record of fixed size; pairs beyond `used` mean nothing. On disk, in 8-byte little-endian words:

    word 0       byte 0 format version (1), byte 1 pairs used, byte 2 flags, byte 3 zero, bytes 4-7 events
    words 1-3    rate (f8), time (i8), epoch (i8)
    then         `used` times target hash (u8), x (f8), time (i8)
    then         `current` (8 words) if flag 1 is set, `former` (8 words) if flag 2 is set

A new actor with one pair takes 56 bytes, not 544.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from scorer import rows as state_rows
from scorer.arrays import Ints, Records, Words
from scorer.compiled import kernel, shared
from scorer.model import FILTER_BITS, PAIRS

FORMAT_VERSION: Final = 1
FILTER_WORDS: Final = FILTER_BITS // 64

ACTOR: Final = np.dtype(
    [
        ("rate", "<f8"),
        ("time", "<i8"),
        ("epoch", "<i8"),
        ("events", "<u4"),
        ("used", "<u4"),
        ("pair_target", "<u8", (PAIRS,)),
        ("pair_x", "<f8", (PAIRS,)),
        ("pair_time", "<i8", (PAIRS,)),
        ("current", "<u8", (FILTER_WORDS,)),
        ("former", "<u8", (FILTER_WORDS,)),
    ]
)
"""Rate and the time it refers to (ms); start of the filters' epoch (ms); events so far (0 = new); pair memory."""

_ACTOR_WORDS: Final = ACTOR.itemsize // 8
_HEADER: Final = 4
_TARGET: Final = 4
_X: Final = _TARGET + PAIRS
_TIME: Final = _X + PAIRS
_CURRENT: Final = _TIME + PAIRS
_FORMER: Final = _CURRENT + FILTER_WORDS
_CURRENT_FLAG: Final = 1
_FORMER_FLAG: Final = 2


def encode_actors(states: Records) -> list[bytes]:
    """Rows to store, one for each state.

    >>> [len(row) for row in encode_actors(np.zeros(2, ACTOR))]
    [32, 32]
    """
    words = np.ascontiguousarray(states).view(np.uint64).reshape(len(states), _ACTOR_WORDS)
    offsets = np.empty(len(states) + 1, np.int64)
    flags = np.empty(len(states), np.uint64)
    _measure(words, offsets, flags)
    out = np.empty(offsets[-1], np.uint64)
    _gather(words, offsets, flags, out)
    return state_rows.cut(out, offsets)


def decode_actors(rows: Sequence[bytes | None]) -> Records:
    """States from stored rows; an absent row is a new actor.

    Raises StateFormatError for a row of another version or a wrong length.

    >>> int(decode_actors([None])[0]["events"])
    0
    """
    words, offsets = state_rows.join(rows)
    states = np.zeros(len(rows), ACTOR)
    bad = _scatter(words, offsets, states.view(np.uint64).reshape(len(rows), _ACTOR_WORDS))
    if bad >= 0:
        raise state_rows.refuse("actor", rows, bad, FORMAT_VERSION)
    return states


@kernel
def _measure(words: Words, offsets: Ints, flags: Words) -> None:
    offsets[0] = 0
    for i in range(len(words)):
        flag = 0
        size = _HEADER + 3 * np.int64(words[i, 3] >> np.uint64(32))
        for q in range(_CURRENT, _FORMER):
            if words[i, q]:
                flag |= _CURRENT_FLAG
                size += FILTER_WORDS
                break
        for q in range(_FORMER, _ACTOR_WORDS):
            if words[i, q]:
                flag |= _FORMER_FLAG
                size += FILTER_WORDS
                break
        flags[i] = flag
        offsets[i + 1] = offsets[i] + size


@kernel
def _gather(words: Words, offsets: Ints, flags: Words, out: Words) -> None:
    for i in range(len(words)):
        at = offsets[i]
        events = words[i, 3] & np.uint64(0xFFFFFFFF)
        used = words[i, 3] >> np.uint64(32)
        out[at] = np.uint64(FORMAT_VERSION) | used << np.uint64(8) | flags[i] << np.uint64(16) | events << np.uint64(32)
        for q in range(3):
            out[at + 1 + q] = words[i, q]
        at += _HEADER
        for q in range(np.int64(used)):
            out[at] = words[i, _TARGET + q]
            out[at + 1] = words[i, _X + q]
            out[at + 2] = words[i, _TIME + q]
            at += 3
        if flags[i] & np.uint64(_CURRENT_FLAG):
            for q in range(FILTER_WORDS):
                out[at + q] = words[i, _CURRENT + q]
            at += FILTER_WORDS
        if flags[i] & np.uint64(_FORMER_FLAG):
            for q in range(FILTER_WORDS):
                out[at + q] = words[i, _FORMER + q]


@shared
def _fits(header: np.int64, size: np.int64) -> bool:
    """Whether a row of this size can have this header (its lower half)."""
    used = (header >> 8) & 0xFF
    flags = header >> 16
    expected = _HEADER + 3 * used + FILTER_WORDS * ((flags & 1) + (flags >> 1))
    return bool(header & 0xFF == FORMAT_VERSION and used <= PAIRS and flags <= 3 and size == expected)


@kernel
def _scatter(words: Words, offsets: Ints, out: Words) -> int:
    """Fill zeroed states; the index of the first row that cannot be read, or -1."""
    for i in range(len(out)):
        at = offsets[i]
        size = offsets[i + 1] - at
        if size == 0:
            continue
        header = np.int64(words[at] & np.uint64(0xFFFFFFFF))
        if not _fits(header, size):
            return i
        used = (header >> 8) & 0xFF
        flags = header >> 16
        out[i, 3] = words[at] >> np.uint64(32) | np.uint64(used) << np.uint64(32)
        for q in range(3):
            out[i, q] = words[at + 1 + q]
        at += _HEADER
        for q in range(used):
            out[i, _TARGET + q] = words[at]
            out[i, _X + q] = words[at + 1]
            out[i, _TIME + q] = words[at + 2]
            at += 3
        if flags & _CURRENT_FLAG:
            for q in range(FILTER_WORDS):
                out[i, _CURRENT + q] = words[at + q]
            at += FILTER_WORDS
        if flags & _FORMER_FLAG:
            for q in range(FILTER_WORDS):
                out[i, _FORMER + q] = words[at + q]
    return -1
