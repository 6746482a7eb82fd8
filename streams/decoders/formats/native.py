"""The project's own format: JSON as `schemas.interaction` describes it, one event a record or an array of events.

Records are decoded one by one, although all of a batch in one call would be possible: joined texts let a broken
record borrow from its neighbours, and it was not faster. What is written plainly never comes here: `read_plain`.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np

from schemas.interaction import CODES, Interaction
from schemas.limits import ARRAY_EVENTS_MAX
from streams.decoders.batch import WHOLE, Batch, Headers, RejectedError
from streams.decoders.nesting import SHORT_BYTES, require_shallow
from streams.decoders.plain import read_plain

__all__ = ["NEEDS_HEADERS", "decode", "read_plain"]

NEEDS_HEADERS: Final = False

_event: Final = msgspec.json.Decoder(Interaction).decode
_events: Final = msgspec.json.Decoder(list[Interaction]).decode
_elements: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
_anything: Final = msgspec.json.Decoder().decode


def decode(values: Sequence[bytes], headers: Sequence[Headers] | None = None) -> Batch:  # noqa: ARG001
    """Read native records; a bad record, or a bad element of an array, is set aside alone.

    >>> batch = decode([b'{"kind":"heartbeat","time":5}', b'[{"kind":"heartbeat","time":7},17]'])
    >>> [event.time for event in batch.events], batch.record.tolist(), batch.index.tolist()
    ([5, 7], [0, 1], [-1, 0])
    >>> [(bad.record, bad.index, bad.reason) for bad in batch.rejected]
    [(1, 1, 'wrong_type')]
    """
    batch = Batch()
    events = batch.events
    event = _event if max(map(len, values), default=0) <= SHORT_BYTES else _shallow_event
    pending = iter(values)
    record = 0
    while record < len(values):
        if values[record].startswith(b"["):
            # Straight to it: an error from the decoder of single events would cost more than the array's events.
            _array_record(batch, record, next(pending))
            record += 1
            continue
        known = len(events)
        try:
            # What was decoded before an error stays in the list, so that nothing is decoded twice.
            events.extend(map(event, pending))
        except (ValueError, RecursionError) as error:
            # Without its traceback, which leads back to this frame: a cycle, which would keep the whole batch.
            failure: Exception | None = error.with_traceback(None)
        else:
            failure = None
        count = len(events) - known
        batch.came_one_by_one(record, count)
        record += count
        if failure is not None:
            _not_one_event(batch, record, values[record], failure)
            record += 1
    return batch


def _shallow_event(value: bytes) -> Interaction:
    require_shallow(value)
    return _event(value)


def _not_one_event(batch: Batch, record: int, value: bytes, failure: Exception) -> None:
    if value.lstrip()[:1] == b"[":
        _array_record(batch, record, value)
    else:
        batch.reject(record, WHOLE, _rejected(value, failure))


def _array_record(batch: Batch, record: int, value: bytes) -> None:
    try:
        _array(batch, record, value)
    except RejectedError as error:
        batch.reject(record, WHOLE, error)


def _array(batch: Batch, record: int, value: bytes) -> None:
    try:
        events = _events(value)
        count = len(events)
    except (ValueError, RecursionError):
        events = None
        count = _count(value)
    if not count:
        raise RejectedError("empty_array", "the array holds no events")
    if count > ARRAY_EVENTS_MAX:
        raise RejectedError("too_many_events", f"{count} events in one record, at most {ARRAY_EVENTS_MAX}")
    _require_shallow(value, 1 if events is None else count)
    if events is None:
        _one_by_one(batch, record, value)
    else:
        batch.events.extend(events)
        batch.came_from(np.full(count, record), np.arange(count))


def _require_shallow(value: bytes, objects: int) -> None:
    try:
        require_shallow(value, objects)
    except ValueError as error:
        raise _broken(error) from error


def _count(value: bytes) -> int:
    try:
        return len(_elements(value))
    except (ValueError, RecursionError) as error:
        raise _broken(error) from error


def _one_by_one(batch: Batch, record: int, value: bytes) -> None:
    taken = []
    for index, element in enumerate(_elements(value)):
        try:
            batch.events.append(_event(element))
            taken.append(index)
        except (ValueError, RecursionError) as failure:
            batch.reject(record, index, _rejected(bytes(element), failure))
    batch.came_from([record] * len(taken), taken)


def _rejected(value: bytes, failure: Exception) -> RejectedError:
    """Find out why one event could not be decoded."""
    if not isinstance(failure, msgspec.ValidationError):
        return _broken(failure)
    try:
        found = _anything(value)
    except (ValueError, RecursionError) as error:
        return _broken(error)
    if isinstance(found, dict):
        if "kind" not in found or "time" not in found:
            return RejectedError("missing_field", str(failure))
        if isinstance(found["kind"], str) and found["kind"] not in CODES:
            return RejectedError("unknown_kind", str(failure))
    return RejectedError("wrong_type", str(failure))


def _broken(failure: Exception) -> RejectedError:
    return RejectedError("broken_json", str(failure))
