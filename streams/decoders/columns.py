"""Interactions that were taken in, by column."""

import numpy as np
from numpy.typing import NDArray

from streams.decoders.batch import Rejection
from streams.decoders.texts import Texts, joined


class Columns:
    """Accepted interactions by column, all of one length, and everything that was rejected on the way."""

    __slots__ = ("actors", "id_hash", "index", "kind", "record", "rejected", "sources", "targets", "time_ms")

    def __init__(
        self,
        record: NDArray[np.int32],
        index: NDArray[np.int32],
        kind: NDArray[np.uint8],
        time_ms: NDArray[np.int64],
        id_hash: NDArray[np.uint64],
        texts: tuple[Texts, Texts, Texts],
        rejected: list[Rejection],
    ) -> None:
        """Put columns together; `texts` are those of actors, targets and sources."""
        self.record = record
        """The record that each came from."""
        self.index = index
        """Its place in that record's array, or `WHOLE`."""
        self.kind = kind
        """Codes of `schemas.interaction.CODES`."""
        self.time_ms = time_ms
        self.id_hash = id_hash
        """`schemas.users.user_hash` of each event's id."""
        self.actors, self.targets, self.sources = texts
        """Targets and sources are empty where there is none."""
        self.rejected = rejected

    def keep(self, wanted: NDArray[np.bool_]) -> None:
        """Drop every row that is not wanted."""
        self._take(np.flatnonzero(wanted))

    def _take(self, rows: NDArray[np.intp]) -> None:
        self.record, self.index = self.record[rows], self.index[rows]
        self.kind, self.time_ms, self.id_hash = self.kind[rows], self.time_ms[rows], self.id_hash[rows]
        self.actors, self.targets, self.sources = (
            texts._replace(number=texts.number[rows]) for texts in (self.actors, self.targets, self.sources)
        )

    def merged(self, others: "Columns") -> "Columns":
        """Return these and the events of other records of the batch, in the order of the records."""
        both = Columns(
            np.concatenate([self.record, others.record]),
            np.concatenate([self.index, others.index]),
            np.concatenate([self.kind, others.kind]),
            np.concatenate([self.time_ms, others.time_ms]),
            np.concatenate([self.id_hash, others.id_hash]),
            (
                joined(self.actors, others.actors),
                joined(self.targets, others.targets),
                joined(self.sources, others.sources),
            ),
            self.rejected + others.rejected,
        )
        both._take(np.argsort(both.record, kind="stable"))
        return both

    def of_records(self, records: NDArray[np.intp]) -> None:
        """Say that the records are these of a larger batch."""
        self.record = records.astype(np.int32)[self.record]
        self.rejected = [
            Rejection(int(records[found.record]), found.index, found.reason, found.detail) for found in self.rejected
        ]
