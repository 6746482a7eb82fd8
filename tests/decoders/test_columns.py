import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.interaction import CODES, HEARTBEAT_CODE, REQUIRED, RETRACT_CODE, Interaction
from schemas.limits import (
    ID_BYTES_MAX,
    OBJECT_BYTES_MAX,
    RECORD_BYTES_MAX,
    SOURCE_BYTES_MAX,
    TIME_AHEAD_MS_MAX,
    TIME_MS_MAX,
    USER_BYTES_MAX,
)
from schemas.users import user_hash
from streams.decoders.batch import WHOLE, Batch, originals
from streams.decoders.columns import Columns
from streams.decoders.formats.native import decode
from streams.decoders.reader import read
from streams.decoders.texts import Texts

ARRIVAL_MS = 1_340_000_000_000
FULL = {"id": "1", "kind": "share", "actor": "a", "target": "b", "time": ARRIVAL_MS, "object": "o", "source": "s"}


def columns_of(*values: Any, arrival_ms: int = ARRIVAL_MS) -> Columns:
    encoded = [value if isinstance(value, bytes | None) else json.dumps(value).encode() for value in values]
    return read(decode, encoded, None, np.full(len(values), arrival_ms))


def texts(column: Texts) -> list[str]:
    return [text.decode() for text in column.rows()]


def hashes(*ids: str) -> list[int]:
    return [user_hash(id_.encode()) for id_ in ids]


def reasons(columns: Columns) -> list[str]:
    return [bad.reason for bad in columns.rejected]


def test_fields_are_laid_out_by_column() -> None:
    columns = columns_of(FULL, [FULL | {"id": "2", "kind": "reaction"}, FULL | {"id": "3", "source": None}])
    assert columns.id_hash.tolist() == hashes("1", "2", "3")
    assert (texts(columns.actors), texts(columns.targets)) == (["a"] * 3, ["b"] * 3)
    assert texts(columns.sources) == ["s", "s", ""]
    assert columns.kind.tolist() == [CODES["share"], CODES["reaction"], CODES["share"]]
    assert columns.time_ms.tolist() == [ARRIVAL_MS] * 3
    assert columns.record.tolist() == [0, 1, 1]
    assert columns.index.tolist() == [WHOLE, 0, 1]


def test_retractions_and_heartbeats_need_no_more_than_they_say() -> None:
    columns = columns_of({"kind": "heartbeat", "time": 1}, {"id": "1", "kind": "retract", "actor": "a", "time": 1})
    assert columns.kind.tolist() == [HEARTBEAT_CODE, RETRACT_CODE]
    assert texts(columns.targets) == ["", ""]


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, name) for kind, names in REQUIRED.items() for name in names if name not in {"kind", "time"}],
)
@pytest.mark.parametrize("absent", [True, False], ids=["absent", "empty"])
def test_a_field_that_its_kind_needs_must_be_there(kind: str, name: str, absent: bool) -> None:
    event = FULL | {"kind": kind, name: ""}
    if absent:
        del event[name]
    assert reasons(columns_of(event)) == ["missing_field"]


