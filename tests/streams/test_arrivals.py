"""When records came: what is asked of some of them is what each would say."""

from itertools import count

import numpy as np
import pytest
from confluent_kafka import Message
from hypothesis import given
from hypothesis import strategies as st

from streams import arrivals as module
from streams.arrivals import arrivals

BATCHES = st.tuples(st.integers(0, 2), st.integers(1, 40), st.integers(0, 1))
"""Partition, records, and ms since the one before in that partition."""


def came_at(time_ms: int) -> Message:
    return Message(topic="raw", partition=0, offset=0, value=b"", timestamp=(2, time_ms))


@given(st.lists(BATCHES, min_size=1, max_size=30))
def test_every_record_came_when_it_says(batches: list[tuple[int, int, int]]) -> None:
    clock = [1_000, 1_000, 1_001]
    times, partition = [], []
    for number, records, later_ms in batches:
        clock[number] += later_ms
        times += [clock[number]] * records
        partition += [number] * records

    assert arrivals([came_at(time) for time in times], np.array(partition)).tolist() == times


def test_records_of_one_batch_are_hardly_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = count()

    class Counted:
        def timestamp(self) -> tuple[int, int]:
            next(asked)
            return 2, 7

    monkeypatch.setattr(module, "Message", Counted)

    assert arrivals([Counted()] * 1_600, np.full(1_600, 3)).tolist() == [7] * 1_600  # type: ignore[list-item]
    assert next(asked) <= 1_600 / 16 + 1
