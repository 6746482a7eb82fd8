"""What a batch's changes refer to: the incident for which an operator took events back."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.change import CAUSES
from schemas.packed import ADJUSTMENTS, Record

_RETRACTION = CAUSES.index("retraction")
_NONE = -1

Numbers = NDArray[np.int64]


class References(NamedTuple):
    """The references of c changes."""

    names: list[str]
    number: Numbers
    """Of each change, the place of its reference in `names`; -1: it refers to nothing."""

    def of(self, change: int) -> str | None:
        """Return the reference of a change as its contract has it."""
        return None if self.number[change] < 0 else self.names[self.number[change]]


def no_references(changes: int) -> References:
    """Return that no change refers to anything.

    >>> no_references(2).of(1) is None
    True
    """
    return References([], np.full(changes, _NONE, np.int64))


def of_rows(records: Sequence[Record]) -> References:
    """Return what the rows of lane records refer to; of those that are no adjustments the label is another thing."""
    named = [record.labels if record.kind == ADJUSTMENTS else [] for record in records]
    names = list(dict.fromkeys(label for theirs in named for label in theirs if label))
    if not names:
        return no_references(sum(record.rows for record in records))
    number = {name: place for place, name in enumerate(names)}
    numbers = [
        np.array([number.get(label, _NONE) for label in theirs], np.int64)[record.columns["label"]]
        if theirs
        else np.full(record.rows, _NONE, np.int64)
        for record, theirs in zip(records, named, strict=True)
    ]
    return References(names, np.concatenate(numbers))


def of_changes(rows: References, users: Numbers, count: int, changed: Numbers, causes: NDArray[np.uint8]) -> References:
    """Return what the changes of a batch refer to: those whose cause is a retraction, to what the last one did.

    `users` are the rows' users, of which there are `count`; `changed` are those of the changes.

    >>> rows = References(["flood/1"], np.array([-1, 0]))
    >>> causes = np.array([_RETRACTION, _RETRACTION], np.uint8)
    >>> of_changes(rows, np.array([0, 1]), 2, np.array([0, 1]), causes).number.tolist()
    [-1, 0]
    """
    if not rows.names:
        return no_references(len(changed))
    with_one = np.flatnonzero(rows.number >= 0)
    of_user = np.full(count, _NONE, np.int64)
    of_user[users[with_one]] = rows.number[with_one]
    return References(rows.names, np.where(causes == _RETRACTION, of_user[changed], _NONE))
