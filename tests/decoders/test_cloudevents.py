import base64
import json
from typing import Any

import pytest

from streams.decoders.batch import WHOLE, RejectedError
from streams.decoders.cloudevents import CloudEvent, read

DATA = {"type": "Like"}
EVENT = CloudEvent(id="7", source="/x", type="t", time="2012-07-01T00:00:00Z", data=DATA)
BINARY = [
    ("ce_specversion", b"1.0"),
    ("ce_id", b"7"),
    ("ce_source", b"/x"),
    ("ce_type", b"t"),
    ("ce_time", b"2012-07-01T00:00:00Z"),
]
STRUCTURED = {"specversion": "1.0", "id": "7", "source": "/x", "type": "t", "time": "2012-07-01T00:00:00Z"}


def structured(envelope: Any, content_type: bytes = b"application/cloudevents+json") -> list[Any]:
    return read(json.dumps(envelope).encode(), [("content-type", content_type)])


def reason(value: bytes, headers: Any) -> str:
    with pytest.raises(RejectedError) as caught:
        read(value, headers)
    return caught.value.reason


@pytest.mark.parametrize(
    "content_type",
    [None, b"application/json", b"application/activity+json", b'Application/LD+JSON; profile="x"'],
)
def test_binary_mode_has_the_envelope_in_headers(content_type: bytes | None) -> None:
    headers = [*BINARY, ("content-type", content_type)]
    assert read(json.dumps(DATA).encode(), headers) == [(WHOLE, EVENT)]


def test_header_names_may_be_in_any_case() -> None:
    assert read(json.dumps(DATA).encode(), [(name.upper(), value) for name, value in BINARY]) == [(WHOLE, EVENT)]


@pytest.mark.parametrize(
    "content_type", [b"application/cloudevents+json", b"Application/CloudEvents+JSON; charset=UTF-8"]
)
def test_structured_mode_has_everything_in_the_value(content_type: bytes) -> None:
    assert structured(STRUCTURED | {"data": DATA}, content_type) == [(WHOLE, EVENT)]


def test_data_may_be_base64() -> None:
    text = base64.b64encode(json.dumps(DATA).encode()).decode()
    assert structured(STRUCTURED | {"data_base64": text}) == [(WHOLE, EVENT)]


def test_a_batch_is_an_array_with_bad_elements_in_their_places() -> None:
    first, bad, last = structured([STRUCTURED | {"data": DATA}, 7, STRUCTURED], b"application/cloudevents-batch+json")
    assert first == (0, EVENT)
    assert (bad[0], bad[1].reason) == (1, "wrong_type")
    assert (last[0], last[1].data) == (2, None)


@pytest.mark.parametrize("name", ["specversion", "id", "source", "type"])
def test_a_required_attribute_must_be_there(name: str) -> None:
    headers = [header for header in BINARY if header[0] != f"ce_{name}"]
    assert reason(b"{}", headers) == reason(b"{}", [*headers, (f"ce_{name}", b"")]) == "missing_field"


def test_a_record_without_headers_is_no_cloud_event() -> None:
    assert reason(b"{}", None) == "missing_field"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([*BINARY, ("ce_specversion", b"0.3")], "not_understood"),
        ([*BINARY, ("content-type", b"application/xml")], "not_understood"),
        ([("content-type", b"application/cloudevents+avro")], "not_understood"),
        ([*BINARY, ("ce_id", b"\xff")], "wrong_type"),
        ([("content-type", b"application/cloudevents-batch+json")], "wrong_type"),
        ([("content-type", b"application/cloudevents+json")], "missing_field"),
    ],
)
def test_an_envelope_that_is_wrong_is_named(headers: Any, expected: str) -> None:
    assert reason(b"{}", headers) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"id": 7}, "wrong_type"),
        ({"time": 7}, "wrong_type"),
        ({"data": "text"}, "wrong_type"),
        ({"datacontenttype": "text/plain", "data": "text"}, "not_understood"),
        ({"data_base64": "*"}, "wrong_type"),
        ({"data_base64": "é"}, "wrong_type"),
        ({"data_base64": "e30"}, "wrong_type"),
        ({"data_base64": base64.b64encode(b"{").decode()}, "broken_json"),
    ],
)
def test_a_structured_event_that_is_wrong_is_named(fields: dict[str, Any], expected: str) -> None:
    value = json.dumps(STRUCTURED | fields).encode()
    assert reason(value, [("content-type", b"application/cloudevents+json")]) == expected
