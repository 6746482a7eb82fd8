"""A column of texts: each distinct one once, and the number of each row's."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import count
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.users import user_hashes


class Texts(NamedTuple):
    """Texts by row; there may be names that no row has."""

    names: list[bytes]
    """The distinct ones, as UTF-8."""
    number: NDArray[np.uint32]
    """Each row's place in `names`."""
    hashes: NDArray[np.uint64]
    """`schemas.users.user_hash` of each name."""

    def rows(self) -> list[bytes]:
        """Return the text of each row.

        >>> numbered(["b", None, "b"]).rows()
        [b'b', b'', b'b']
        """
        return [self.names[number] for number in self.number.tolist()]


def numbered(texts: Sequence[str | None]) -> Texts:
    """Number texts in one pass, by first appearance; None is the empty text.

    >>> numbered(["b", "a", "b"]).names, numbered(["b", "a", "b"]).number.tolist()
    ([b'b', b'a'], [0, 1, 0])
    """
    number: defaultdict[str | None, int] = defaultdict(count().__next__)
    numbers = np.fromiter(map(number.__getitem__, texts), np.uint32, len(texts))
    names = [(name or "").encode() for name in number]
    return Texts(names, numbers, user_hashes(names))


def joined(first: Texts, second: Texts) -> Texts:
    """Return the rows of two columns, one behind the other.

    >>> both = joined(numbered(["b", "a"]), numbered(["c", "b"]))
    >>> both.names, both.number.tolist()
    ([b'b', b'a', b'c'], [0, 1, 2, 0])
    """
    names = list(dict.fromkeys([*first.names, *second.names]))
    place = dict(zip(names, range(len(names)), strict=True))
    numbers = [
        np.array([place[name] for name in texts.names], np.uint32)[texts.number] if texts.names else texts.number
        for texts in (first, second)
    ]
    return Texts(names, np.concatenate(numbers), user_hashes(names))
