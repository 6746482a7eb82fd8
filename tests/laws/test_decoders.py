"""Laws that every decoder keeps; a new one joins by saying in `SAMPLES` how its format writes interactions."""

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.interaction import REQUIRED, Interaction, Kind, encode
from schemas.limits import ARRAY_EVENTS_MAX, TIME_MS_MAX
from schemas.times import format_ms
from streams.decoders import Decoder, decoder, decoder_names
from streams.decoders.batch import WHOLE, Batch, Headers, originals
from streams.decoders.reader import read

Record = tuple[bytes, Headers]


class Samples(NamedTuple):
    """How a format writes interactions."""

    kinds: Sequence[Kind]
    """Kinds that the format can express."""
    one: Callable[[Interaction], Record]
    many: Callable[[list[Interaction]], Record]
    bad_element: bytes
    """What can stand in an array and is no interaction."""
    text: Callable[[str], str]
    """Makes a user id, or an event's id, of any text."""
    named_by_object: Sequence[Kind] = ()
    """Kinds whose id is that of their object."""


def native(event: Interaction) -> Record:
    return encode(event), None


def native_array(events: list[Interaction]) -> Record:
    return encode(events), None


def cloud_event(event: Interaction) -> dict[str, Any]:
    envelope: dict[str, Any] = {
        "specversion": "1.0",
        "id": "e",
        "source": event.source,
        "type": "any",
        "time": event.time,
    }
    if event.kind == "heartbeat":
        return envelope | {"type": "clout.heartbeat.v1"}
    return envelope | {"data": {"id": event.id, "actor": event.actor} | activity(event)}


def activity(event: Interaction) -> dict[str, Any]:
    mention = {"type": "Mention", "href": event.target}
    of_target = {"id": event.object, "attributedTo": event.target}
    activities: dict[str, dict[str, Any]] = {
        "share": {"type": "Announce", "object": of_target},
        "reaction": {"type": "Like", "object": of_target},
        "reply": {"type": "Create", "object": {"inReplyTo": of_target}},
        "mention": {"type": "Create", "object": {"id": event.object, "tag": [mention]}},
        "follow": {"type": "Follow", "object": event.target},
        "retract": {"type": "Undo", "object": event.id},
    }
    return activities[event.kind]


def structured(event: Interaction) -> Record:
    return json.dumps(cloud_event(event)).encode(), [("content-type", b"application/cloudevents+json")]


def structured_batch(events: list[Interaction]) -> Record:
    value = json.dumps([cloud_event(event) for event in events]).encode()
    return value, [("content-type", b"application/cloudevents-batch+json; charset=utf-8")]


SAMPLES = {
    "native": Samples(tuple(REQUIRED), native, native_array, b'{"kind":"boost","time":1}', str),  # type: ignore[arg-type]
    "activitystreams": Samples(
        ("share", "reply", "mention", "follow", "reaction", "retract", "heartbeat"),
        structured,
        structured_batch,
        b'{"specversion":"1.0","id":"e","source":"/x","type":"any","data":{"type":"Arrive"}}',
        "https://social.example/{}".format,
        ("mention",),
    ),
}

FORMATS = [decoder(name) for name in decoder_names()]
each_format = pytest.mark.parametrize("format_", FORMATS, ids=decoder_names())

times = st.integers(0, TIME_MS_MAX - 1).map(format_ms)
names = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=40)


@st.composite
def interactions(draw: st.DrawFn, format_: Decoder) -> Interaction:
    samples = SAMPLES[format_.name]
    kind = draw(st.sampled_from(samples.kinds))
    texts = names.map(samples.text)
    fields = {name: draw(texts) for name in REQUIRED[kind] if name not in {"kind", "time"}}
    if kind not in {"follow", "retract", "heartbeat"}:
        fields["object"] = fields["id"] if kind in samples.named_by_object else draw(texts)
    return Interaction(kind=kind, time=draw(times), source=draw(names), **fields)


def decode(format_: Decoder, records: Sequence[Record]) -> Batch:
    return format_.decode([value for value, _ in records], [headers for _, headers in records])


def outcome(batch: Batch) -> list[tuple[int, int, object]]:
    """What became of everything, in order."""
    places = zip(batch.record.tolist(), batch.index.tolist(), strict=True)
    taken = [(*place, event) for place, event in zip(places, batch.events, strict=True)]
    rejected = [(bad.record, bad.index, bad.reason) for bad in batch.rejected]
    return sorted([*taken, *rejected], key=lambda found: found[:2])


FIELDS = [
    *("id", "kind", "actor", "target", "time", "object", "source", "type", "data", "specversion", "attributedTo"),
    *("inReplyTo", "tag", "href", "to", "cc", "published", "data_base64", "datacontenttype"),
]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=3), inner),
    max_leaves=12,
)
VALUES = ["share", "1.0", "Announce", "Like", "Create", "Follow", "Undo", "Mention", "2012-07-01T00:00:00Z", "x", ""]
plausible = st.recursive(
    st.sampled_from(VALUES) | st.none() | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=8),
    max_leaves=20,
)
header_values = st.binary(max_size=30) | st.none() | st.sampled_from([b"1.0", b"application/cloudevents+json"])
headers_of_any_kind = st.sampled_from(
    [
        None,
        [],
        [("content-type", b"application/cloudevents+json")],
        [("content-type", b"application/cloudevents-batch+json")],
        [(name, b"1.0") for name in ("ce_specversion", "ce_id", "ce_source", "ce_type")],
    ]
) | st.lists(st.tuples(st.sampled_from(["content-type", "ce_specversion", "ce_id", "ce_time", "x"]), header_values))
garbage: st.SearchStrategy[Record] = st.tuples(
    st.binary(max_size=60)
    | json_values.map(lambda value: json.dumps(value).encode())
    | plausible.map(lambda value: json.dumps(value).encode()),
    headers_of_any_kind,
)


