"""What is known of the users that others engage with, in memory and on disk.

In memory one `HEAD` record a user and, dense, one `ENTRY` record for each user and network (`entries[n, networks]`);
the index of a network is its code in the partition. On disk, in 8-byte little-endian words, sparse:

    word 0       byte 0 format version (1), byte 1 zero, bytes 2-3 published score in tenths,
                 bytes 4-5 networks stored, bytes 6-7 zero
    word 1       published sub-scores in tenths: bytes 0-1 reach, 2-3 amplification, 4-5 network, 6-7 zero
    words 2-3    sequence (u8), as_of (i8)
    then         for each network with events: code (u4) and published score in tenths (u4),
                 events (u8), time (i8), reach, amplification, network (f8)

A user on one network takes 80 bytes.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from scorer import rows as state_rows
from scorer.compiled import Floats, Ints, Records, Words, kernel
from scorer.errors import StateFormatError
from scorer.scale import SCORE_MIN

FORMAT_VERSION: Final = 1

HEAD: Final = np.dtype(
    [
        ("format", "<u2"),
        ("score_tenths", "<u2"),
        ("stored", "<u4"),
        ("reach_tenths", "<u2"),
        ("amplification_tenths", "<u2"),
        ("network_tenths", "<u2"),
        ("spare", "<u2"),
        ("sequence", "<u8"),
        ("as_of", "<i8"),
    ]
)
"""What was last published of a user: scores in tenths (0 = none yet), its sequence, and when it was true (ms).

`format` and `stored` matter on disk only."""

ENTRY: Final = np.dtype(
    [
        ("code", "<u4"),
        ("score_tenths", "<u4"),
        ("events", "<u8"),
        ("time", "<i8"),
        ("reach", "<f8"),
        ("amplification", "<f8"),
        ("network", "<f8"),
    ]
)
"""A user on a network: published score in tenths (0 = none yet), events folded in (0 = nothing known), decayed sums
and the time they refer to (ms): that of the latest event. `code` matters on disk only."""

_HEAD_WORDS: Final = HEAD.itemsize // 8
_ENTRY_WORDS: Final = ENTRY.itemsize // 8
_UNSCORED: Final = np.array([(FORMAT_VERSION, round(10 * SCORE_MIN), 0, 0, 0, 0, 0, 0, 0)], HEAD).tobytes()[:8]


def encode_targets(heads: Records, entries: Records) -> list[bytes]:
    """Rows to store, one a user.

    >>> [len(row) for row in encode_targets(np.zeros(2, HEAD), np.zeros((2, 3), ENTRY))]
    [32, 32]
    """
    users, networks = entries.shape
    offsets = np.zeros(users + 1, np.int64)
    np.cumsum(_HEAD_WORDS + _ENTRY_WORDS * np.count_nonzero(entries["events"], axis=1), out=offsets[1:])
    out = np.empty(offsets[-1], np.uint64)
    _gather(
        np.ascontiguousarray(heads).view(np.uint64).reshape(users, _HEAD_WORDS),
        np.ascontiguousarray(entries).view(np.uint64).reshape(users, networks, _ENTRY_WORDS),
        offsets,
        out,
    )
    return state_rows.cut(out, offsets)


def decode_targets(rows: Sequence[bytes | None], networks: int) -> tuple[Records, Records]:
    """Heads[n] and entries[n, networks] from stored rows; an absent row is a user nobody engaged with yet.

    Raises StateFormatError for a row of another version, of a wrong length, or with a network the caller has no
    code for.

    >>> heads, entries = decode_targets([None], networks=3)
    >>> entries.shape, int(heads[0]["sequence"])
    ((1, 3), 0)
    """
    words, offsets = state_rows.join(rows)
    heads = np.zeros(len(rows), HEAD)
    entries = np.zeros((len(rows), networks), ENTRY)
    bad = _scatter(
        words,
        offsets,
        heads.view(np.uint64).reshape(len(rows), _HEAD_WORDS),
        entries.view(np.uint64).reshape(len(rows), networks, _ENTRY_WORDS),
    )
    if bad >= 0:
        raise state_rows.refuse("target", rows, bad, FORMAT_VERSION)
    return heads, entries


def published_scores(rows: Sequence[bytes | None]) -> Floats:
    """The scores last published, from stored rows: 1 where there is none.

    >>> published_scores([None]).tolist()
    [1.0]
    """
    starts = b"".join([row[:8] if row else _UNSCORED for row in rows])
    if len(starts) != 8 * len(rows):
        bad = next(i for i, row in enumerate(rows) if row and len(row) < 8)
        size = len(rows[bad] or b"")
        raise StateFormatError(f"target row {bad} of {len(rows)} has {size} bytes, less than any: it is damaged")
    fields = np.frombuffer(starts, "<u2").reshape(len(rows), 4)
    if np.any(fields[:, 0] != FORMAT_VERSION):
        raise state_rows.refuse("target", rows, int(np.argmax(fields[:, 0] != FORMAT_VERSION)), FORMAT_VERSION)
    tenths = fields[:, 1]
    return np.where(tenths == 0, SCORE_MIN, tenths / 10.0)


@kernel
def _gather(heads: Words, entries: Words, offsets: Ints, out: Words) -> None:
    for user in range(len(heads)):
        at = offsets[user]
        stored = np.uint64((offsets[user + 1] - at - _HEAD_WORDS) // _ENTRY_WORDS)
        out[at] = np.uint64(FORMAT_VERSION) | heads[user, 0] & np.uint64(0xFFFF0000) | stored << np.uint64(32)
        for q in range(1, _HEAD_WORDS):
            out[at + q] = heads[user, q]
        at += _HEAD_WORDS
        for code in range(entries.shape[1]):
            if entries[user, code, 1] == 0:
                continue
            out[at] = np.uint64(code) | (entries[user, code, 0] >> np.uint64(32)) << np.uint64(32)
            for q in range(1, _ENTRY_WORDS):
                out[at + q] = entries[user, code, q]
            at += _ENTRY_WORDS


@kernel
def _scatter(words: Words, offsets: Ints, heads: Words, entries: Words) -> int:
    """Fill zeroed states; the index of the first row that cannot be read, or -1."""
    for user in range(len(heads)):
        at = offsets[user]
        size = offsets[user + 1] - at
        if size == 0:
            continue
        stored = np.int64(words[at] >> np.uint64(32))
        version = np.int64(words[at] & np.uint64(0xFFFF))
        if version != FORMAT_VERSION or size != _HEAD_WORDS + _ENTRY_WORDS * stored:
            return user
        for q in range(_HEAD_WORDS):
            heads[user, q] = words[at + q]
        at += _HEAD_WORDS
        for _ in range(stored):
            code = np.int64(words[at] & np.uint64(0xFFFFFFFF))
            if code >= entries.shape[1]:
                return user
            for q in range(_ENTRY_WORDS):
                entries[user, code, q] = words[at + q]
            at += _ENTRY_WORDS
    return -1
