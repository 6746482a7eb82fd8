"""Where streams begin and go on, told by a read model and a hub that are not at the same place."""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from rocksdict import Cache

from gateway.access import Access
from gateway.app import make_app
from gateway.backlog import Backlog
from gateway.columns import Columns
from gateway.context import Context
from gateway.live.cursor import decode_cursor
from gateway.live.hub import Hub
from gateway.live.stream import Stream
from gateway.live.wants import Asked, Wants
from gateway.metrics import GatewayMetrics
from gateway.operator import Operator
from gateway.read_model import ReadModel, Seen
from gateway.reader import Reader
from gateway.sender import Sender
from gateway.standing import World
from schemas.access import SCOPES
from schemas.change import Cause, Subscores, decode_change, encode_change
from schemas.times import parse_ms
from streams import clients
from streams.control_secrets import ControlSecrets
from streams.names import Names
from streams.settings import GatewaySettings, KafkaSettings, VisibilitySettings
from streams.topics import DAY_MS
from tests.gateway.conftest import BEGIN_MS
from tests.roles import eventually

PARTS = Subscores(30.0, 25.0, 20.0)


class Gateway:
    """A read model of one partition, and a hub, each taken on by hand."""

    def __init__(self, path: Path) -> None:
        self.model = ReadModel(path, "a topic", Cache(1 << 20))
        self.metrics, self.access = GatewayMetrics(), Access(VisibilitySettings(), SCOPES)
        self.hub = Hub("00000a", [0], self.access, self.metrics)
        kafka, names, columns = KafkaSettings(broker="nowhere:9092"), Names("", "1"), Columns(["twitter"])
        self.reader = Reader(kafka, names, 1, self.model, columns)
        self.columns = columns
        world = World()
        self.context = Context(
            kafka=kafka,
            names=names,
            partitions=1,
            settings=GatewaySettings(anonymous_scopes=SCOPES),
            model=self.model,
            columns=columns,
            reader=self.reader,
            world=world,
            access=self.access,
            metrics=self.metrics,
            networks={},
            sender=Sender(kafka, names),
            operator=Operator(kafka, names, lambda: ControlSecrets({}, "", b"")),
            backlog=Backlog(kafka, names, 1, world),
        )
        self._last: dict[str, tuple[int, float | None]] = {}
        self._offset = 0

    def seen(
        self, user: str, score: float | None, *, days: int = 0, cause: Cause = "interaction", **networks: float
    ) -> Seen:
        """Return a user's next change."""
        sequence, previous = self._last.get(user, (0, None))
        self._last[user] = sequence + 1, score
        parts = None if score is None else PARTS
        at_ms = BEGIN_MS + days * DAY_MS
        value = encode_change(user, sequence + 1, score, previous, parts, networks, at_ms, cause, "1")
        self._offset += 1
        change = decode_change(value)
        return Seen(0, self._offset - 1, user.encode(), value, change, parse_ms(change.as_of))

    def write(self, changes: Sequence[Seen]) -> None:
        """Take changes into the read model alone."""
        self.model.apply(changes, self.columns.day_of, {0: changes[-1].offset + 1})
        self.columns.put(changes)

    def stream(self, wants: Wants, cursor: list[int] | None = None) -> Stream:
        return Stream(self.context, self.hub, Asked(wants, self.access.anonymous), cursor, lost=False)


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    made = Gateway(tmp_path / "model")
    yield made
    made.model.close()


def events_of(pieces: bytes) -> list[tuple[str, str, str]]:
    """Return name, id and data of each event."""
    found = []
    for text in pieces.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in text.splitlines())
        if "data" in fields:
            found.append((fields.get("event", ""), fields.get("id", ""), fields["data"]))
    return found


def told(stream: Stream, count: int, then: Callable[[], Any] = lambda: None) -> list[tuple[str, str, str]]:
    """Return so many events of a stream; `then` is done after the first."""

    async def read() -> list[tuple[str, str, str]]:
        found: list[tuple[str, str, str]] = []
        async with asyncio.timeout(30), aclosing(cast("AsyncGenerator[bytes, None]", stream.events())) as events:
            async for piece in events:
                before = len(found)
                found += events_of(piece)
                if found and not before:
                    then()
                if len(found) >= count:
                    break
        return found

    return asyncio.run(read())


def sequences(events: Sequence[tuple[str, str, str]]) -> list[tuple[str, int | None]]:
    return [
        (name, decode_change(data.encode()).sequence if name in ("score", "change") else None)
        for name, _, data in events
    ]


def test_a_score_at_the_beginning_is_of_the_place_where_changes_go_on(gateway: Gateway) -> None:
    first, second = gateway.seen("t:1", 20.0), gateway.seen("t:1", 21.0)
    gateway.write([first])
    gateway.hub.publish([first])
    gateway.write([second])
    stream = gateway.stream(Wants(frozenset({"t:1"})))
    events = told(stream, 2, lambda: gateway.hub.publish([second]))
    assert sequences(events) == [("score", 1), ("change", 2)]
    assert decode_cursor(events[0][1], "00000a", 1) == [1]


