import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.live.cursor import OFFSET_MAX, CursorError, decode_cursor, encode_cursor, tag_of

OFFSETS = st.lists(st.integers(0, OFFSET_MAX), min_size=1, max_size=100)
TAG = tag_of("a topic")


@given(OFFSETS)
def test_a_cursor_is_read_as_it_was_written(offsets: list[int]) -> None:
    assert decode_cursor(encode_cursor(TAG, offsets), TAG, len(offsets)) == offsets


@given(OFFSETS)
def test_a_cursor_of_another_topic_or_of_other_partitions_leads_nowhere(offsets: list[int]) -> None:
    assert decode_cursor(encode_cursor(tag_of("another"), offsets), TAG, len(offsets)) is None
    assert decode_cursor(encode_cursor(TAG, offsets), TAG, len(offsets) + 1) is None


@given(st.text())
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(CursorError):
        decode_cursor(f"{text}!", TAG, 4)


@pytest.mark.parametrize(
    "text",
    ["", "3f9a1c", "3f9a1c-", "3f9a1c-1..2", "3f9a1c--1", f"3f9a1c-{'9' * 19}", "3f9a1c-1." + "1." * 2_000 + "1"],
)
def test_what_is_nearly_one_is_refused(text: str) -> None:
    with pytest.raises(CursorError):
        decode_cursor(text, TAG, 1)
