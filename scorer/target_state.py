"""What is known of the users that others engage with, in memory and on disk.

In memory one `HEAD` record a user and, dense, one `ENTRY` record for each user and network (`entries[n, networks]`),
beside it the largest contributors (`scorer.contributors`); the index of a network is its code in the partition. On
disk, in 8-byte little-endian words, sparse:

    word 0       byte 0 format version (2), byte 1 zero, bytes 2-3 published score in tenths,
                 bytes 4-5 networks stored, bytes 6-7 anchor in tenths
    word 1       published sub-scores in tenths: bytes 0-1 reach, 2-3 amplification, 4-5 network, 6-7 zero
    words 2-3    sequence (u8), as_of (i8)
    word 4       hour of the anchor (u4), bytes 4-7 how far the latest due time is ahead (u4)
    then         for each network with events:
                 bytes 0-1 code, byte 2 contributors stored, byte 3 whether anything was taken back,
                 bytes 4-7 published score in tenths;
                 events (u8), time (i8), reach, amplification, network (f8), due (i8),
                 granted reach, amplification, network (f8);
                 where anything was taken back: taken reach, amplification, network (f8);
                 where there are contributors: spilled and taken (f4), their hashes (u8), their weights (f4, padded)

A user on one network with one contributor takes 144 bytes. Rows of version 1 had words 0 to 3 and, for each network,
the first six words: of what they granted in all, only what is left is known.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from scorer import rows as state_rows
from scorer.arrays import Floats, Ints, Records, Words
from scorer.compiled import kernel, shared
from scorer.contributors import CONTRIBUTORS_MAX, Contributors, no_contributors
from scorer.errors import StateFormatError
from scorer.published import SCORE_MIN

FORMAT_VERSION: Final = 2
_FIRST_VERSION: Final = 1

HEAD: Final = np.dtype(
    [
        ("format", "<u2"),
        ("score_tenths", "<u2"),
        ("stored", "<u2"),
        ("anchor_tenths", "<u2"),
        ("reach_tenths", "<u2"),
        ("amplification_tenths", "<u2"),
        ("network_tenths", "<u2"),
        ("spare", "<u2"),
        ("sequence", "<u8"),
        ("as_of", "<i8"),
        ("anchor_hour", "<u4"),
        ("ahead_ms", "<u4"),
    ]
)
"""What was last published of a user: scores in tenths (0 = none yet), its sequence, and when it was true (ms).

The anchor is the score that was published when `anchor_hour` (hours of event time since 1970) began, and is known only
if the score has changed in that hour. `ahead_ms` is how far the latest due time of its parts lies beyond the latest
moment that one was taken at when the user was last looked at. `format` and `stored` matter on disk only."""

ENTRY: Final = np.dtype(
    [
        ("code", "<u4"),
        ("score_tenths", "<u4"),
        ("events", "<u8"),
        ("time", "<i8"),
        ("reach", "<f8"),
        ("amplification", "<f8"),
        ("network", "<f8"),
        ("due", "<i8"),
        ("granted_reach", "<f8"),
        ("granted_amplification", "<f8"),
        ("granted_network", "<f8"),
        ("taken_reach", "<f8"),
        ("taken_amplification", "<f8"),
        ("taken_network", "<f8"),
    ]
)
"""A user on a network: published score in tenths (0 = none yet), events folded in (0 = nothing known), decayed sums
and the time they refer to (ms): that of the latest event. Then when decay alone may next show (ms of the network's
clock, `scorer.timers`), all that was ever granted, undecayed, and all that was taken back, as it was worth then: so
decay has taken granted - taken - sum. `code` matters on disk only."""

_FOUND_FIELDS: Final = 7
FOUND: Final = np.dtype(ENTRY.descr[:_FOUND_FIELDS])
"""What is kept of how a batch found a part, to compare it with afterwards: the beginning of `ENTRY`.

