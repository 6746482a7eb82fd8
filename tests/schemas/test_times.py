from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.limits import TIME_MS_MAX
from schemas.times import format_ms, parse_many_ms, parse_ms

times_ms = st.integers(0, TIME_MS_MAX - 1)


@given(times_ms)
def test_what_is_written_is_read_back(time_ms: int) -> None:
    assert parse_ms(format_ms(time_ms)) == time_ms


@given(times_ms, st.integers(-23 * 60, 23 * 60))
def test_an_offset_is_taken_into_account(time_ms: int, offset_minutes: int) -> None:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=time_ms)
    local = moment.astimezone(timezone(timedelta(minutes=offset_minutes)))
    assert parse_ms(local.isoformat()) == time_ms


@given(st.lists(times_ms))
def test_many_are_read_as_one_by_one(times: list[int]) -> None:
    assert parse_many_ms([format_ms(time_ms) for time_ms in times]).tolist() == times


@given(st.lists(st.datetimes(datetime(1970, 1, 1), datetime(2099, 12, 31)), min_size=1))  # noqa: DTZ001 - made UTC below
def test_what_is_finer_than_a_millisecond_is_cut_off(moments: list[datetime]) -> None:
    texts = [f"{moment.isoformat(timespec='microseconds')}Z" for moment in moments]
    cut = [f"{text[:-4]}Z" for text in texts]
    assert parse_many_ms(texts).tolist() == [parse_ms(text) for text in texts] == [parse_ms(text) for text in cut]


def test_before_1970_is_written_with_a_positive_fraction() -> None:
    assert format_ms(-1) == "1969-12-31T23:59:59.999Z"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1340000000000",
        "2012-07-01",
        "2012-07-01T00:00:00",
        "2012-07-01T00:00Z",
        "2012-02-30T00:00:00Z",
        "2012-07-01T24:00:00Z",
        "2012-07-01T00:00:00Z ",
        "yesterday",
    ],
)
def test_what_is_not_rfc_3339_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"RFC3339|timezone"):
        parse_ms(text)
