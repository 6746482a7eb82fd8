"""The fast way for plain records reads less than the decoder, and nothing differently."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
import xxhash
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.interaction import REQUIRED, Interaction, encode
from schemas.limits import ARRAY_EVENTS_MAX, OBJECT_BYTES_MAX, TIME_AHEAD_MS_MAX, TIME_MS_MAX
from schemas.times import format_ms
from streams.decoders import plain
from streams.decoders.columns import Columns
from streams.decoders.formats.native import decode
from streams.decoders.plain import read_plain
from streams.decoders.reader import read
from streams.decoders.xxh3 import BYTES_MAX, PADDING, words_of, xxh3

ARRIVAL_MS = 1_340_000_000_000
FULL: dict[str, Any] = {
    "id": "1",
    "kind": "share",
    "actor": "a",
    "target": "b",
    "time": ARRIVAL_MS,
    "object": "o",
    "source": "s",
}


def as_rows(columns: Columns) -> list[tuple[Any, ...]]:
    """All that columns say, but for what was rejected."""
    arrays = (columns.record, columns.index, columns.kind, columns.time_ms, columns.id_hash)
    texts = (columns.actors, columns.targets, columns.sources)
    return list(zip(*(array.tolist() for array in arrays), *(text.rows() for text in texts), strict=True))


def both(values: list[bytes], arrival_ms: int = ARRIVAL_MS) -> tuple[Columns, Columns]:
    """What the decoder alone makes of records, and what the fast way and the decoder make of them together."""
    arrival = np.full(len(values), arrival_ms)
    return read(decode, values, None, arrival), read(decode, values, None, arrival, read_plain)


def is_plain(value: bytes, arrival_ms: int = ARRIVAL_MS) -> bool:
    return not len(read_plain([value], np.array([len(value)]), np.full(1, arrival_ms)).others)


def check_same(values: list[bytes]) -> None:
    slow, fast = both(values)
    assert as_rows(fast) == as_rows(slow)
    assert sorted(fast.rejected, key=repr) == sorted(slow.rejected, key=repr)


texts = st.text(st.characters(codec="utf-8"), max_size=20) | st.sampled_from(["", "x" * 128, "x" * 129, "ж" * 64])
moments = st.datetimes(datetime(1969, 12, 31), datetime(2101, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
moment_texts = st.builds(
    lambda moment, digits, end: moment.strftime("%Y-%m-%dT%H:%M:%S") + digits + end,
    moments,
    st.sampled_from(["", ".", ".5", ".25", ".125", ".999999", ".9999999", ".-5"]),
    st.sampled_from(["Z", "z", "+00:00", "-02:00", ""]),
)
times = st.integers(-(2**65), 2**65) | st.integers(0, TIME_MS_MAX) | moment_texts | st.floats(allow_nan=False) | texts
events = st.fixed_dictionaries(
    {},
    optional={
        "kind": st.sampled_from([*REQUIRED, "boost", "Share", ""]),
        "id": texts,
        "actor": texts,
        "target": texts,
        "time": times,
        "object": texts | st.none(),
        "source": texts | st.none(),
        "more": texts | st.none() | st.integers() | st.lists(st.integers(), max_size=2),
    },
)
dumps: st.SearchStrategy[Callable[[Any], bytes]] = st.sampled_from(
    [
        lambda value: json.dumps(value).encode(),
        lambda value: json.dumps(value, ensure_ascii=False).encode(),
        lambda value: json.dumps(value, indent=1, ensure_ascii=False).encode(),
        lambda value: json.dumps(value, separators=(",", ":")).encode() + b"\n",
    ]
)
written = st.builds(lambda write, value: write(value), dumps, events | st.lists(events, max_size=3))


DAMAGES = [b"", b'"', b"\\", b"}", b"]", b",", b":", b" ", b"\x00", b"\xff", b"0", b"\x7f", b"{", b"\t"]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A record with a few bytes that are others."""
    value = bytearray(draw(written))
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(0, max(0, len(value) - 1)))
        value[place : place + draw(st.integers(0, 3))] = draw(
            st.sampled_from(
                [b"", b'"', b"\\", b"}", b"]", b",", b":", b" ", b"\x00", b"\xff", b"0", b"\x7f", b"{", b"\t"]
            )
        )
    return bytes(value)


@given(st.lists(written | damaged(), max_size=5))
@example([b"[]"])
@example([b'[{"kind":"heartbeat","time":1},]'])
@example([b'[{"kind":"heartbeat","time":1}'])
@example([b'{"kind":"heartbeat","time":1}]'])
@example([b'{"kind":"heartbeat","time":1,}'])
@example([b'{"kind":"heartbeat","time":01}'])
@example([b'{"kind":"heartbeat","time":1,"time":2}'])
@example([b'{"kind":"heartbeat","time":1,"x":"1","x":"2"}'])
@example([b'{"kind":"heartbeat","time":1,"source":"x","source":null}'])
@example([b'{"kind":"heartbeat","time":1,"source":"a\tb"}', b'{"kind":"heartbeat","time":1,"sou\x00rce":"b"}'])
@example([b'{"kind":"heartbeat","time":1}', b'{"kind":"heartbeat","time":"'])
@example([b'{"kind":"heartbeat","time":1,"sourc', b'e":"x"}'])
@example([b'{"kind":"heartbeat","time":1,"source":nul', b"l}"])
@example([b'{"kind":"heartbeat","time":1,"source":"\xff"}', b'{"kind":"heartbeat","time":2,"source":"\xd0\xb6"}'])
def test_whatever_comes_is_read_as_by_the_decoder_alone(values: list[bytes]) -> None:
    check_same(values)


