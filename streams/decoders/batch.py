"""What a decoder makes of a batch of records: interactions, and what it could not read."""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import ArrayLike, NDArray

from schemas.dead_letter import Reason
from schemas.interaction import Interaction

Headers = Sequence[tuple[str, bytes | str | None]] | None
"""Headers of one record, as the Kafka client gives them."""

WHOLE: Final = -1
"""The index of an event, or a rejection, that is a whole record and not an element of its array."""


class Rejection(Struct, frozen=True):
    """A record, or one element of its array, that cannot be taken in."""

    record: int
    """Place of the record in the batch."""
    index: int
    """Place of the element in the record's array, or `WHOLE`."""
    reason: Reason
    detail: str


class RejectedError(Exception):
    """Raised inside a decoder for one record or element; becomes a `Rejection` and never leaves the decoder."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason: Reason = reason
        self.detail = detail


class Batch:
    """Interactions in the order of their records, where each came from, and what was rejected."""

    __slots__ = ("_indexes", "_records", "events", "rejected")

    def __init__(self) -> None:
        self.events: list[Interaction] = []
        self.rejected: list[Rejection] = []
        self._records: list[NDArray[np.int32]] = []
        self._indexes: list[NDArray[np.int32]] = []

    @property
    def record(self) -> NDArray[np.int32]:
        """The record of each event, int32[n]."""
        return np.concatenate(self._records) if self._records else np.empty(0, np.int32)

    @property
    def index(self) -> NDArray[np.int32]:
        """The place of each event in its record's array, or `WHOLE`, int32[n]."""
        return np.concatenate(self._indexes) if self._indexes else np.empty(0, np.int32)

    def came_one_by_one(self, record: int, count: int) -> None:
        """Say that the last `count` events came from as many records, the first of which is `record`."""
        self._records.append(np.arange(record, record + count, dtype=np.int32))
        self._indexes.append(np.full(count, WHOLE, np.int32))

    def came_from(self, records: ArrayLike, indexes: ArrayLike) -> None:
        """Say which records the last events came from, and from which places in their arrays."""
        self._records.append(np.asarray(records, np.int32))
        self._indexes.append(np.asarray(indexes, np.int32))

    def reject(self, record: int, index: int, error: RejectedError) -> None:
        """Set a record, or one element of it, aside."""
        self.rejected.append(Rejection(record, index, error.reason, error.detail))


Decode = Callable[[Sequence[bytes], Sequence[Headers] | None], Batch]
"""A decoder's one function: values of the records, and their headers if the format needs them."""


def originals(rejected: Sequence[Rejection], values: Sequence[bytes | None]) -> list[bytes | None]:
    """Find the bytes that each rejection speaks of: the record's value, or that of one element of its array.

    >>> originals([Rejection(0, 1, "wrong_type", ""), Rejection(1, WHOLE, "broken_json", "")], [b'[1, {"a": 2}]', b"{"])
    [b'{"a": 2}', b'{']
    """
    arrays: dict[int, list[msgspec.Raw]] = {}
    found: list[bytes | None] = []
    for rejection in rejected:
        value = values[rejection.record]
        if rejection.index == WHOLE or value is None:
            found.append(value)
            continue
        if rejection.record not in arrays:
            arrays[rejection.record] = _elements(value)
        found.append(bytes(arrays[rejection.record][rejection.index]))
    return found


_elements: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