def test_a_stream_that_was_past_the_end_of_the_topic_begins_anew(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.live.stream.CATCH_UP_SECONDS", 0.1)
    first = gateway.seen("t:1", 20.0)
    gateway.write([first])
    gateway.hub.publish([first])
    monkeypatch.setattr(gateway.reader, "is_read_to_end", lambda: True, raising=False)
    events = told(gateway.stream(Wants(frozenset({"t:1"})), [1_000]), 2)
    assert sequences(events) == [("reset", None), ("score", 1)]


def test_a_stream_that_was_further_than_this_gateway_is_sent_elsewhere(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.live.stream.CATCH_UP_SECONDS", 0.1)
    assert sequences(told(gateway.stream(Wants(), [1]), 1)) == [("resume", None)]


@pytest.mark.parametrize("users", [frozenset({"t:1"}), frozenset()])
def test_changes_that_are_too_old_to_be_kept_are_not_passed_over(gateway: Gateway, users: frozenset[str]) -> None:
    changes = [gateway.seen("t:1", 20.0), gateway.seen("t:1", 21.0), gateway.seen("t:2", 30.0, days=400)]
    for change in changes:
        gateway.write([change])
    gateway.hub.publish(changes)
    events = told(gateway.stream(Wants(users), [1]), 1)
    assert sequences(events) == [("reset", None), *([("score", 2)] if users else [])]


def test_what_the_topic_may_have_compacted_before_it_was_read_is_not_passed_over(gateway: Gateway) -> None:
    changes = [gateway.seen("t:1", 20.0), gateway.seen("t:1", 21.0)]
    gateway.model.note_whole_from({0: 1})
    gateway.write(changes)
    gateway.hub.publish(changes)
    assert sequences(told(gateway.stream(Wants(), [0]), 1)) == [("reset", None)]
    assert sequences(told(gateway.stream(Wants(), [1]), 1)) == [("change", 2)]


def test_a_reader_knows_from_where_on_the_topic_has_every_change(
    tmp_path: Path, kafka_settings: KafkaSettings, make_topic: Callable[..., str]
) -> None:
    names = Names(kafka_settings.prefix, "1")
    make_topic(names.changes, 3)
    producer = clients.producer(kafka_settings)
    now_ms = int(time.time() * 1000)
    for partition, days_ago in [(0, 9), (0, 8), (0, 1), (0, 0), (1, 9)]:
        value = encode_change("t:1", 1, 20.0, None, PARTS, {}, BEGIN_MS, "interaction", "1")
        producer.produce(names.changes, value, b"t:1", partition, timestamp=now_ms - days_ago * DAY_MS)
    assert producer.flush(20) == 0
    model = ReadModel(tmp_path / "model", "a topic", Cache(1 << 20))
    reader = Reader(kafka_settings, names, 3, model, Columns([]))
    stop = threading.Event()
    reading = threading.Thread(target=reader.run, args=(stop,))
    reading.start()
    eventually(reader.is_read_to_end)
    stop.set()
    reading.join()
    assert [model.log_begins(partition) for partition in range(3)] == [2, 1, 0]
    model.close()


def test_who_was_taken_off_a_network_is_told_to_those_who_follow_it(gateway: Gateway) -> None:
    changes = [
        gateway.seen("t:1", 40.0, twitter=30.0, mastodon=20.0),
        gateway.seen("t:1", 20.0, cause="retraction", mastodon=20.0),
        gateway.seen("t:1", 19.0, cause="decay", mastodon=19.0),
        gateway.seen("t:1", None, cause="forget"),
    ]
    twitter = Wants(network="twitter")
    assert [twitter.meets(change.change) for change in changes] == [True, True, False, True]
    subscription = gateway.hub.add(Asked(twitter, gateway.access.anonymous))
    gateway.hub.publish(changes)
    piece, count = asyncio.run(subscription.take())
    assert count == 3
    assert [sequence for _, sequence in sequences(events_of(piece))] == [1, 2, 4]


def test_a_reader_that_keeps_up_is_not_called_slow_whatever_comes_at_once(gateway: Gateway) -> None:
    changes = [gateway.seen("t:1", 20.0 + number % 50) for number in range(5_000)]
    gateway.write(changes)

    async def read() -> list[tuple[str, int | None]]:
        gateway.hub.begin()
        found: list[tuple[str, int | None]] = []
        events = cast("AsyncGenerator[bytes, None]", gateway.stream(Wants(), [0]).events())
        async with asyncio.timeout(30), aclosing(events):
            assert b"retry" in await anext(events)
            asyncio.get_running_loop().call_later(0.05, gateway.hub.offer, changes)
            async for piece in events:
                found += sequences(events_of(piece))
                if len(found) >= len(changes) or found[-1][0] == "resume":
                    break
        return found

    assert asyncio.run(read()) == [("change", number + 1) for number in range(5_000)]


def test_one_caller_has_no_more_streams_than_it_may_and_leaves_others_theirs(gateway: Gateway) -> None:
    app = make_app(gateway.context, gateway.hub, "1")

    async def asked(method: str, host: str) -> httpx.Response:
        transport = httpx.ASGITransport(app, client=(host, 1_000))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.request(method, "/v1/scores/stream")

    for _ in range(gateway.context.settings.streams_per_caller_max):
        gateway.hub.enter("10.0.0.1")
    refused = asyncio.run(asked("GET", "10.0.0.1"))
    assert (refused.status_code, refused.json()["type"]) == (429, "/problems#too-many-streams")
    assert asyncio.run(asked("HEAD", "10.0.0.2")).status_code == 200
    gateway.hub.leave("10.0.0.1")
    assert asyncio.run(asked("HEAD", "10.0.0.1")).status_code == 200