Less than half of it: both are written and read once for each user of a batch, which takes longer than to compute."""

UPGRADED: Final = 1
"""The due time of rows of version 1, which knew none: long past."""

_HEAD_WORDS: Final = HEAD.itemsize // 8
_HEAD_WORDS_BEFORE: Final = 4
_ENTRY_WORDS: Final = ENTRY.itemsize // 8
_ENTRY_WORDS_BEFORE: Final = 6
_FOUND_WORDS: Final = FOUND.itemsize // 8
_TAKEN_WORDS: Final = 3
_SUMS_WORD: Final = 3
_DUE_WORD: Final = 6
_GRANTED_WORD: Final = 7
_CODES: Final = 1 << 16
_LOW: Final = 0xFFFFFFFF
_KEPT: Final = 0xFFFF0000FFFF0000
"""Of a head's first word, what is not written anew."""
_UNSCORED: Final = np.array([(FORMAT_VERSION, round(10 * SCORE_MIN), *[0] * 10)], HEAD).tobytes()[:8]


class Targets(NamedTuple):
    """Users as they are known."""

    heads: Records
    """HEAD[n]."""
    entries: Records
    """ENTRY[n, networks]."""
    contributors: Contributors


class Dues(NamedTuple):
    """When stored rows want to be looked at: columns."""

    row: Ints
    network: Ints
    """Its code."""
    time: Ints
    """ms of the network's clock."""


def found(entries: Records) -> Records:
    """Return how a batch finds the parts of its users, FOUND[n, networks] of ENTRY[n, networks], as a copy.

    >>> entries = np.ones((1, 1), ENTRY)
    >>> before = found(entries)
    >>> entries["events"] = 2
    >>> before["events"].tolist()
    [[1]]
    """
    users, networks = entries.shape
    words = np.ascontiguousarray(entries).view(np.uint64).reshape(users, networks, _ENTRY_WORDS)
    kept = words[:, :, :_FOUND_WORDS].copy()
    return kept.reshape(users, networks * _FOUND_WORDS).view(FOUND).reshape(users, networks)


def encode_targets(heads: Records, entries: Records, contributors: Contributors | None = None) -> list[bytes]:
    """Rows to store, one a user.

    >>> [len(row) for row in encode_targets(np.zeros(2, HEAD), np.zeros((2, 3), ENTRY))]
    [40, 40]
    """
    users, networks = entries.shape
    entry_words = np.ascontiguousarray(entries).view(np.uint64).reshape(users, networks, _ENTRY_WORDS)
    actors, weights, bounds = contributors or no_contributors(users, networks)
    offsets = np.zeros(users + 1, np.int64)
    _measure(entry_words, actors, offsets)
    np.cumsum(offsets, out=offsets)
    out = np.empty(offsets[-1], np.uint64)
    _gather(
        np.ascontiguousarray(heads).view(np.uint64).reshape(users, _HEAD_WORDS),
        entry_words,
        actors,
        weights.view(np.uint32),
        bounds.view(np.uint32),
        offsets,
        out,
    )
    return state_rows.cut(out, offsets)


def decode_targets(rows: Sequence[bytes | None], networks: int) -> Targets:
    """Users from stored rows; an absent row is a user nobody engaged with yet.

    Raises StateFormatError for a row of another version, of a wrong length, or with a network the caller has no
    code for.

    >>> heads, entries, _ = decode_targets([None], networks=3)
    >>> entries.shape, int(heads[0]["sequence"])
    ((1, 3), 0)
    """
    words, offsets = state_rows.join(rows)
    heads = np.zeros(len(rows), HEAD)
    entries = np.zeros((len(rows), networks), ENTRY)
    contributors = no_contributors(len(rows), networks)
    bad = _scatter(
        words,
        offsets,
        heads.view(np.uint64).reshape(len(rows), _HEAD_WORDS),
        entries.view(np.uint64).reshape(len(rows), networks, _ENTRY_WORDS),
        contributors.actors,
        contributors.weights.view(np.uint32),
        contributors.bounds.view(np.uint32),
    )
    if bad >= 0:
        raise state_rows.refuse("target", rows, bad, FORMAT_VERSION)
    return Targets(heads, entries, contributors)


def stored_dues(rows: Sequence[bytes | None]) -> Dues:
    """When stored rows want to be looked at, without reading more of them; raises StateFormatError as decoding does.

    >>> stored_dues([None]).row.tolist()
    []
    """
    words, offsets = state_rows.join(rows)
    count = sum(int.from_bytes(row[4:6], "little") for row in rows if row)
    dues = Dues(np.empty(count, np.int64), np.empty(count, np.int64), np.empty(count, np.int64))
    bad = _dues(words, offsets, *dues)
    if bad >= 0:
        raise state_rows.refuse("target", rows, bad, FORMAT_VERSION)
    return dues


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
    unknown = (fields[:, 0] != FORMAT_VERSION) & (fields[:, 0] != _FIRST_VERSION)
    if np.any(unknown):
        raise state_rows.refuse("target", rows, int(np.argmax(unknown)), FORMAT_VERSION)
    tenths = fields[:, 1]
    return np.where(tenths == 0, SCORE_MIN, tenths / 10.0)


