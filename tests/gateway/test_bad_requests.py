"""Whatever is sent to a gateway, it answers with a problem, or closes, and goes on."""

import json
import socket
import time
from collections.abc import Mapping
from contextlib import suppress

import httpx
import pytest

from gateway.connections import HEAD_BYTES_MAX, HEAD_SECONDS_MAX, HEADERS_MAX
from gateway.encoded_paths import PATH_BYTES_MAX
from gateway.operations import PARAMETERS_BYTES_MAX
from tests.gateway.conftest import Serve, Served
from tests.roles import eventually

HEADERS = "Host: 127.0.0.1\r\nConnection: close\r\n"


@pytest.fixture(scope="module")
def served(serve: Serve) -> Served:
    return serve()


def connected(served: Served) -> socket.socket:
    host, _, port = served.url.removeprefix("http://").rpartition(":")
    return socket.create_connection((host, int(port)), timeout=HEAD_SECONDS_MAX + 5)


def everything(connection: socket.socket) -> bytes:
    """All that comes until the other end closes."""
    parts = []
    with suppress(ConnectionResetError):
        while part := connection.recv(65_536):
            parts.append(part)
    return b"".join(parts)


def sent(served: Served, raw: bytes) -> tuple[int, Mapping[str, str], bytes]:
    """Send bytes; return status, headers and body of the answer."""
    with connected(served) as connection:
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(raw)
        head, _, body = everything(connection).partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return int(first.split()[1]), {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}, body


TARGETS = {
    "escape": ("/v1/scores/%zz", 400),
    "half an escape": ("/v1/scores/a%4", 400),
    "NUL": ("/v1/scores/a%00b", 400),
    "line feed": ("/v1/scores/a%0Ab", 400),
    "no UTF-8": ("/v1/scores/%ff%fe", 400),
    "surrogate": ("/v1/scores/%ed%a0%80", 400),
    "no UTF-8 in the query": ("/v1/scores?user=%ff", 400),
    "escape in the query": ("/v1/scores?user=%", 400),
    "long path": ("/v1/scores/" + "a" * PATH_BYTES_MAX, 414),
    "long query": ("/v1/scores?user=" + "a" * (PARAMETERS_BYTES_MAX - 4), 414),
    "long user": ("/v1/scores/" + "a" * 257, 400),
    "unknown parameter": ("/v1/scores/t:1?colour=blue", 400),
    "number that is none": ("/v1/scores/t:1?min_sequence=-1", 400),
    "nothing there": ("/v1/nothing", 404),
    "up and away": ("/../../etc/passwd", 404),
}


@pytest.mark.parametrize("name", TARGETS)
def test_an_address_that_cannot_be_is_refused(served: Served, name: str) -> None:
    target, status = TARGETS[name]
    got, headers, body = sent(served, f"GET {target} HTTP/1.1\r\n{HEADERS}\r\n".encode())
    assert got == status, body
    assert headers["content-type"] == "application/problem+json"
    assert headers["x-content-type-options"] == "nosniff"
    assert json.loads(body)["status"] == status


RAW = {
    "no HTTP": b"hello\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "NUL in the line": b"GET /\x00 HTTP/1.1\r\n\r\n",
    "8 bits in the line": b"GET /\xff HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "NUL in a header": b"GET / HTTP/1.1\r\nHost: a\x00b\r\n\r\n",
    "header without a name": b"GET / HTTP/1.1\r\n: a\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "length and chunks": b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\na",
    "length that is none": b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    "chunk that is none": b"POST /v1/scores HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n",
    "unknown method": f"BREW / HTTP/1.1\r\n{HEADERS}\r\n".encode(),
    "CONNECT": f"CONNECT example.org:443 HTTP/1.1\r\n{HEADERS}\r\n".encode(),
    "many headers": b"GET / HTTP/1.1\r\n" + b"".join(b"A%d: b\r\n" % at for at in range(HEADERS_MAX + 1)) + b"\r\n",
}


