"""What the gateway makes of what others tell: tops with people who are hidden, clocks and what holds them, hours."""

import asyncio
import threading
from types import SimpleNamespace
from typing import Any, Final, cast

import pytest
from confluent_kafka import Message

from gateway import sender
from gateway.columns import Columns
from gateway.feeds import Feeds, holders
from gateway.population import MINUTE_MS, Hours, shifts
from gateway.ranking import LISTED_MAX, movers, top
from gateway.read_model import Seen
from gateway.standing import SILENT_MS, World
from schemas.change import ScoreChange, Subscores
from schemas.control import CommandRecord, encode_record
from schemas.feed_report import REGISTERS, FeedReport, Volume, encode_feed_report
from schemas.incident import Incident, Note, Slice
from schemas.population import NetworkPopulation, Population, Shift, Steps, encode_population
from schemas.times import format_ms
from streams.incident_facts import facts
from streams.names import Names
from streams.settings import KafkaSettings, NetworkSettings

NOW_MS: Final = 1_750_000_000_000
_EMPTY: Final = [0] * 100
_NONE: Final = Steps(points_1=0, points_5=0, points_10=0)


def message(value: bytes) -> Message:
    return cast("Message", SimpleNamespace(value=lambda: value))


def a_report(raw_partition: int, seconds: int | None, **fields: Any) -> FeedReport:
    at = None if seconds is None else format_ms(NOW_MS + seconds * 1000)
    about: dict[str, Any] = {
        "network": "twitter", "raw_partition": raw_partition, "raw_partitions": 2, "written": format_ms(NOW_MS),
        "position": 1, "lag_records": 0, "at_end": True, "frozen": False, "time": at, "arrival": at,
        "heartbeats": {}, "counters": {"read": 1},
    }  # fmt: skip
    return FeedReport(**(about | fields))


def a_population(
    partition: int,
    seconds: int | None,
    hour: int = 1,
    moved: int = 0,
    *,
    worker: str = "",
    next_offsets: dict[str, int] | None = None,
) -> Population:
    clock = None if seconds is None else format_ms(NOW_MS + seconds * 1000)
    shift = Shift(hour=format_ms(NOW_MS + hour * 3_600_000), below=_NONE, above=_NONE, gone=moved)
    return Population(
        partition=partition, partitions=2, model="1", worker=worker, sequence=1, written=format_ms(NOW_MS), users=0,
        histogram=_EMPTY, networks={"twitter": NetworkPopulation(users=0, histogram=_EMPTY, clock=clock)},
        shift=shift, shift_before=None, changes={}, next_offsets=next_offsets or {},
    )  # fmt: skip


def held(*reports: FeedReport, still: frozenset[int] = frozenset(), clock: int = 0, **settings: Any) -> list[str]:
    feeds = Feeds()
    for report in reports:
        feeds.on_report(message(encode_feed_report(report)))
    told = {partition: a_population(partition, clock) for partition in range(2)}
    return [holder.name for holder in holders("twitter", feeds, NetworkSettings(**settings), told, still)]


def test_the_input_that_is_furthest_behind_holds_the_clock() -> None:
    assert held(a_report(0, 5), a_report(1, 5)) == []
    assert held(a_report(0, 5), a_report(1, 2)) == ["raw partition 1"]
    assert held(a_report(0, 5)) == ["raw partition 1"]
    assert held() == ["ingest"]


def test_a_raw_partition_that_is_idle_holds_nothing_where_settings_say_so() -> None:
    idle = a_report(0, 500), a_report(1, 2)
    assert held(*idle, idle_after_seconds=60, clock=500) == []
    assert held(*idle, idle_after_seconds=600) == ["raw partition 1"]


def test_a_collector_holds_the_clock_until_it_is_heard_or_released() -> None:
    west, east = format_ms(NOW_MS + 2000), format_ms(NOW_MS + 9000)
    reports = [a_report(number, 9, heartbeats={"west": west, "east": east}) for number in range(2)]
    assert held(*reports, sources=("west", "east")) == ["source west"]
    assert held(*reports, sources=("west", "south")) == ["source south"]
    feeds = Feeds()
    for report in reports:
        feeds.on_report(message(encode_feed_report(report)))
    release = CommandRecord(
        id="1", command="release", subject="", key="", reason="", issued="", received=format_ms(NOW_MS + 3000),
        epoch=1, accepted=True, network="twitter", source="west",
    )  # fmt: skip
    feeds.on_command(message(encode_record(release)))
    populations = {partition: a_population(partition, 9) for partition in range(2)}
    assert holders("twitter", feeds, NetworkSettings(sources=("west", "east")), populations, frozenset()) == []


def test_a_partition_that_stands_still_or_is_far_behind_holds_the_clock() -> None:
    assert held(a_report(0, 5), a_report(1, 5), still=frozenset({1})) == ["partition 1"]
    assert held(a_report(0, 500), a_report(1, 500)) == ["partition 0", "partition 1"]