@pytest.mark.parametrize("letter", ["x", "ж", "😀"])
@pytest.mark.parametrize(
    ("name", "bytes_max", "reason"),
    [
        ("id", ID_BYTES_MAX, "id_too_long"),
        ("actor", USER_BYTES_MAX, "user_too_long"),
        ("target", USER_BYTES_MAX, "user_too_long"),
        ("object", OBJECT_BYTES_MAX, "object_too_long"),
        ("source", SOURCE_BYTES_MAX, "source_too_long"),
    ],
)
def test_a_text_may_be_so_long_and_no_longer(name: str, bytes_max: int, reason: str, letter: str) -> None:
    longest = letter * (bytes_max // len(letter.encode()))
    columns = columns_of(FULL | {name: longest}, FULL | {name: longest + "x"}, FULL)
    assert columns.record.tolist() == [0, 2]
    assert [(bad.record, bad.reason) for bad in columns.rejected] == [(1, reason)]


@pytest.mark.parametrize("name", ["actor", "target"])
@pytest.mark.parametrize("character", ["\x00", "\n", "\x1f"])
def test_a_user_id_holds_no_control_character(name: str, character: str) -> None:
    assert reasons(columns_of(FULL | {name: f"a{character}b"}, FULL)) == ["control_character"]


@pytest.mark.parametrize("user", [" ", "\x7f", "жук", "😀", "a b"])
def test_a_user_id_may_be_any_other_text(user: str) -> None:
    assert texts(columns_of(FULL | {"actor": user}).actors) == [user]


@pytest.mark.parametrize(
    "time",
    [
        -1,
        TIME_MS_MAX,
        2**63,
        -(2**63) - 1,
        10**30,
        "",
        "soon",
        "1340000000000",
        "2012-07-01T00:00:00",
        "1969-12-31T23:59:59Z",
    ],
)
@pytest.mark.parametrize("beside", [ARRIVAL_MS, "2012-06-01T00:00:00Z"], ids=["milliseconds", "text"])
def test_a_time_that_is_none_is_rejected(time: int | str, beside: int | str) -> None:
    columns = columns_of(FULL | {"time": beside}, FULL | {"time": time}, arrival_ms=TIME_MS_MAX)
    assert [(bad.record, bad.reason) for bad in columns.rejected] == [(1, "time_invalid")]
    assert len(columns.time_ms) == 1


@pytest.mark.parametrize("time", [TIME_MS_MAX, 2**53 + 1, 2**63 - 1])
def test_a_time_beyond_the_calendar_is_invalid_and_not_only_in_the_future(time: int) -> None:
    assert reasons(columns_of(FULL | {"time": time})) == ["time_invalid"]


def test_the_first_and_the_last_moment_are_accepted() -> None:
    columns = columns_of(FULL | {"time": 0}, FULL | {"time": TIME_MS_MAX - 1}, arrival_ms=TIME_MS_MAX)
    assert columns.time_ms.tolist() == [0, TIME_MS_MAX - 1]


def test_times_may_be_text_and_numbers_in_one_batch() -> None:
    columns = columns_of(FULL | {"time": 5}, FULL | {"time": "1970-01-01T01:00:00.006+01:00"})
    assert columns.time_ms.tolist() == [5, 6]


def test_an_event_may_be_so_much_later_than_its_arrival_and_no_more() -> None:
    latest = ARRIVAL_MS + TIME_AHEAD_MS_MAX
    columns = columns_of(FULL | {"time": latest}, FULL | {"time": latest + 1})
    assert columns.time_ms.tolist() == [latest]
    assert [(bad.record, bad.reason) for bad in columns.rejected] == [(1, "time_in_future")]


def test_each_event_is_held_against_the_arrival_of_its_own_record() -> None:
    late, early = [FULL, FULL], FULL | {"id": "2"}
    values = [json.dumps(value).encode() for value in (late, early)]
    columns = read(decode, values, None, np.array([ARRIVAL_MS - 10**9, ARRIVAL_MS]))
    assert columns.id_hash.tolist() == hashes("2")
    assert [(bad.record, bad.index) for bad in columns.rejected] == [(0, 0), (0, 1)]


@pytest.mark.parametrize(("bytes_more", "expected"), [(0, []), (1, ["record_too_large"])])
def test_a_record_may_be_so_large_and_no_larger(bytes_more: int, expected: list[str]) -> None:
    small = json.dumps(FULL | {"more": ""}).encode()
    value = small.replace(b'"more": "', b'"more": "' + b"x" * (RECORD_BYTES_MAX - len(small) + bytes_more))
    assert len(value) == RECORD_BYTES_MAX + bytes_more
    assert reasons(columns_of(value, FULL)) == expected


def test_records_beside_one_that_is_not_read_keep_their_places() -> None:
    columns = columns_of(None, FULL, b"x" * (RECORD_BYTES_MAX + 1), {}, [FULL, 7])
    assert columns.record.tolist() == [1, 4]
    assert sorted((bad.record, bad.index, bad.reason) for bad in columns.rejected) == [
        (0, WHOLE, "broken_json"),
        (2, WHOLE, "record_too_large"),
        (3, WHOLE, "missing_field"),
        (4, 1, "wrong_type"),
    ]


def test_only_the_first_thing_wrong_with_an_event_is_named() -> None:
    assert reasons(columns_of(FULL | {"id": "", "actor": "\n", "time": -1})) == ["missing_field"]


def test_a_kind_that_a_decoder_made_up_is_rejected() -> None:
    def careless(values: Any, headers: Any) -> Batch:  # noqa: ARG001
        batch = Batch()
        batch.events.append(Interaction(kind="boost", time=1, id="1", actor="a", target="b"))  # type: ignore[arg-type]
        batch.came_one_by_one(0, 1)
        return batch

    assert reasons(read(careless, [b""], None, np.zeros(1, np.int64))) == ["unknown_kind"]


def test_no_records_make_empty_columns() -> None:
    columns = read(decode, [], None, np.empty(0, np.int64))
    assert (len(columns.id_hash), len(columns.kind), len(columns.record), columns.rejected) == (0, 0, 0, [])


def test_the_original_of_an_element_is_its_own_bytes() -> None:
    columns = columns_of(b'[ {"kind" : "boost", "time":1} , 7]', None)
    assert originals(columns.rejected, [b'[ {"kind" : "boost", "time":1} , 7]', None]) == [
        b'{"kind" : "boost", "time":1}',
        b"7",
        None,
    ]


near_limits = st.sampled_from(["", "a", "ж" * 128, "x" * 256, "x" * 257, "ж" * 129, "a\tb"])
times = st.sampled_from([ARRIVAL_MS, -1, ARRIVAL_MS * 2, 2**70, "1970-01-01T00:00:05Z", "then"])
events = st.fixed_dictionaries(
    {
        "kind": st.sampled_from([*REQUIRED]),
        "id": near_limits,
        "actor": near_limits,
        "target": near_limits,
        "time": times,
    },
    optional={"object": near_limits | st.none(), "source": near_limits | st.none()},
)


@given(st.lists(events, max_size=6))
def test_events_together_are_judged_as_each_alone(batch: list[dict[str, Any]]) -> None:
    together = columns_of(*batch)
    alone = [columns_of(event) for event in batch]
    assert together.id_hash.tolist() == [id_ for one in alone for id_ in one.id_hash.tolist()]
    assert together.time_ms.tolist() == [time for one in alone for time in one.time_ms.tolist()]
    assert [(bad.record, bad.reason) for bad in together.rejected] == [
        (record, bad.reason) for record, one in enumerate(alone) for bad in one.rejected
    ]
