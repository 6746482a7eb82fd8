"""Streams of real gateways on a real change topic: nothing is missing, nothing comes twice."""

import json
import random
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import psutil
import pytest

from schemas.access import SCOPES
from streams.settings import GatewaySettings
from tests.gateway.conftest import Serve, Served
from tests.gateway.listening import Listener
from tests.roles import eventually

USERS = [f"t:{number}" for number in range(40)]
HEARTBEAT_SECONDS = 0.2
STREAMS_MAX = 30
SETTINGS = GatewaySettings(
    port=0, anonymous_scopes=SCOPES, heartbeat_seconds=HEARTBEAT_SECONDS, streams_max=STREAMS_MAX
)


@pytest.fixture(scope="module")
def served(serve: Serve) -> Served:
    return serve(gateway=SETTINGS)


def some(served: Served, count: int, seed: int, users: Iterable[str] = USERS) -> list[tuple[str, int]]:
    """Publish so many changes; return user and sequence of each."""
    random_ = random.Random(seed)
    users = list(users)
    made = []
    for _ in range(count):
        user = random_.choice(users)
        made.append((user, served.publisher.change(user, round(random_.uniform(1, 100), 1))))
    served.publisher.flush()
    return made


def by_user(seen: Iterable[tuple[str, int]]) -> dict[str, list[int]]:
    found = defaultdict(list)
    for user, sequence in seen:
        found[user].append(sequence)
    return dict(found)


def start(listener: Listener, served: Served) -> str:
    """Let a client begin, and leave as soon as it has been told where it stands."""
    for event in listener.listen(served.url):
        return event.id
    raise AssertionError("the stream ended")


def test_a_stream_about_users_begins_with_their_scores_and_goes_on_with_their_changes(served: Served) -> None:
    served.publish([("t:a", 20.0), ("t:b", 30.0)])
    listener = Listener("/v1/scores/stream?user=t:a&user=t:b&user=t:nobody")
    stream = listener.listen(served.url)
    first = [next(stream) for _ in range(2)]
    assert [(event.name, event.data["user"], event.data["score"]) for event in first] == [
        ("score", "t:a", 20.0),
        ("score", "t:b", 30.0),
    ]
    served.publish([("t:c", 50.0), ("t:b", 31.0)])
    change = next(stream)
    assert (change.name, change.data["user"], change.data["previous"], change.data["score"]) == (
        "change",
        "t:b",
        30.0,
        31.0,
    )
    stream.close()


