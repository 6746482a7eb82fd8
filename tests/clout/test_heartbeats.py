import json
import time

import pytest

from clout.heartbeats import EVERY_SECONDS, Heartbeats
from schemas.limits import TIME_AHEAD_MS_MAX, TIME_MS_MAX


class Told(list[bytes]):
    """What heartbeats of a collector that begins at 0 seconds say."""

    def __init__(self) -> None:
        super().__init__()
        self.heartbeats = Heartbeats(self.append, "west", 0.0)

    @property
    def times_ms(self) -> list[int]:
        return [json.loads(value)["time"] for value in self]


def test_a_heartbeat_names_its_source_and_the_time_of_the_last_event() -> None:
    told = Told()
    told.heartbeats.sent(5)
    told.heartbeats.end()
    assert list(map(json.loads, told)) == [{"kind": "heartbeat", "source": "west", "time": 5}]


def test_heartbeats_come_no_more_often_than_they_may() -> None:
    told = Told()
    for number in range(100):
        told.heartbeats.sent(number)
        told.heartbeats.beat(number * EVERY_SECONDS / 20)
    assert told.times_ms == [20, 40, 60, 80]


def test_nothing_is_said_twice_but_at_the_end() -> None:
    told = Told()
    told.heartbeats.sent(5)
    for now in range(1, 5):
        told.heartbeats.beat(now * EVERY_SECONDS)
    assert told.times_ms == [5]
    told.heartbeats.end()
    assert told.times_ms == [5, 5]


def test_nothing_is_said_before_the_first_event() -> None:
    told = Told()
    told.heartbeats.beat(EVERY_SECONDS)
    told.heartbeats.end()
    assert told == []


def test_time_that_is_reached_without_an_event_is_told() -> None:
    told = Told()
    told.heartbeats.sent(5)
    told.heartbeats.reached(7)
    told.heartbeats.beat(EVERY_SECONDS)
    assert told.times_ms == [7]


def test_where_times_have_gone_back_only_the_end_is_told_with_the_latest() -> None:
    told = Told()
    for time_ms in (5, 9, 8, 10):
        told.heartbeats.sent(time_ms)
    told.heartbeats.beat(EVERY_SECONDS)
    assert told == []
    told.heartbeats.end()
    assert told.times_ms == [10]


@pytest.mark.parametrize(
    "refused",
    [-1, TIME_MS_MAX, int(time.time() * 1000) + 20 * TIME_AHEAD_MS_MAX],
    ids=["before 1970", "after 2099", "ahead"],
)
def test_the_time_of_an_event_that_ingest_refuses_is_not_told_and_spoils_no_order(refused: int) -> None:
    told = Told()
    for time_ms in (5, refused, 6):
        told.heartbeats.sent(time_ms)
    told.heartbeats.beat(EVERY_SECONDS)
    told.heartbeats.end()
    assert told.times_ms == [6, 6]
