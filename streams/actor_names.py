r"""Names of those who are among somebody's largest contributors, which are kept as hashes (`scorer.contributors`).

Table `names`: `\0name` and the hash (u8, big-endian), with the id. A partition keeps the names that its own users'
contributors need; who is forgotten loses theirs everywhere, and the hash then stands for nobody.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

NAME_KEY: Final = b"\0name"
_KNOWN_BITS: Final = 17
"""Names lately written, as a power of two: 1 MB a partition. Who is not among them is written again."""

Row = tuple[bytes, bytes | None]


def name_key(actor_hash: int) -> bytes:
    r"""Return the key of a name.

    >>> name_key(258)
    b'\x00name\x00\x00\x00\x00\x00\x00\x01\x02'
    """
    return NAME_KEY + actor_hash.to_bytes(8, "big")


class KnownNames:
    """Which names were written lately, so that most are written once."""

    def __init__(self) -> None:
        """Begin with none."""
        self._hashes = np.zeros(1 << _KNOWN_BITS, np.uint64)

    def new_rows(self, names: Sequence[tuple[np.uint64, bytes]]) -> list[Row]:
        """Return rows for the names that were not written lately.

        >>> known = KnownNames()
        >>> rows = known.new_rows([(np.uint64(258), b"twitter:7")])
        >>> known.written(rows)
        >>> len(rows), known.new_rows([(np.uint64(258), b"twitter:7")])
        (1, [])
        """
        if not names:
            return []
        hashes = np.array([hash_ for hash_, _ in names], np.uint64)
        new = np.flatnonzero(self._hashes[_place(hashes)] != hashes).tolist()
        return [(name_key(int(hashes[at])), names[at][1]) for at in new]

    def written(self, rows: Sequence[Row]) -> None:
        """Take note that these rows were committed; of one that was deleted, that it is not known."""
        if rows:
            hashes = np.array([int.from_bytes(key[len(NAME_KEY) :], "big") for key, _ in rows], np.uint64)
            self._hashes[_place(hashes)] = [
                hash_ if value is not None else 0 for hash_, (_, value) in zip(hashes.tolist(), rows, strict=True)
            ]


def _place(hashes: np.ndarray[tuple[int], np.dtype[np.uint64]]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return (hashes >> np.uint64(64 - _KNOWN_BITS)).astype(np.int64)