def test_nothing_is_missing_or_comes_twice_through_dropped_connections_and_killed_gateways(served: Served) -> None:
    served.publish([("t:0", 5.0)])
    everybody, few = Listener(), Listener("/v1/scores/stream?" + "&".join(f"user={user}" for user in USERS[:7]))
    few.last_id = everybody.last_id = start(Listener("/v1/scores/stream?user=t:0"), served)
    random_, made = random.Random(7), list[tuple[str, int]]()
    for turn in range(8):
        sending = threading.Thread(target=lambda turn=turn: made.extend(some(served, 400, turn)))
        sending.start()
        url, want = served.url, random_.randrange(50, 350)
        for listener in (everybody, few):
            if listener is everybody or len(few.changes) < len(everybody.changes) // 10:
                listener.until(url, len(listener.changes) + want // (1 if listener is everybody else 20))
        if turn % 3 == 1:
            served.role.kill()
            served.role.start()
        sending.join()
    everybody.until(served.url, len(made))
    theirs = [place for place in made if place[0] in set(USERS[:7])]
    few.until(served.url, len(theirs))
    assert by_user(everybody.seen) == by_user(made)
    assert by_user(few.seen) == by_user(theirs)


def test_a_client_can_go_on_at_another_gateway(served: Served) -> None:
    other = served.installation.role("gateway-1", ["serve", "--slot", "1"]).start().wait_until_ready()
    there = f"http://{other.status()['public_address']}"
    served.publish([("t:0", 6.0)])
    listener = Listener()
    listener.last_id = start(Listener("/v1/scores/stream?user=t:0"), served)
    made = some(served, 200, 20)
    listener.until(served.url, 80)
    made += some(served, 200, 21)
    listener.until(there, 300)
    listener.until(served.url, len(made))
    assert by_user(listener.seen) == by_user(made)
    assert other.stop() == 0


def test_a_network_and_a_least_score_narrow_a_stream(served: Served) -> None:
    publisher = served.publisher
    publisher.change("t:x", 40.0, networks={"twitter": 40.0})
    served.catch_up()
    high = Listener("/v1/scores/stream?above=60&network=twitter")
    high.last_id = start(Listener("/v1/scores/stream?user=t:x"), served)
    publisher.change("t:x", 59.9)
    publisher.change("t:x", 61.0)
    publisher.change("t:x", 50.0)
    publisher.change("t:x", 45.0)
    publisher.change("m:y", 90.0, networks={"mastodon": 90.0})
    publisher.change("t:z", 95.0)
    publisher.flush()
    high.until(served.url, 3)
    assert by_user(high.seen) == {"t:x": [3, 4], "t:z": [1]}


def test_who_is_forgotten_is_told_once_and_who_comes_back_too_late_hears_of_it(served: Served) -> None:
    publisher = served.publisher
    publisher.change("t:gone", 40.0)
    served.catch_up()
    listener = Listener("/v1/scores/stream?user=t:gone")
    start(listener, served)
    publisher.change("t:gone", 41.0)
    publisher.change("t:gone", None, cause="forget")
    publisher.change("t:gone", 5.0)
    served.catch_up()
    listener.until(served.url, 2)
    assert [change["score"] for change in listener.changes] == [None, 5.0]


def test_a_reader_that_takes_nothing_is_sent_away_and_holds_up_nobody(served: Served) -> None:
    address = served.role.status()["public_address"].partition(":")
    with socket.create_connection((address[0], int(address[2]))) as lazy:
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        lazy.sendall(b"GET /v1/scores/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert lazy.recv(100)
        served.publish([("t:0", 7.0)])
        listener = Listener()
        listener.last_id = start(Listener("/v1/scores/stream?user=t:0"), served)
        # More than the sockets hold: users have long names.
        made = some(served, 12_000, 30, [f"t:{'x' * 240}{number}" for number in range(40)])
        begun = time.monotonic()
        listener.until(served.url, len(made))
        assert by_user(listener.seen) == by_user(made)
        assert time.monotonic() - begun < 15

        def closed() -> bool:
            return "clout_gateway_slow_streams_total 0.0" not in served.role.get("/metrics").text

        eventually(closed, otherwise=served.role.log)
        port, gateway = lazy.getsockname()[1], psutil.Process(served.role.status()["pid"])

        def cut() -> bool:
            return all(other.raddr.port != port for other in gateway.net_connections("tcp") if other.raddr)

        eventually(cut, seconds=15, otherwise=served.role.log)
    assert "Traceback" not in served.role.log()


def test_a_cursor_of_another_topic_begins_anew_and_says_so(served: Served) -> None:
    listener = Listener("/v1/scores/stream?user=t:0", last_id="000000-1.2.3.4")
    stream = listener.listen(served.url)
    assert [next(stream).name for _ in range(2)] == ["reset", "score"]
    stream.close()


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("?last_event_id=nonsense", {}),
        ("", {"Last-Event-ID": "3f9a1c-1..2"}),
        ("?above=0.5", {}),
        ("?above=nan", {}),
        ("?network=nowhere", {}),
        ("?who=t:1", {}),
        ("?user=", {}),
        ("?" + "&".join(f"user=t:{number}" for number in range(101)), {}),
    ],
)
def test_what_cannot_be_listened_to_is_refused(served: Served, query: str, headers: dict[str, str]) -> None:
    answer = served.get(f"/v1/scores/stream{query}", headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (400, "/problems#bad-request")


def test_a_quiet_stream_says_that_it_is_still_there(served: Served) -> None:
    listener = Listener("/v1/scores/stream?user=t:quiet")

    def wait() -> None:
        for _ in listener.listen(served.url):
            return

    waiting = threading.Thread(target=wait)
    waiting.start()
    eventually(lambda: listener.comments >= 3)
    served.publish([("t:quiet", 3.0)])
    waiting.join(10)
    assert listener.seen == [("t:quiet", 1)]


def test_no_more_streams_are_open_than_may_be(served: Served) -> None:
    address = served.role.status()["public_address"].partition(":")
    connections = []
    try:
        for _ in range(STREAMS_MAX):
            connection = socket.create_connection((address[0], int(address[2])))
            connection.sendall(b"GET /v1/scores/stream?user=t:0 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert connection.recv(100)
            connections.append(connection)
        eventually(lambda: served.get("/v1/scores/stream?user=t:0").status_code == 429)
    finally:
        for connection in connections:
            connection.close()


def test_streams_end_with_a_word_when_the_gateway_does(serve: Serve, tmp_path: Path) -> None:
    served = serve(gateway=SETTINGS, directory=tmp_path)
    listener, names = Listener("/v1/scores/stream?user=t:1"), list[str]()
    served.publish([("t:1", 4.0)])
    url = served.url
    waiting = threading.Thread(target=lambda: names.extend(event.name for event in listener.listen(url)))
    waiting.start()
    eventually(lambda: listener.last_id)
    assert served.role.stop() == 0
    waiting.join(10)
    assert names == ["score", "resume"]
    assert json.dumps(listener.changes) == "[]"
