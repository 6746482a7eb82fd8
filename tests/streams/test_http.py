import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from streams.errors import CloutError
from streams.http import RoleServer
from streams.settings import HttpSettings


@pytest.fixture
def missing() -> list[str]:
    return []


@pytest.fixture
def address(missing: list[str]) -> Iterator[str]:
    registry = CollectorRegistry()
    Counter("clout_things", "Things.", registry=registry).inc(3)

    def hello(request: Request) -> PlainTextResponse:
        return PlainTextResponse(f"hello {request.path_params['name']}")

    server = RoleServer(HttpSettings(), "score")
    server.start(registry, lambda: {"a": 1}, lambda: missing[0] if missing else None, [Route("/hello/{name}", hello)])
    yield server.address
    server.stop()


def get(address: str, path: str) -> httpx.Response:
    return httpx.get(f"http://{address}{path}", timeout=5)


def test_a_role_that_answers_is_live_whether_it_is_ready_or_not(address: str, missing: list[str]) -> None:
    missing.append("restoring partitions [3]")
    assert get(address, "/livez").status_code == 200


def test_a_role_that_is_not_ready_says_what_is_missing(address: str, missing: list[str]) -> None:
    assert get(address, "/readyz").status_code == 200
    missing.append("restoring partitions [3]")
    answer = get(address, "/readyz")
    assert (answer.status_code, answer.text) == (503, "restoring partitions [3]\n")


def test_metrics_are_in_prometheus_text_format(address: str) -> None:
    answer = get(address, "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert "clout_things_total 3.0" in answer.text.splitlines()


def test_status_and_the_roles_own_routes_are_served(address: str) -> None:
    assert get(address, "/v1/status").json() == {"a": 1}
    assert get(address, "/hello/ann").text == "hello ann"


def test_a_port_that_is_taken_is_an_error_that_names_the_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(CloutError) as raised:
        RoleServer(HttpSettings(port=taken.getsockname()[1]), "score")
    assert "http.port" in raised.value.hint


def test_the_address_is_the_advertised_one() -> None:
    server = RoleServer(HttpSettings(advertised_host="worker-1.example"), "score")
    server.stop()
    assert server.address.startswith("worker-1.example:")


def test_a_supervisor_that_asks_is_told_the_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUT_RUN_FILE", str(tmp_path / "score-0.json"))
    server = RoleServer(HttpSettings(), "score")
    server.start(CollectorRegistry(), dict, lambda: None)
    server.stop()
    told = json.loads((tmp_path / "score-0.json").read_text())
    assert told == {"role": "score", "pid": os.getpid(), "address": server.address}
