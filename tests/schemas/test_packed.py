from contextlib import suppress
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.change import CAUSES
from schemas.interaction import RETRACT_CODE
from schemas.kinds import KINDS
from schemas.limits import LANE_RECORD_ROWS_MAX, LANE_SOURCE_BYTES_MAX, SEQUENCE_MAX, TIME_MS_MAX, USER_BYTES_MAX
from schemas.packed import (
    ADJUSTMENTS,
    COLUMNS,
    COMMANDS,
    CREDITS,
    FORGET,
    INTERACTIONS,
    VERSION,
    PackedError,
    Record,
    Stamp,
    decode,
    decode_key,
    encode,
    encode_key,
    peek,
)

user_names = st.text(st.characters(codec="utf-8", min_codepoint=0x20), min_size=1, max_size=64)
users = st.lists(user_names.map(str.encode), min_size=1, max_size=20, unique=True)
names = st.lists(st.text(max_size=20), min_size=1, max_size=5, unique=True)


RANGES = {"cause": (0, len(CAUSES)), "kind": (0, len(KINDS)), "command": (1, 3), "time": (0, TIME_MS_MAX)}
"""Columns whose values are checked."""


@st.composite
def records(draw: st.DrawFn) -> Record:
    kind = draw(st.sampled_from(sorted(COLUMNS)))
    rows = draw(st.integers(0, 50))
    networks, labels, actors, targets = draw(names), draw(names), draw(users), draw(users)
    sizes = {"network": len(networks), "label": len(labels)}
    sizes |= {f"actor{end}": len(actors) for end in ("", "_account")}
    sizes |= {f"target{end}": len(targets) for end in ("", "_account")}
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    columns: dict[str, Any] = {}
    for name, dtype in COLUMNS[kind].items():
        if name.endswith("_account") and draw(st.booleans()):
            columns[name] = np.empty(0, dtype)
        elif name in sizes:
            columns[name] = random.integers(0, sizes[name], rows).astype(dtype)
        elif name in RANGES:
            columns[name] = random.integers(*RANGES[name], rows).astype(dtype)
        else:
            columns[name] = np.frombuffer(random.bytes(rows * dtype.itemsize), dtype)
    return Record(kind, rows, networks, labels, actors, targets, columns)


def small(kind: str = CREDITS, rows: int = 2) -> Record:
    columns = {name: np.zeros(rows, dtype) for name, dtype in COLUMNS[kind].items()}
    if "command" in columns:
        columns["command"] += FORGET
    return Record(kind, rows, ["n"], [""], [b"a"], [b"t"], columns)


def wire(**changes: Any) -> bytes:
    """The bytes of a small record, with some of its fields changed."""
    fields = ["version", "kind", "rows", "networks", "labels", "actors", "targets", "columns"]
    values = dict(zip(fields, msgspec.msgpack.decode(encode(small())), strict=True))
    return msgspec.msgpack.encode(list((values | changes).values()))


@given(records())
def test_a_record_comes_back_as_it_was(record: Record) -> None:
    back = decode(encode(record))
    assert back[:-1] == record[:-1]
    for name, column in record.columns.items():
        assert back.columns[name].tobytes() == column.tobytes()
        assert back.columns[name].dtype == COLUMNS[record.kind][name]


@pytest.mark.parametrize("kind", [INTERACTIONS, CREDITS, ADJUSTMENTS])
def test_a_record_without_rows_is_one(kind: str) -> None:
    assert decode(encode(small(kind, 0))).rows == 0


@given(records(), st.data())
def test_truncated_bytes_are_refused(record: Record, data: st.DataObject) -> None:
    value = encode(record)
    with pytest.raises(PackedError, match="not a packed record"):
        decode(value[: data.draw(st.integers(0, len(value) - 1))])


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_refused_and_nothing_else_is_raised(value: bytes) -> None:
    with pytest.raises(PackedError):
        decode(value)


@given(records(), st.data())
def test_a_flipped_byte_is_refused_or_read_but_raises_nothing_else(record: Record, data: st.DataObject) -> None:
    value = bytearray(encode(record))
    value[data.draw(st.integers(0, len(value) - 1))] ^= data.draw(st.integers(1, 255))
    with suppress(PackedError):
        decode(bytes(value))


def test_another_version_is_refused_with_both_versions() -> None:
    with pytest.raises(PackedError, match=rf"format version {VERSION + 1}; this program reads version {VERSION}"):
        decode(wire(version=VERSION + 1))


def test_another_version_is_known_as_such_even_if_its_fields_differ() -> None:
    with pytest.raises(PackedError, match="format version 9"):
        decode(msgspec.msgpack.encode([9, {"all": "different"}]))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": "opinions"}, "unknown kind of packed record 'opinions'"),
        ({"rows": -1}, "-1 rows"),
        ({"rows": LANE_RECORD_ROWS_MAX + 1}, f"{LANE_RECORD_ROWS_MAX + 1} rows"),
        ({"columns": []}, "0 columns; credits have 13"),
        ({"rows": 3}, "2 rows|3 rows need"),
        ({"targets": []}, "column target points at entry 0 of a list of 0"),
        ({"networks": []}, "column network points at entry 0"),
        ({"labels": []}, "column label points at entry 0"),
        ({"actors": []}, "column actor points at entry 0"),
        ({"networks": [b"\xff"]}, "not a packed record"),
    ],
)
def test_what_does_not_fit_together_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(PackedError, match=words):
        decode(wire(**changes))