def test_volumes_of_all_raw_partitions_are_added_and_old_ones_let_go_of() -> None:
    feeds = Feeds()
    actors = bytes([1] + [0] * (REGISTERS - 1))
    for number, minutes in ((0, 0), (1, 0), (0, 5), (0, 600)):
        at = format_ms(NOW_MS - NOW_MS % 300_000 + minutes * 60_000)
        volume = Volume(source="", bucket=at, events=3, retracting=1, actors=actors)
        feeds.on_report(message(encode_feed_report(a_report(number, 5, volumes=[volume]))))
        if minutes == 5:
            assert [(of.events, of.retracting, of.actors) for of in feeds.volumes("twitter")] == [(6, 2, 1), (3, 1, 1)]
    assert len(feeds.volumes("twitter")) == 1


def test_shifts_are_added_over_partitions_of_the_same_hour() -> None:
    latest, before = shifts([a_population(0, 0, hour=2, moved=3), a_population(1, 0, hour=1, moved=4)])
    assert latest is not None
    assert before is not None
    assert (latest.gone, before.gone) == (3, 4)
    both, none = shifts([a_population(0, 0, moved=3), a_population(1, 0, moved=4)])
    assert both is not None
    assert (both.gone, none) == (7, None)


def test_a_partition_is_silent_when_it_tells_nothing_while_feeds_go_on() -> None:
    world = World()
    world.on_population(message(encode_population(a_population(0, 5))))
    assert not world.is_silent(0)
    for ms, silent in ((0, False), (SILENT_MS, False), (SILENT_MS + 1, True)):
        report = a_report(0, 5, written=format_ms(NOW_MS + ms))
        world.feeds.on_report(message(encode_feed_report(report)))
        assert world.is_silent(0) is silent
    assert not world.is_silent(1), "one that never told anything has no users"


def test_an_hour_ago_is_known_after_an_hour_and_says_when_it_was() -> None:
    hours = Hours()
    for minute in range(65):
        hours.note(minute * MINUTE_MS, [minute])
    assert hours.before() == (4 * MINUTE_MS, [4])
    hours.note(3 * MINUTE_MS, [3])
    assert hours.before() == (4 * MINUTE_MS, [4]), "a partition that is behind changes nothing"
    hours.note(200 * MINUTE_MS, [200])
    assert hours.before() == (64 * MINUTE_MS, [64])


def columns_of(count: int) -> Columns:
    columns = Columns(["twitter"])
    for number in range(count):
        score = 1.0 + number % 990 / 10
        change = ScoreChange(
            f"t:{number:05}", 1, score, None, Subscores(score, 1.0, 1.0), {}, format_ms(NOW_MS), "interaction", "1"
        )
        columns.put([Seen(0, number, change.user.encode(), b"", change, NOW_MS)])
    return columns


def test_who_is_hidden_is_in_no_list_and_others_take_their_place() -> None:
    columns = columns_of(3_000)
    whole = top(columns, "score", None, lambda _: True)
    assert len(whole) == LISTED_MAX
    assert [(of.user, of.value) for of in whole[:4]] == [
        ("t:00989", 99.9), ("t:01979", 99.9), ("t:02969", 99.9), ("t:00988", 99.8),
    ]  # fmt: skip
    few = top(columns, "score", None, lambda user: user < "t:00005")
    assert [of.user for of in few] == ["t:00004", "t:00003", "t:00002", "t:00001", "t:00000"]
    assert top(columns, "score", "twitter", lambda _: True) == []
    assert movers(columns, lambda _: True) == []


def test_facts_name_nobody_also_where_words_do() -> None:
    incident = Incident(
        id="1",
        kind="declared",
        slice=Slice(),
        severity="minor",
        status="resolved",
        title="t:ann fell",
        opened=format_ms(0),
        updated=format_ms(0),
        affected_users=1,
        users=["t:ann"],
        evidence=[],
        notes=[Note(at=format_ms(0), key="ops", text="it is t:ann alone")],
    )
    told = facts(incident)
    assert (told.title, told.notes[0].text) == ("(a user) fell", "it is (a user) alone")


async def _sent(sending: sender.Sender) -> None:
    await sending.send("twitter", [sender.Record(b"{}")])


def test_events_that_kafka_does_not_take_in_time_are_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sender._OPTIONS, "delivery.timeout.ms", 1_000)
    stop = threading.Event()
    sending = sender.Sender(KafkaSettings(broker="127.0.0.1:1"), Names("", "1"))
    polling = threading.Thread(target=sending.run, args=(stop,))
    polling.start()
    try:
        with pytest.raises(sender.NotTakenError, match="timed out"):
            asyncio.run(_sent(sending))
    finally:
        stop.set()
        polling.join()
