"""A connection whose request does not come to its end, on uvicorn itself and a small application that never reads."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from gateway import connections

LIMIT_SECONDS = 0.5
HEAD = b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\n"


async def answers_at_once(scope: Scope, _receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


async def waits_for_all(scope: Scope, receive: Receive, _send: Send) -> None:
    if scope["type"] == "http":
        while (await receive()).get("more_body"):
            pass


@pytest.fixture
def address(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    monkeypatch.setattr(connections, "BODY_SECONDS_MAX", LIMIT_SECONDS)
    config = uvicorn.Config(request.param, http=connections.LimitedConnection, log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield listening.getsockname()
        server.should_exit = True
        thread.join(10)
    assert not thread.is_alive()


def answer(address: tuple[str, int], pieces_seconds: float) -> tuple[bytes, float]:
    """Send a head, and pieces of a body that never ends; return what comes until the other side closes, and when."""
    begun, parts = time.monotonic(), []
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(HEAD)
        while time.monotonic() - begun < pieces_seconds:
            connection.sendall(b"a")
            time.sleep(0.1)
        while part := connection.recv(65_536):
            parts.append(part)
    return b"".join(parts), time.monotonic() - begun


@pytest.mark.parametrize("address", [waits_for_all], indirect=True)
def test_a_body_that_trickles_in_is_refused_in_time(address: tuple[str, int]) -> None:
    came, seconds = answer(address, LIMIT_SECONDS * 0.8)
    assert came.startswith(b"HTTP/1.1 408")
    assert b"/problems#too-slow" in came
    assert LIMIT_SECONDS * 0.9 < seconds < LIMIT_SECONDS + 5


@pytest.mark.parametrize("address", [answers_at_once], indirect=True)
def test_who_was_answered_and_goes_on_sending_slowly_is_closed_without_a_second_answer(
    address: tuple[str, int],
) -> None:
    came, _ = answer(address, 0)
    assert came.count(b"HTTP/1.1") == 1
    assert came.endswith(b"ok")
