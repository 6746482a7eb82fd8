"""Gateways in `clout status`."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from clout.commands.status import gateways_here
from streams.http import RoleServer
from streams.settings import HttpSettings
from streams.status import GatewayStatus


@pytest.fixture
def run_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("CLOUT_RUN_FILE", str(tmp_path / "gateway-0.json"))
    server = RoleServer(HttpSettings(), "gateway", "127.0.0.1:8080")
    status = GatewayStatus(role="gateway", pid=7, address=server.address, public_address="127.0.0.1:8080", ready=True)
    server.start(CollectorRegistry(), lambda: dict(msgspec.to_builtins(status)), lambda: None)
    yield tmp_path
    server.stop()


def test_gateways_are_those_that_run_here_and_answer(run_directory: Path) -> None:
    run_file = msgspec.json.decode((run_directory / "gateway-0.json").read_bytes())
    assert run_file["public_address"] == "127.0.0.1:8080"
    # One that died leaves its file until its supervisor starts another; half a file cannot be met, damage can.
    (run_directory / "gateway-1.json").write_text('{"address": "127.0.0.1:1"}')
    (run_directory / "gateway-2.json").write_text("{}")
    found = gateways_here(run_directory)
    assert [(of.pid, of.public_address, of.ready) for of in found] == [(7, "127.0.0.1:8080", True)]