@given(st.lists(st.binary(max_size=12), max_size=4))
def test_bytes_of_any_kind_are_read_as_by_the_decoder_alone(values: list[bytes]) -> None:
    check_same(values)


@given(moment_texts)
@example("2011-02-29T00:00:00Z")
@example("2012-02-30T00:00:00Z")
@example("2012-04-31T00:00:00Z")
@example("2012-13-01T00:00:00Z")
@example("2012-00-01T00:00:00Z")
@example("2012-01-00T00:00:00Z")
@example("2012-01-01T24:00:00Z")
@example("2012-01-01T00:60:00Z")
@example("2012-01-01T00:00:60Z")
@example("2012-01-01 00:00:00Z")
@example("2012/01/01T00:00:00Z")
@example("2100-02-29T00:00:00Z")
def test_moments_are_those_that_the_decoder_reads(text: str) -> None:
    check_same([encode(Interaction(kind="heartbeat", time=text))])


@pytest.mark.parametrize("kind", REQUIRED)
@pytest.mark.parametrize("time", [ARRIVAL_MS, format_ms(ARRIVAL_MS), "2000-02-29T23:59:59Z"])
def test_what_collectors_usually_write_is_plain(kind: Any, time: Any) -> None:
    whole = encode(Interaction(**(FULL | {"kind": kind, "time": time})))
    assert is_plain(whole)
    assert is_plain(b"[" + whole + b", " + whole + b"]")
    assert is_plain(json.dumps(FULL | {"language": "eo", "source": "мост"}, ensure_ascii=False, indent=2).encode())


@pytest.mark.parametrize(
    "value",
    [
        FULL | {"id": 'a"b'},
        FULL | {"time": 1.5},
        FULL | {"more": 7},
        FULL | {"actor": ""},
        FULL | {"actor": "x" * (BYTES_MAX + 1)},
        FULL | {"object": "x" * (OBJECT_BYTES_MAX + 1)},
        FULL | {"time": ARRIVAL_MS + TIME_AHEAD_MS_MAX + 1},
        FULL | {"time": "1900-02-29T00:00:00Z"},
        [],
        [FULL, 7],
    ],
)
def test_what_is_not_plain_is_left_to_the_decoder(value: Any) -> None:
    assert not is_plain(json.dumps(value).encode())


def test_no_batch_makes_the_kernel_be_compiled_once_more() -> None:
    check_same([b'{"kind":"heartbeat","time":1}'])
    compiled = len(plain._read.signatures)  # type: ignore[attr-defined]
    for values in ([], [b""], [b"", b""], [b"x"], [b"{"]):
        check_same(values)
    assert len(plain._read.signatures) == compiled  # type: ignore[attr-defined]


def test_an_array_may_have_as_many_events_as_for_the_decoder() -> None:
    alive = b'{"kind":"heartbeat","time":1}'
    for count, fits in ((ARRAY_EVENTS_MAX, True), (ARRAY_EVENTS_MAX + 1, False)):
        assert is_plain(b"[" + b",".join([alive] * count) + b"]") == fits


def test_names_are_numbered_once_however_many_there_are() -> None:
    count = 5_000
    values = [
        json.dumps(FULL | {"actor": f"a{n % 999}", "target": f"t{n}", "id": f"{n}"}).encode() for n in range(count)
    ]
    columns = read_plain(values, np.array(list(map(len, values))), np.full(count, ARRIVAL_MS)).columns
    assert len(columns.actors.names) == 999 + 1
    assert columns.actors.rows() == [b"a%d" % (n % 999) for n in range(count)]
    assert columns.targets.rows() == [b"t%d" % n for n in range(count)]
    assert columns.targets.hashes[columns.targets.number].tolist() == [
        xxhash.xxh3_64_intdigest(b"t%d" % n) for n in range(count)
    ]


@given(st.binary(max_size=BYTES_MAX), st.binary(max_size=3), st.binary(max_size=3))
def test_the_hash_is_that_of_the_library(text: bytes, before: bytes, behind: bytes) -> None:
    words = words_of(before + text + behind + PADDING)
    assert int(xxh3(words, len(before), len(before) + len(text))) == xxhash.xxh3_64_intdigest(text)


@pytest.mark.parametrize("size", range(BYTES_MAX + 1))
def test_the_hash_is_that_of_the_library_at_every_length(size: int) -> None:
    text = bytes((7 * at + size) % 256 for at in range(size))
    assert int(xxh3(words_of(text + PADDING), 0, size)) == xxhash.xxh3_64_intdigest(text)
