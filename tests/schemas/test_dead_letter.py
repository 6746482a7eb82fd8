from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.dead_letter import (
    REASONS,
    DeadLetter,
    Header,
    Reason,
    decode_headers,
    decode_mark,
    encode_headers,
    encode_mark,
    original_headers,
)
from schemas.limits import DETAIL_LENGTH_MAX

letters = st.builds(
    DeadLetter,
    reason=st.sampled_from(get_args(Reason)),
    detail=st.text(st.characters(codec="utf-8"), max_size=DETAIL_LENGTH_MAX),
    source_topic=st.text(st.characters(codec="utf-8")),
    source_partition=st.integers(0, 2**31 - 1),
    source_offset=st.integers(0, 2**63 - 1),
    source_time=st.integers(0, 2**63 - 1),
    source_index=st.none() | st.integers(0, 10_000),
)


@given(letters)
def test_what_is_written_is_read_back(letter: DeadLetter) -> None:
    assert decode_headers(encode_headers(letter)) == letter


def test_a_long_detail_is_cut() -> None:
    letter = DeadLetter(
        reason="broken_json", detail="x" * 10_000, source_topic="t", source_partition=0, source_offset=0, source_time=0
    )
    assert decode_headers(encode_headers(letter)).detail == "x" * DETAIL_LENGTH_MAX


def test_every_reason_has_a_sentence() -> None:
    assert set(REASONS) == set(get_args(Reason))
    assert all(sentence.endswith(".") for sentence in REASONS.values())


def test_headers_of_something_else_are_refused() -> None:
    with pytest.raises(ValueError, match="missing required field"):
        decode_headers([("content-type", b"application/json")])


names = st.text(st.characters(codec="utf-8"), max_size=20)


@given(letters, st.lists(st.tuples(names, st.none() | st.binary(max_size=20))))
def test_whatever_headers_a_record_had_come_back_and_say_nothing_of_the_letter(
    letter: DeadLetter, original: list[Header]
) -> None:
    headers = encode_headers(letter, original)
    assert original_headers(headers) == original
    assert decode_headers(headers) == letter
    assert decode_mark(headers) is None


@given(st.integers(0, 2**63 - 1))
def test_a_mark_names_its_letter_and_is_none(offset: int) -> None:
    assert decode_mark(encode_mark(offset)) == offset
    with pytest.raises(ValueError, match="missing required field"):
        decode_headers(encode_mark(offset))