def test_every_decoder_has_samples() -> None:
    assert sorted(SAMPLES) == decoder_names()


def test_an_unknown_format_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(LookupError, match="activitystreams, native"):
        decoder("csv")


@each_format
@given(data=st.data())
def test_what_is_written_is_read_back(format_: Decoder, data: st.DataObject) -> None:
    event = data.draw(interactions(format_))
    batch = decode(format_, [SAMPLES[format_.name].one(event)])
    assert outcome(batch) == [(0, WHOLE, event)]


@each_format
@given(data=st.data())
def test_an_array_says_the_same_as_its_elements_one_by_one(format_: Decoder, data: st.DataObject) -> None:
    events = data.draw(st.lists(interactions(format_), min_size=1, max_size=5))
    samples = SAMPLES[format_.name]
    together = decode(format_, [samples.many(events)])
    alone = decode(format_, [samples.one(event) for event in events])
    assert together.events == alone.events == events
    assert together.index.tolist() == list(range(len(events)))
    assert set(together.record.tolist()) == {0}


@each_format
@given(data=st.data())
def test_records_together_come_out_as_each_alone(format_: Decoder, data: st.DataObject) -> None:
    good = interactions(format_).map(SAMPLES[format_.name].one)
    arrays = st.lists(interactions(format_), max_size=3).map(SAMPLES[format_.name].many)
    records = data.draw(st.lists(good | arrays | garbage, max_size=6))
    alone = [
        (record, index, found)
        for record, one in enumerate(records)
        for _, index, found in outcome(decode(format_, [one]))
    ]
    assert outcome(decode(format_, records)) == alone


@each_format
@given(records=st.lists(garbage, max_size=4))
def test_whatever_comes_in_comes_out_somewhere(format_: Decoder, records: list[Record]) -> None:
    accounted_for = {record for record, _, _ in outcome(decode(format_, records))}
    assert accounted_for == set(range(len(records)))


@each_format
@given(records=st.lists(garbage, max_size=4))
def test_columns_and_rejections_hold_every_event_that_was_decoded(format_: Decoder, records: list[Record]) -> None:
    batch = decode(format_, records)
    values, headers = [value for value, _ in records], [headers for _, headers in records]
    columns = read(format_.decode, values, headers, np.full(len(records), TIME_MS_MAX))
    assert len(columns.kind) + len(columns.rejected) == len(batch.events) + len(batch.rejected)
    assert len(originals(columns.rejected, values)) == len(columns.rejected)


@each_format
@given(data=st.data())
def test_a_bad_element_of_an_array_is_rejected_alone(format_: Decoder, data: st.DataObject) -> None:
    events = data.draw(st.lists(interactions(format_), min_size=1, max_size=4))
    place = data.draw(st.integers(0, len(events)))
    bad = SAMPLES[format_.name].bad_element
    value, headers = SAMPLES[format_.name].many(events)
    elements = [bytes(raw) for raw in msgspec.json.decode(value, type=list[msgspec.Raw])]
    with_bad = b"[" + b" , ".join([*elements[:place], bad, *elements[place:]]) + b"]"
    batch = decode(format_, [(with_bad, headers)])
    assert batch.events == events
    assert [found.index for found in batch.rejected] == [place]
    assert batch.index.tolist() == [index for index in range(len(events) + 1) if index != place]
    assert originals(batch.rejected, [with_bad]) == [bad]


@each_format
@pytest.mark.parametrize("value", [b"", b" ", b"[", b"{", b"nul", b"[[]", b'{"a":1}}', b"\xff", b"\xef\xbb\xbf{}"])
def test_broken_json_is_rejected_as_such(format_: Decoder, value: bytes) -> None:
    _, headers = SAMPLES[format_.name].many([])
    batch = decode(format_, [(value, headers)])
    assert [(bad.index, bad.reason) for bad in batch.rejected] == [(WHOLE, "broken_json")]


@each_format
@pytest.mark.parametrize("opening", [b"[", b'{"object":', b'[{"data":'])
def test_json_nested_too_deeply_is_rejected_as_broken(format_: Decoder, opening: bytes) -> None:
    _, headers = SAMPLES[format_.name].many([])
    batch = decode(format_, [(opening * 100_000, headers)])
    assert [(bad.index, bad.reason) for bad in batch.rejected] == [(WHOLE, "broken_json")]


@each_format
def test_an_array_without_events_is_rejected_whole(format_: Decoder) -> None:
    batch = decode(format_, [SAMPLES[format_.name].many([])])
    assert [(bad.index, bad.reason) for bad in batch.rejected] == [(WHOLE, "empty_array")]


@each_format
@pytest.mark.parametrize(("count", "reasons"), [(ARRAY_EVENTS_MAX, []), (ARRAY_EVENTS_MAX + 1, ["too_many_events"])])
def test_an_array_may_have_so_many_events_and_no_more(format_: Decoder, count: int, reasons: list[str]) -> None:
    alive = Interaction(kind="heartbeat", time="2012-07-01T00:00:00Z", source="x")
    batch = decode(format_, [SAMPLES[format_.name].many([alive] * count)])
    assert [bad.reason for bad in batch.rejected] == reasons
    assert len(batch.events) == (0 if reasons else count)
