"""What both state codecs share: stored rows are whole numbers of 8-byte little-endian words, many are coded at once.

Joined rows are read as one array of words and scattered by a kernel; gathered words are cut into rows again. So a row
costs well under a microsecond each way (`bench/kernels.py`).
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np

from scorer.arrays import Ints, Words
from scorer.errors import StateFormatError

WORD_BYTES: Final = 8


def join(rows: Sequence[bytes | None]) -> tuple[Words, Ints]:
    """The words of all rows, and where each row begins and the last ends (n + 1); an absent row has none.

    Raises StateFormatError for a row that is not made of whole words.
    """
    data = b"".join([row or b"" for row in rows])
    offsets = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(np.fromiter((len(row) if row else 0 for row in rows), np.int64, len(rows)), out=offsets[1:])
    if np.any(offsets % WORD_BYTES):
        first = int(np.argmax(offsets % WORD_BYTES != 0)) - 1
        size = len(rows[first] or b"")
        raise StateFormatError(
            f"state row {first} of {len(rows)} has {size} bytes, not a multiple of {WORD_BYTES}: it is damaged"
        )
    words = np.empty(len(data) // WORD_BYTES, np.uint64)
    words.view(np.uint8)[:] = np.frombuffer(data, np.uint8)
    return words, offsets // WORD_BYTES


def cut(words: Words, offsets: Ints) -> list[bytes]:
    r"""Rows as bytes objects, from their words and where each begins and the last ends (n + 1).

    >>> cut(np.array([1, 2, 3], np.uint64), np.array([0, 1, 3]))[0]
    b'\x01\x00\x00\x00\x00\x00\x00\x00'
    """
    data = words.tobytes()
    return [data[begin:end] for begin, end in pairwise((offsets * WORD_BYTES).tolist())]


def refuse(what: str, rows: Sequence[bytes | None], bad: int, version: int) -> StateFormatError:
    """The error for a row that a kernel could not read."""
    row = rows[bad] or b""
    if row[0] != version:
        reason = f"has format version {row[0]}; this release reads version {version}: use the release that wrote it"
    else:
        reason = f"has {len(row)} bytes, which do not fit its header {row[:WORD_BYTES].hex()}: it is damaged"
    return StateFormatError(f"{what} row {bad} of {len(rows)} {reason}")
