"""Looks at events that come over HTTP, with their network's own decoder, before they become a record. Pure."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np

from schemas.gateway import EventError
from schemas.interaction import HEARTBEAT_CODE
from schemas.users import CANARY_SOURCE
from streams.decoders import Decoder
from streams.decoders.batch import WHOLE
from streams.decoders.reader import read

EVENTS_MAX: Final = 5_000
"""Events in one request: about what its bytes, those of one record, have room for."""
ERRORS_SHOWN_MAX: Final = 100
"""Events of which an answer says what is wrong."""

_elements: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode


class Looked(NamedTuple):
    """What a body comes to."""

    events: int
    errors: list[EventError]
    heartbeats: bytes
    """The heartbeats among them as a record of their own; empty where there are none."""


def looked_at(decoder: Decoder, body: bytes, now_ms: int) -> Looked:
    """Return what there is in a body that arrives now: how many events, what is wrong, and heartbeats.

    >>> from streams.decoders import decoder
    >>> looked_at(decoder("native"), b'[{"kind":"heartbeat","time":5},{"kind":"wave","time":5}]', 9).errors[0].reason
    'unknown_kind'
    """
    columns = read(decoder.decode, [body], [[]] if decoder.needs_headers else None, np.array([now_ms]))
    errors = [
        EventError(index=max(0, rejection.index), reason=rejection.reason, detail=rejection.detail)
        for rejection in columns.rejected
    ]
    for row in _of_the_guard(columns.sources.names, columns.sources.number.tolist()):
        detail = f"the source {CANARY_SOURCE} is the guard's alone"
        errors.append(EventError(index=max(0, int(columns.index[row])), reason="reserved_user", detail=detail))
    events = len(columns.kind) + len(columns.rejected)
    if events > EVENTS_MAX:
        detail = f"{events:,} events in one request, at most {EVENTS_MAX:,}"
        errors = [EventError(index=0, reason="too_many_events", detail=detail)]
    beats = columns.index[columns.kind == HEARTBEAT_CODE].tolist()
    return Looked(
        events,
        sorted(errors, key=lambda error: error.index),
        _chosen(body, beats) if beats and not errors else b"",
    )


def _of_the_guard(names: Sequence[bytes], numbers: Sequence[int]) -> list[int]:
    theirs = {number for number, name in enumerate(names) if name == CANARY_SOURCE.encode()}
    return [row for row, number in enumerate(numbers) if number in theirs] if theirs else []


def _chosen(body: bytes, indexes: Sequence[int]) -> bytes:
    if indexes == [WHOLE]:
        return body
    elements = _elements(body)
    return b"[" + b",".join(bytes(elements[index]) for index in indexes) + b"]"
