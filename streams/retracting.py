"""From raw records of a network to lane records that take events back; no Kafka here.

Records are read as ingest reads them, so an event is known by the same hash. What is written names nobody: an operator
may take back long after the event, and the lanes must not keep an id for longer than the raw topic does.
"""

from collections import Counter
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.identity import event_hashes
from schemas.interaction import HEARTBEAT_CODE, RETRACT_CODE
from schemas.packed import RETRACTIONS, Record, encode
from schemas.users import CANARY_SOURCE, is_canary, user_hash
from streams.decoders import Decoder
from streams.decoders.columns import Columns
from streams.decoders.reader import read
from streams.ingest_batch import Raw
from streams.packing import groups_of
from streams.retract_position import Span

RECORD_ROWS_MAX: Final = 2_000
"""Rows of a record: while a task folds them, nothing else is (`python -m bench --only retract`)."""


class Chosen(NamedTuple):
    """What raw records come to."""

    records: list[tuple[int, bytes]]
    """Lane partition and value."""
    counts: Counter[str]
    """By `streams.retract_position.COUNTERS`."""


def choose(raw: Raw, span: Span, epoch: int, decoder: Decoder, lane_partitions: int) -> Chosen:
    """Choose the events of the span and its collector, and pack them by the actor's lane partition."""
    columns = read(decoder.decode, raw.values, raw.headers, raw.arrival_ms, decoder.read_plain)
    arrival = raw.arrival_ms[columns.record]
    within = (arrival >= span.since_ms) & (arrival < span.until_ms) & (columns.kind != HEARTBEAT_CODE)
    source_hash = columns.sources.hashes[columns.sources.number]
    within &= ~_of_canaries(columns)
    theirs = within if not span.source else within & (source_hash == np.uint64(user_hash(span.source.encode())))
    retractions = columns.kind == RETRACT_CODE
    rows = np.flatnonzero(theirs & ~retractions)
    rejected = raw.arrival_ms[[rejection.record for rejection in columns.rejected]]
    counts = Counter(
        events=int(np.count_nonzero(within & ~retractions)),
        chosen=len(rows),
        retractions=int(np.count_nonzero(theirs & retractions)),
        unreadable=int(np.count_nonzero((rejected >= span.since_ms) & (rejected < span.until_ms))),
    )
    actor_hash = columns.actors.hashes[columns.actors.number[rows]]
    packed = {
        "actor_hash": actor_hash,
        "event_hash": event_hashes(span.network, actor_hash, columns.id_hash[rows]),
        "source_hash": source_hash[rows],
        "arrival": arrival[rows],
    }
    lane = (actor_hash % np.uint64(lane_partitions)).astype(np.int64)
    return Chosen(
        [
            (partition, _record(packed, part, span, epoch))
            for partition, theirs_ in groups_of(lane, lane_partitions)
            for part in _parts(theirs_)
        ],
        counts,
    )


def _of_canaries(columns: Columns) -> NDArray[np.bool_]:
    """Return which rows are of synthetic accounts: no feed brought them, and what they are worth is known."""
    if CANARY_SOURCE.encode() not in columns.sources.names:
        return np.zeros(len(columns.kind), np.bool_)
    return np.array([is_canary(name) for name in columns.actors.names], np.bool_)[columns.actors.number]


def _parts(rows: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    return [rows[begin : begin + RECORD_ROWS_MAX] for begin in range(0, len(rows), RECORD_ROWS_MAX)]


def _record(columns: dict[str, NDArray[Any]], rows: NDArray[np.intp], span: Span, epoch: int) -> bytes:
    size = len(rows)
    packed: dict[str, NDArray[Any]] = {name: column[rows] for name, column in columns.items()}
    packed |= {
        "network": np.zeros(size, np.uint8),
        "label": np.zeros(size, np.uint16),
        "epoch": np.full(size, epoch, np.uint64),
    }
    return encode(Record(RETRACTIONS, size, [span.network], [span.incident], [], [], packed))
