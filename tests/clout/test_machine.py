import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clout.broker import LocalBroker
from clout.machine import StopSignals, broker_at_hand, gateway_ports, role_specs
from streams.settings import GatewaySettings, KafkaSettings


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0), (signal.SIGHUP, 0)])
def test_a_signal_is_noted_and_does_not_interrupt(number: signal.Signals, exit_code: int) -> None:
    with StopSignals() as stop:
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.received == number
        assert stop.exit_code == exit_code


def test_signals_are_given_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with StopSignals():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_broker_that_is_named_is_used_and_none_started(tmp_path: Path) -> None:
    with broker_at_hand(KafkaSettings(broker="elsewhere:9092"), LocalBroker(tmp_path)) as kafka:
        assert kafka.broker == "elsewhere:9092"
    assert list(tmp_path.iterdir()) == []


def test_every_role_has_a_name_a_slot_and_a_free_port() -> None:
    specs = role_specs(["--broker=here:1"], ingests=1, workers=2, guards=[10_000], environment={"A": "b"})
    assert [spec.name for spec in specs] == ["ingest-0", "score-0", "score-1", "guard-0"]
    assert list(specs[2].command[1:]) == ["-m", "clout", "--broker=here:1", "score", "--slot", "1"]
    assert specs[0].environment == {"A": "b", "CLOUT_HTTP__PORT": "0"}
    assert specs[3].environment == {"A": "b", "CLOUT_HTTP__PORT": "10000"}


def test_a_guard_and_a_gateway_come_back_at_their_address() -> None:
    ports = {"guards": [10_000, 10_001], "gateways": [8080, 8081]}
    specs = role_specs(["--broker=here:1"], ingests=0, workers=0, **ports, environment={})
    assert [spec.name for spec in specs] == ["guard-0", "guard-1", "gateway-0", "gateway-1"]
    assert specs[1].environment == {"CLOUT_HTTP__PORT": "10001"}
    assert list(specs[3].command[3:]) == ["--broker=here:1", "serve", "--slot", "1"]
    assert specs[3].environment == {"CLOUT_HTTP__PORT": "0", "CLOUT_GATEWAY__PORT": "8081"}


def test_gateways_take_the_configured_port_and_those_after_it_or_free_ones() -> None:
    assert gateway_ports(GatewaySettings(port=18_080), 2) == [18_080, 18_081]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert gateway_ports(GatewaySettings(port=port), 1) == [port]
        [other] = gateway_ports(GatewaySettings(port=port), 1, or_free=True)
    assert other not in {0, port}
    first, second = gateway_ports(GatewaySettings(port=0), 2)
    assert 0 not in {first, second}


def test_a_broker_started_for_the_time_being_ends_with_its_starter_even_when_that_is_killed(tmp_path: Path) -> None:
    script = (
        "import time; from pathlib import Path\n"
        "from clout.broker import LocalBroker; from clout.machine import broker_at_hand\n"
        "from streams.settings import KafkaSettings\n"
        f"with broker_at_hand(KafkaSettings(), LocalBroker(Path({str(tmp_path)!r}), port=None, short_lived=True)):\n"
        "    print('up', flush=True); time.sleep(60)\n"
    )
    broker = LocalBroker(tmp_path)
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        assert starter.stdout.readline() == "up\n"
        assert broker.running() is not None
        starter.kill()
    deadline = time.monotonic() + 20
    while broker.running() is not None:
        assert time.monotonic() < deadline
        time.sleep(0.1)