@pytest.mark.parametrize("name", RAW)
def test_what_is_not_http_as_it_should_be_is_refused(served: Served, name: str) -> None:
    status, headers, body = sent(served, RAW[name])
    assert 400 <= status < 500, body
    assert b"Traceback" not in body
    assert headers["content-type"] == "application/problem+json"


def test_a_head_without_end_is_refused_before_it_is_kept(served: Served) -> None:
    status, _, _ = sent(served, b"GET / HTTP/1.1\r\nA: " + b"a" * (HEAD_BYTES_MAX + 1))
    assert status == 431


def test_nor_is_a_large_head_taken_because_it_came_whole(served: Served) -> None:
    raw = f"GET /v1/top HTTP/1.1\r\n{HEADERS}A: {'a' * HEAD_BYTES_MAX}\r\n\r\n".encode()
    assert sent(served, raw)[0] == 431


def test_one_header_may_not_be_put_together_from_pieces_without_end(served: Served) -> None:
    with connected(served) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n")
        for _ in range(HEAD_BYTES_MAX // 10_000 + 2):
            try:
                connection.sendall(b"A: " + b"a" * 10_000 + b"\r\n")
            except OSError:
                break
        assert everything(connection)[:12] in {b"HTTP/1.1 431", b""}


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "PROPFIND"])
def test_a_method_that_nothing_takes_is_refused(served: Served, method: str) -> None:
    answer = httpx.request(method, f"{served.url}/v1/scores/t:1", timeout=10)
    assert (answer.status_code, answer.json()["type"]) == (405, "/problems#method-not-allowed")
    assert answer.headers["allow"]


def test_a_slow_head_is_closed_and_others_are_answered_meanwhile(served: Served) -> None:
    begun = time.monotonic()
    with connected(served) as slow, connected(served) as silent:
        slow.sendall(b"GET / HTTP/1.1\r\n")
        while time.monotonic() - begun < HEAD_SECONDS_MAX - 2:
            slow.sendall(b"A: b\r\n")
            assert served.get("/v1/nothing").status_code == 404
            time.sleep(0.5)
        assert everything(slow).startswith(b"HTTP/1.1 408")
        assert everything(silent).startswith(b"HTTP/1.1 408")
    assert HEAD_SECONDS_MAX - 1 < time.monotonic() - begun < HEAD_SECONDS_MAX + 4


def test_head_answers_as_get_without_the_body(served: Served) -> None:
    served.publish([("t:1", 20.0)])

    def alike() -> bool:
        head, got = httpx.head(f"{served.url}/v1/scores/t:1"), served.get("/v1/scores/t:1")
        assert (head.status_code, head.content) == (200, b"")
        return head.headers["etag"] == got.headers["etag"]

    # An answer tells how old it is, which may pass between the two.
    eventually(alike, otherwise=served.role.log)


def test_options_tells_the_methods_and_opens_nothing_to_other_origins(served: Served) -> None:
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"}
    answer = httpx.options(f"{served.url}/v1/scores/t:1", headers=headers)
    assert (answer.status_code, answer.headers["allow"]) == (204, "GET, HEAD, OPTIONS")
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Host": "evil.example"}],
    ids=["origin", "fetch", "name"],
)
def test_a_page_from_elsewhere_may_not_ask_without_a_key(served: Served, headers: dict[str, str]) -> None:
    assert served.get("/v1/scores/t:1", headers=headers).status_code == 401


def test_every_answer_tells_browsers_what_not_to_do(served: Served) -> None:
    headers = served.get("/v1/nothing").headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "unsafe-inline" not in headers["content-security-policy"]
    assert headers["referrer-policy"] == "no-referrer"
    assert "strict-transport-security" not in headers
    assert "server" not in headers
    behind_tls = served.get("/v1/nothing", headers={"X-Forwarded-Proto": "https"})
    assert "strict-transport-security" in behind_tls.headers
