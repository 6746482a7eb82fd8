"""CloudEvents 1.0 on Kafka: what a record's headers and value say about the event inside.

Binary mode: the attributes are `ce_` headers and the value is the data. Structured mode: `content-type` is
`application/cloudevents+json` and the value is the whole event, or `application/cloudevents-batch+json` and it is an
array of whole events. The data must be a JSON object, or nothing.
"""

import base64
from typing import Any, Final

import msgspec
from msgspec import Struct

from schemas.limits import ARRAY_EVENTS_MAX
from streams.decoders.batch import WHOLE, Headers, RejectedError
from streams.decoders.nesting import require_shallow

Json = dict[str, Any]

_STRUCTURED: Final = "application/cloudevents+json"
_STRUCTURED_BATCH: Final = "application/cloudevents-batch+json"

_anything: Final = msgspec.json.Decoder().decode


class CloudEvent(Struct, frozen=True):
    """One event: its envelope, and its data if it has any."""

    id: str
    source: str
    type: str
    time: str | None
    data: Json | None


def read(value: bytes, headers: Headers) -> list[tuple[int, CloudEvent | RejectedError]]:
    """Read the events of one record, each with its place in the record's array; a bad element is an error in the list.

    Raises `RejectedError` where the whole record cannot be read.

    >>> headers = [("ce_specversion", b"1.0"), ("ce_id", b"7"), ("ce_source", b"/x"), ("ce_type", b"t")]
    >>> read(b'{"type": "Like"}', headers)
    [(-1, CloudEvent(id='7', source='/x', type='t', time=None, data={'type': 'Like'}))]
    """
    attributes = _attributes(headers)
    media_type = _media_type(attributes.get("content-type"))
    if media_type == _STRUCTURED:
        return [(WHOLE, _structured(_parse(value)))]
    if media_type == _STRUCTURED_BATCH:
        return _structured_batch(value)
    if media_type.startswith("application/cloudevents"):
        raise RejectedError("not_understood", f"content type {media_type!r}: only JSON is understood")
    _refuse_unless_json(media_type)
    envelope = {name.removeprefix("ce_"): text for name, text in attributes.items() if name.startswith("ce_")}
    return [(WHOLE, _event(envelope, _parse(value) if value.strip() else None))]


def _attributes(headers: Headers) -> Json:
    try:
        return {name.lower(): value.decode() if isinstance(value, bytes) else value for name, value in headers or ()}
    except UnicodeDecodeError as error:
        raise RejectedError("wrong_type", f"a header is not UTF-8 text: {error}") from error


def _media_type(content_type: Any) -> str:
    return content_type.partition(";")[0].strip().lower() if isinstance(content_type, str) else ""


def _refuse_unless_json(media_type: str) -> None:
    if media_type and media_type != "application/json" and not media_type.endswith("+json"):
        raise RejectedError("not_understood", f"data of content type {media_type!r}: only JSON is understood")


def _parse(text: bytes) -> Any:
    try:
        require_shallow(text)
        return _anything(text)
    except (ValueError, RecursionError) as error:
        raise RejectedError("broken_json", str(error)) from error


def _structured_batch(value: bytes) -> list[tuple[int, CloudEvent | RejectedError]]:
    elements = _parse(value)
    if not isinstance(elements, list):
        raise RejectedError("wrong_type", "a batch of CloudEvents is an array")
    if not elements:
        raise RejectedError("empty_array", "the array holds no events")
    if len(elements) > ARRAY_EVENTS_MAX:
        raise RejectedError("too_many_events", f"{len(elements)} events in one record, at most {ARRAY_EVENTS_MAX}")
    events: list[tuple[int, CloudEvent | RejectedError]] = []
    for index, element in enumerate(elements):
        try:
            events.append((index, _structured(element)))
        except RejectedError as error:
            # Without its traceback, which leads back to this list: a cycle, which would keep the whole batch.
            events.append((index, error.with_traceback(None)))
    return events


def _structured(envelope: Any) -> CloudEvent:
    if not isinstance(envelope, dict):
        raise RejectedError("wrong_type", "a CloudEvent is an object")
    _refuse_unless_json(_media_type(envelope.get("datacontenttype")))
    data = envelope.get("data")
    if data is None and "data_base64" in envelope:
        try:
            data = _parse(base64.b64decode(_text(envelope, "data_base64"), validate=True))
        except ValueError as error:
            raise RejectedError("wrong_type", f"`data_base64` is not base64: {error}") from error
    return _event(envelope, data)


def _event(envelope: Json, data: Any) -> CloudEvent:
    version = _text(envelope, "specversion")
    if version != "1.0":
        raise RejectedError("not_understood", f"CloudEvents version {version!r}: only 1.0 is understood")
    if data is not None and not isinstance(data, dict):
        raise RejectedError("wrong_type", "the data of the event is not an object")
    time = None if envelope.get("time") is None else _text(envelope, "time")
    return CloudEvent(_text(envelope, "id"), _text(envelope, "source"), _text(envelope, "type"), time, data)


def _text(envelope: Json, name: str) -> str:
    found = envelope.get(name)
    if found is None or found == "":
        raise RejectedError("missing_field", f"the CloudEvents attribute `{name}` is absent or empty")
    if not isinstance(found, str):
        raise RejectedError("wrong_type", f"the CloudEvents attribute `{name}` is not text")
    return found
