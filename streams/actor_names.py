r"""Names of those who are among somebody's largest contributors, which are kept as hashes (`scorer.contributors`).

Table `names`: `\0name` and the hash (u8, big-endian), with the id. A partition keeps the names that its own users'
contributors need; who is forgotten loses theirs everywhere, and the hash then stands for nobody.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

NAME_KEY: Final = b"\0name"
_HASH_BYTES: Final = 8
_KNOWN_BITS: Final = 17
"""Names lately written, as a power of two: 1 MB a partition. Who is not among them is written again."""

Row = tuple[bytes, bytes | None]


def name_key(actor_hash: int) -> bytes:
    r"""Return the key of a name.

    >>> name_key(258)
    b'\x00name\x00\x00\x00\x00\x00\x00\x01\x02'
    """
    return NAME_KEY + actor_hash.to_bytes(_HASH_BYTES, "big")


class KnownNames:
    """Which names were written lately, so that most are written once."""

    def __init__(self) -> None:
        """Begin with none."""
        self._hashes = np.zeros(1 << _KNOWN_BITS, np.uint64)

    def new_rows(self, hashes: NDArray[np.uint64], names: Sequence[bytes]) -> list[Row]:
        """Return rows for the names that were not written lately; `hashes` are theirs.

        >>> known, hashes = KnownNames(), np.array([258], np.uint64)
        >>> rows = known.new_rows(hashes, [b"twitter:7"])
        >>> known.written(rows)
        >>> rows == [(name_key(258), b"twitter:7")], known.new_rows(hashes, [b"twitter:7"])
        (True, [])
        """
        new = np.flatnonzero(self._hashes[_place(hashes)] != hashes)
        # RocksDB takes keys in order faster.
        new = new[np.argsort(hashes[new])]
        data = hashes[new].astype(">u8").tobytes()
        return [
            (NAME_KEY + data[_HASH_BYTES * number : _HASH_BYTES * (number + 1)], names[at])
            for number, at in enumerate(new.tolist())
        ]

    def written(self, rows: Sequence[Row]) -> None:
        """Take note that these rows were committed; of one that was deleted, that it is not known."""
        if rows:
            data = b"".join([key for key, _ in rows])
            keys = np.frombuffer(data, np.dtype([("prefix", f"S{len(NAME_KEY)}"), ("hash", ">u8")]))
            hashes = keys["hash"].astype(np.uint64)
            there = np.array([value is not None for _, value in rows])
            self._hashes[_place(hashes)] = np.where(there, hashes, np.uint64(0))


def _place(hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
    return (hashes >> np.uint64(64 - _KNOWN_BITS)).astype(np.int64)
