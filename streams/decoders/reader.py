"""From the records of a batch to interactions by column, of whatever format."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from schemas.limits import RECORD_BYTES_MAX
from schemas.users import user_hashes
from streams.decoders.batch import WHOLE, Decode, Headers, Rejection
from streams.decoders.checks import Checked
from streams.decoders.columns import Columns
from streams.decoders.plain import Plain
from streams.decoders.texts import numbered

ReadPlain = Callable[[Sequence[bytes], NDArray[np.int64], NDArray[np.int64]], Plain]
"""What some formats have besides their decoder: a fast way for records that are plain, of these lengths."""


def read(
    decode: Decode,
    values: Sequence[bytes | None],
    headers: Sequence[Headers] | None,
    arrival_ms: NDArray[np.int64],
    read_plain: ReadPlain | None = None,
) -> Columns:
    """Decode a batch of records, check every interaction, and lay the good ones out by column.

    `arrival_ms` is int64[records]; `read_plain` is the fast way of a format that has one. Nothing is lost: every event
    is in a column or in `rejected`, and so is every record without events.

    >>> from streams.decoders.formats.native import decode
    >>> values = [b'{"id":"7","kind":"share","actor":"a","target":"b","time":"1970-01-01T00:00:05Z"}', b"{}", None]
    >>> columns = read(decode, values, None, np.full(3, 6_000))
    >>> columns.actors.rows(), columns.kind.tolist(), columns.time_ms.tolist()
    ([b'a'], [0], [5000])
    >>> [(bad.record, bad.reason) for bad in columns.rejected]
    [(1, 'missing_field'), (2, 'broken_json')]
    """
    lengths = _lengths(values)
    if lengths is None:
        unread = _unreadable(values)
        skipped = {rejection.record for rejection in unread}
        rest = np.array([record for record in range(len(values)) if record not in skipped], np.intp)
        columns = read(decode, *_chosen(values, headers, arrival_ms, rest), read_plain)
        columns.of_records(rest)
        columns.rejected += unread
        return columns
    if read_plain is None:
        return _decoded(decode, values, headers, arrival_ms)
    plain = read_plain(values, lengths, arrival_ms)  # type: ignore[arg-type]
    if not len(plain.others):
        return plain.columns
    others = _decoded(decode, *_chosen(values, headers, arrival_ms, plain.others))
    others.of_records(plain.others)
    return plain.columns.merged(others)


def _chosen(
    values: Sequence[bytes | None],
    headers: Sequence[Headers] | None,
    arrival_ms: NDArray[np.int64],
    records: NDArray[np.intp],
) -> tuple[Sequence[bytes | None], Sequence[Headers] | None, NDArray[np.int64]]:
    chosen = records.tolist()
    theirs = None if headers is None else [headers[record] for record in chosen]
    return [values[record] for record in chosen], theirs, arrival_ms[records]


def _decoded(
    decode: Decode, values: Sequence[bytes | None], headers: Sequence[Headers] | None, arrival_ms: NDArray[np.int64]
) -> Columns:
    """Read records by way of an object an event."""
    batch = decode(values, headers)  # type: ignore[arg-type]
    record, index = batch.record, batch.index
    checked = Checked(batch.events, arrival_ms[record])
    columns = Columns(
        record,
        index,
        checked.kind,
        checked.time_ms,
        user_hashes(list(map(str.encode, checked.ids))),
        (numbered(checked.actors), numbered(checked.targets), numbered(checked.sources)),
        batch.rejected,
    )
    if checked.found:
        wanted = np.ones(len(record), np.bool_)
        for row, (reason, detail) in sorted(checked.found.items()):
            wanted[row] = False
            columns.rejected.append(Rejection(int(record[row]), int(index[row]), reason, detail))
        columns.keep(wanted)
    return columns


def _lengths(values: Sequence[bytes | None]) -> NDArray[np.int64] | None:
    """Return how many bytes each record has; None if there is one that cannot be read at all."""
    try:
        lengths = np.fromiter(map(len, values), np.int64, len(values))  # type: ignore[arg-type]
    except TypeError:  # A record without a value.
        return None
    return lengths if lengths.max(initial=0) <= RECORD_BYTES_MAX else None


def _unreadable(values: Sequence[bytes | None]) -> list[Rejection]:
    unread = []
    for record, value in enumerate(values):
        if value is None:
            unread.append(Rejection(record, WHOLE, "broken_json", "the record has no value"))
        elif len(value) > RECORD_BYTES_MAX:
            detail = f"{len(value)} bytes, at most {RECORD_BYTES_MAX}"
            unread.append(Rejection(record, WHOLE, "record_too_large", detail))
    return unread