@kernel
def _measure(entries: Words, actors: Words, sizes: Ints) -> None:
    """Words of each row, in sizes[1:]."""
    for user in range(len(entries)):
        words = np.int64(_HEAD_WORDS)
        for code in range(entries.shape[1]):
            if entries[user, code, 1] == 0:
                continue
            words += _ENTRY_WORDS - _TAKEN_WORDS
            if entries[user, code, 10] | entries[user, code, 11] | entries[user, code, 12]:
                words += _TAKEN_WORDS
            kept = 0
            for slot in range(CONTRIBUTORS_MAX):
                if actors[user, code, slot]:
                    kept += 1
            words += _summary_words(kept)
        sizes[user + 1] = words


@shared
def _summary_words(kept: int | np.int64) -> int | np.int64:
    """Words of the contributors of a network: none for nobody."""
    return 1 + kept + (kept + 1) // 2 if kept else 0


@shared
def _put_summary(
    actors: Words, weights: npt.NDArray[np.uint32], bounds: npt.NDArray[np.uint32], out: Words, at: int
) -> int:
    """Write the contributors of a network; how many."""
    kept = 0
    for slot in range(CONTRIBUTORS_MAX):
        if actors[slot]:
            out[at + 1 + kept] = actors[slot]
            kept += 1
    if kept == 0:
        return 0
    out[at] = np.uint64(bounds[0]) | np.uint64(bounds[1]) << np.uint64(32)
    first = at + 1 + kept
    done = 0
    for slot in range(CONTRIBUTORS_MAX):
        if actors[slot]:
            weight = np.uint64(weights[slot])
            if done % 2 == 0:
                out[first + done // 2] = weight
            else:
                out[first + done // 2] |= weight << np.uint64(32)
            done += 1
    return kept


@shared
def _take_summary(
    words: Words,
    at: int | np.int64,
    kept: int | np.int64,
    actors: Words,
    weights: npt.NDArray[np.uint32],
    bounds: npt.NDArray[np.uint32],
) -> None:
    bounds[0] = np.uint32(words[at] & np.uint64(_LOW))
    bounds[1] = np.uint32(words[at] >> np.uint64(32))
    for slot in range(kept):
        actors[slot] = words[at + 1 + slot]
        pair = words[at + 1 + kept + slot // 2]
        weights[slot] = np.uint32(pair >> np.uint64(32 * (slot % 2)) & np.uint64(_LOW))


@kernel
def _gather(
    heads: Words,
    entries: Words,
    actors: Words,
    weights: npt.NDArray[np.uint32],
    bounds: npt.NDArray[np.uint32],
    offsets: Ints,
    out: Words,
) -> None:
    for user in range(len(heads)):
        at = offsets[user]
        head = at
        for q in range(_HEAD_WORDS):
            out[at + q] = heads[user, q]
        at += _HEAD_WORDS
        stored = np.uint64(0)
        for code in range(entries.shape[1]):
            if entries[user, code, 1] == 0:
                continue
            stored += np.uint64(1)
            taken = entries[user, code, 10] | entries[user, code, 11] | entries[user, code, 12]
            words = _ENTRY_WORDS if taken else _ENTRY_WORDS - _TAKEN_WORDS
            for q in range(1, words):
                out[at + q] = entries[user, code, q]
            kept = _put_summary(actors[user, code], weights[user, code], bounds[user, code], out, at + words)
            out[at] = (
                np.uint64(code)
                | np.uint64(kept) << np.uint64(16)
                | np.uint64(1 if taken else 0) << np.uint64(24)
                | (entries[user, code, 0] >> np.uint64(32)) << np.uint64(32)
            )
            at += words + _summary_words(kept)
        out[head] = np.uint64(FORMAT_VERSION) | heads[user, 0] & np.uint64(_KEPT) | stored << np.uint64(32)


@shared
def _layout(words: Words, at: int | np.int64, end: int | np.int64) -> tuple[int, int, int | np.int64]:
    """Words of the head and, at least, of an entry, and entries stored, of a row; no entry words if it is damaged."""
    version = np.int64(words[at] & np.uint64(0xFFFF))
    stored = np.int64(words[at] >> np.uint64(32) & np.uint64(0xFFFF))
    if version == FORMAT_VERSION and end - at >= _HEAD_WORDS:
        return _HEAD_WORDS, _ENTRY_WORDS - _TAKEN_WORDS, stored
    if version == _FIRST_VERSION and end - at == _HEAD_WORDS_BEFORE + _ENTRY_WORDS_BEFORE * stored:
        return _HEAD_WORDS_BEFORE, _ENTRY_WORDS_BEFORE, stored
    return 0, 0, 0


@shared
def _entry_end(
    words: Words, at: int | np.int64, end: int | np.int64, entry_words: int, networks: int
) -> int | np.int64:
    """Where the entry at a place ends; -1 if it is damaged."""
    if at + entry_words > end or np.int64(words[at] & np.uint64(0xFFFF)) >= networks:
        return -1
    if entry_words == _ENTRY_WORDS_BEFORE:
        return at + entry_words
    kept = np.int64(words[at] >> np.uint64(16) & np.uint64(0xFF))
    taken = np.int64(words[at] >> np.uint64(24) & np.uint64(0xFF))
    behind = at + entry_words + taken * _TAKEN_WORDS + _summary_words(kept)
    return behind if kept <= CONTRIBUTORS_MAX and taken <= 1 and behind <= end else -1


@shared
def _take_entry(
    words: Words, at: int | np.int64, behind: int | np.int64, entry_words: int, entry: Words
) -> int | np.int64:
    """Read an entry but for its contributors; where these begin."""
    for q in range(entry_words):
        entry[q] = words[at + q]
    entry[0] = words[at] & np.uint64(0xFFFF) | (words[at] >> np.uint64(32)) << np.uint64(32)
    if entry_words == _ENTRY_WORDS_BEFORE:
        entry[_DUE_WORD] = np.uint64(UPGRADED)
        for q in range(3):
            entry[_GRANTED_WORD + q] = entry[_SUMS_WORD + q]
        return behind
    summary = behind - _summary_words(np.int64(words[at] >> np.uint64(16) & np.uint64(0xFF)))
    for q in range(entry_words, summary - at):
        entry[q] = words[at + q]
    return summary


@kernel
def _scatter(
    words: Words,
    offsets: Ints,
    heads: Words,
    entries: Words,
    actors: Words,
    weights: npt.NDArray[np.uint32],
    bounds: npt.NDArray[np.uint32],
) -> int:
    """Fill zeroed states; the index of the first row that cannot be read, or -1."""
    for user in range(len(heads)):
        at = offsets[user]
        end = offsets[user + 1]
        if at == end:
            continue
        head_words, entry_words, stored = _layout(words, at, end)
        if entry_words == 0:
            return user
        for q in range(head_words):
            heads[user, q] = words[at + q]
        at += head_words
        for _ in range(stored):
            behind = _entry_end(words, at, end, entry_words, entries.shape[1])
            if behind < 0:
                return user
            code = np.int64(words[at] & np.uint64(0xFFFF))
            summary = _take_entry(words, at, behind, entry_words, entries[user, code])
            kept = np.int64(words[at] >> np.uint64(16) & np.uint64(0xFF))
            if summary < behind:
                _take_summary(words, summary, kept, actors[user, code], weights[user, code], bounds[user, code])
            at = behind
        if at != end:
            return user
    return -1


@kernel
def _dues(words: Words, offsets: Ints, row: Ints, network: Ints, time: Ints) -> int:
    found = 0
    for user in range(len(offsets) - 1):
        at = offsets[user]
        end = offsets[user + 1]
        if at == end:
            continue
        head_words, entry_words, stored = _layout(words, at, end)
        if entry_words == 0:
            return user
        at += head_words
        for _ in range(stored):
            behind = _entry_end(words, at, end, entry_words, _CODES)
            if behind < 0:
                return user
            row[found] = user
            network[found] = np.int64(words[at] & np.uint64(0xFFFF))
            time[found] = UPGRADED if entry_words == _ENTRY_WORDS_BEFORE else np.int64(words[at + _DUE_WORD])
            found += 1
            at = behind
    return -1
