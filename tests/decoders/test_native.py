import json
from typing import Any

import pytest

from streams.decoders.batch import WHOLE
from streams.decoders.formats.native import decode

FULL = {"id": "1", "kind": "share", "actor": "a", "target": "b", "time": 5}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"time": 5}, "missing_field"),
        ({"kind": "share"}, "missing_field"),
        (FULL | {"kind": "boost"}, "unknown_kind"),
        (FULL | {"kind": 7}, "wrong_type"),
        (FULL | {"id": 7}, "wrong_type"),
        (FULL | {"actor": None}, "wrong_type"),
        (FULL | {"target": ["b"]}, "wrong_type"),
        (FULL | {"time": 1.5}, "wrong_type"),
        (FULL | {"time": True}, "wrong_type"),
        (FULL | {"time": None}, "wrong_type"),
        (FULL | {"object": 1}, "wrong_type"),
        (FULL | {"source": {}}, "wrong_type"),
        (17, "wrong_type"),
        ("share", "wrong_type"),
        (None, "wrong_type"),
    ],
)
def test_what_is_wrong_is_named(value: Any, reason: str) -> None:
    batch = decode([json.dumps(value).encode()])
    assert [(bad.record, bad.index, bad.reason) for bad in batch.rejected] == [(0, WHOLE, reason)]
    assert not batch.events


def test_an_array_inside_an_array_is_no_event() -> None:
    batch = decode([json.dumps([[FULL]]).encode()])
    assert [(bad.index, bad.reason) for bad in batch.rejected] == [(0, "wrong_type")]


def test_fields_that_are_not_known_are_passed_over() -> None:
    batch = decode([json.dumps(FULL | {"language": {"is": ["eo"]}}).encode()])
    assert [event.id for event in batch.events] == ["1"]


def test_text_that_is_not_utf_8_is_broken_json() -> None:
    batch = decode([b'{"id":"\xff","kind":"share","actor":"a","target":"b","time":5}'])
    assert [bad.reason for bad in batch.rejected] == ["broken_json"]


def test_half_a_surrogate_pair_is_broken_json() -> None:
    batch = decode([rb'{"id":"\ud800","kind":"share","actor":"a","target":"b","time":5}'])
    assert [bad.reason for bad in batch.rejected] == ["broken_json"]


def test_a_record_cannot_borrow_from_its_neighbour() -> None:
    batch = decode(
        [b'{"kind":"heartbeat",', b'"time":5}', b'{"kind":"heartbeat","time":5}{"kind":"heartbeat","time":6}']
    )
    assert [bad.reason for bad in batch.rejected] == ["broken_json"] * 3


def test_the_good_ones_between_bad_ones_know_their_record() -> None:
    good, bad, array = b'{"kind":"heartbeat","time":5}', b"{}", b'[{"kind":"heartbeat","time":5},{}]'
    batch = decode([bad, good, array, bad, bad, good, good])
    assert batch.record.tolist() == [1, 2, 5, 6]
    assert batch.index.tolist() == [WHOLE, 0, WHOLE, WHOLE]
    assert [(found.record, found.index) for found in batch.rejected] == [(0, -1), (2, 1), (3, -1), (4, -1)]