@pytest.mark.parametrize("name", ["actor", "actor_account", "target", "target_account", "network", "label"])
def test_an_index_past_its_list_is_refused(name: str) -> None:
    record = small()
    columns = dict(record.columns)
    columns[name] = columns[name] + columns[name].dtype.type(1)
    with pytest.raises(PackedError, match=f"column {name} points at entry 1 of a list of 1"):
        decode(encode(record._replace(columns=columns)))


@given(st.text(min_size=1, max_size=LANE_SOURCE_BYTES_MAX // 4), st.integers(0, SEQUENCE_MAX))
def test_a_key_comes_back_as_it_was(source: str, sequence: int) -> None:
    assert decode_key(encode_key(Stamp(source, sequence))) == (source, sequence)


@pytest.mark.parametrize(
    "key", [None, b"", b"twitter", b"twitter:", b":1", b"twitter:-1", b"twitter:1x", b"a:\xc2\xb2"]
)
def test_what_is_no_key_is_refused(key: bytes | None) -> None:
    with pytest.raises(PackedError, match="does not name a source"):
        decode_key(key)


@pytest.mark.parametrize("digits", [21, 5_000])
def test_a_key_with_a_sequence_of_too_many_digits_is_refused(digits: int) -> None:
    with pytest.raises(PackedError, match="has a sequence of more than"):
        decode_key(b"twitter/3:" + b"9" * digits)


def test_nesting_beyond_the_stack_is_refused() -> None:
    value = encode(small())
    deep = value[:1] + b"\x91" * 100_000
    with pytest.raises(PackedError, match="not a packed record"):
        decode(deep)
    assert peek(deep) == ("", 1)


@pytest.mark.parametrize("rows", [-1, 0, LANE_RECORD_ROWS_MAX + 1, 2**63])
def test_whatever_a_damaged_record_says_its_rows_are_within_the_limits_to_those_who_peek(rows: int) -> None:
    assert 1 <= peek(wire(rows=rows)).rows <= LANE_RECORD_ROWS_MAX


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (INTERACTIONS, "kind", len(KINDS)),
        (CREDITS, "kind", RETRACT_CODE),
        (ADJUSTMENTS, "cause", len(CAUSES)),
        (COMMANDS, "command", 0),
    ],
)
def test_a_code_that_kernels_would_look_up_past_a_table_is_refused(kind: str, name: str, value: int) -> None:
    record = small(kind)
    columns = dict(record.columns) | {name: np.full(record.rows, value, np.uint8)}
    with pytest.raises(PackedError, match=f"column {name} holds the unknown code {value}"):
        decode(encode(record._replace(columns=columns)))


@pytest.mark.parametrize("time", [-1, TIME_MS_MAX, 2**62])
@pytest.mark.parametrize("kind", sorted(kind for kind, columns in COLUMNS.items() if "time" in columns))
def test_a_time_that_would_carry_a_clock_away_is_refused(kind: str, time: int) -> None:
    record = small(kind)
    columns = dict(record.columns) | {"time": np.array([0, time])}
    with pytest.raises(PackedError, match=f"column time holds {time} ms"):
        decode(encode(record._replace(columns=columns)))


def test_a_retraction_is_a_kind_of_interaction() -> None:
    record = small(INTERACTIONS)
    columns = dict(record.columns) | {"kind": np.full(2, RETRACT_CODE, np.uint8)}
    assert decode(encode(record._replace(columns=columns))).columns["kind"].tolist() == [RETRACT_CODE] * 2


@pytest.mark.parametrize("side", ["actors", "targets"])
@pytest.mark.parametrize(
    ("user", "words"),
    [
        (b"", "is empty"),
        (b"x" * (USER_BYTES_MAX + 1), f"more than {USER_BYTES_MAX} bytes"),
        (b"a\0actors key", "holds a control character"),
        (b"two\nlines", "holds a control character"),
        (b"\xff", "is not UTF-8"),
        (b"half \xc3", "is not UTF-8"),
    ],
)
def test_a_user_that_ingest_would_refuse_is_refused(side: str, user: bytes, words: str) -> None:
    for users_ in ([user], [user, b"a"], [b"a", user], [b"a", user, "ж".encode()]):
        with pytest.raises(PackedError, match=f"a user of {side} {words}|a user of {side} is empty or has {words}"):
            decode(wire(**{side: users_}))


def test_the_longest_user_is_read() -> None:
    assert decode(wire(actors=[b"x" * USER_BYTES_MAX, b"y"])).actors == [b"x" * USER_BYTES_MAX, b"y"]
