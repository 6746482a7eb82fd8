"""`clout inject` harms demonstrations alone, and workers let faults be planted only where they may."""

import signal
import subprocess
import threading
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from clout import injection
from clout.config import Settings
from clout.demo.interference import Interference
from clout.demo.orders import Mailbox
from clout.injection import WORKER_FAULTS, FeedOrder, WorkerFault, marked, run_directory
from clout.supervisor import only_one
from streams.errors import CloutError
from streams.http import RoleServer
from streams.planting import FAULTS, fault_routes
from streams.settings import HttpSettings
from tests.roles import CLOUT, eventually

NETWORKS = ("twitter",)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path)


def test_the_command_refuses_where_no_demonstration_runs(tmp_path: Path) -> None:
    done = subprocess.run(
        [*CLOUT, "inject", "floor", "--data-dir", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "no demonstration runs here" in done.stderr
    assert not list(tmp_path.iterdir())


def test_an_installation_that_runs_is_no_demonstration(settings: Settings) -> None:
    with only_one(settings.data_dir), pytest.raises(CloutError, match="no demonstration runs here"):
        run_directory(settings, whatever=False)
    assert run_directory(settings, whatever=True) == settings.data_dir / "run"


def test_a_running_demonstration_is_found_from_its_own_directory_and_the_one_above(settings: Settings) -> None:
    demo = settings.data_dir / "demo"
    with only_one(demo), marked(demo / "run", NETWORKS):
        assert run_directory(settings, whatever=False) == demo / "run"
        assert run_directory(Settings(data_dir=demo), whatever=False) == demo / "run"


def test_the_mark_of_a_demonstration_that_was_killed_is_not_enough(settings: Settings) -> None:
    demo = settings.data_dir / "demo"
    with only_one(demo), marked(demo / "run", NETWORKS):
        mark = (demo / "run" / injection.MARK_FILE).read_bytes()
    (demo / "run" / injection.MARK_FILE).write_bytes(mark)
    with pytest.raises(CloutError, match="no demonstration runs here"):
        run_directory(settings, whatever=False)


def test_an_order_that_nobody_takes_is_withdrawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(injection, "TAKEN_SECONDS_MAX", 0.2)
    with marked(tmp_path, NETWORKS):
        order = FeedOrder(tmp_path, "stall", "twitter", 10.0)
        with pytest.raises(CloutError, match="nobody took the order"):
            order.begin()
        assert [path.name for path in tmp_path.iterdir()] == [injection.MARK_FILE]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_a_time_limit_end_a_fault_of_a_feed_early(tmp_path: Path, number: signal.Signals) -> None:
    demo, stop = tmp_path / "demo", threading.Event()
    interference = Interference(Mailbox(demo / "run"), NETWORKS)

    def feed() -> None:
        while not stop.wait(0.05):
            interference.look()

    with only_one(demo), marked(demo / "run", NETWORKS):
        feeder = threading.Thread(target=feed)
        feeder.start()
        try:
            # Whatever runs in the background of a script ignores Ctrl-C, and so would the command.
            command = ["env", "--default-signal=INT", *CLOUT, "inject", "stall", "--seconds", "60"]
            command += ["--data-dir", str(tmp_path)]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
                eventually(lambda: interference.is_mute(0, 0))
                assert process.stdout is not None
                assert process.stdout.readline().startswith("stall on twitter: its collectors send nothing")
                process.send_signal(number)
                assert process.wait(20) == 130
                assert "stall on twitter: over; 0 events met it" in process.stdout.read()
            assert not interference.is_mute(0, 0)
        finally:
            stop.set()
            feeder.join()


def test_a_network_that_the_demonstration_does_not_have_is_refused(tmp_path: Path) -> None:
    with marked(tmp_path, NETWORKS), pytest.raises(CloutError, match="'mastodon' is none of the"):
        FeedOrder(tmp_path, "stall", "mastodon", 10.0)


@pytest.mark.parametrize("environment", [{}, {"CLOUT_TEST_PLANTED_FAULTS": "0"}])
def test_a_worker_that_is_of_no_demonstration_refuses_faults_and_says_so(
    tmp_path: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUT_RUN_FILE", str(tmp_path / "score-0.json"))
    server = RoleServer(HttpSettings(), "score")
    server.start(CollectorRegistry(), dict, lambda: None, fault_routes(environment))
    try:
        with capture_logs() as logs, pytest.raises(CloutError, match="score-0 does not let a fault be planted"):
            WorkerFault(tmp_path, "floor", audit=True, partition=0).begin()
        assert httpx.delete(f"http://{server.address}/v1/faults").status_code == 403
    finally:
        server.stop()
    assert "this worker is of no demonstration and no test" in logs[0]["event"]


def test_a_fault_that_is_not_known_is_refused() -> None:
    server = RoleServer(HttpSettings(), "score")
    server.start(CollectorRegistry(), dict, lambda: None, fault_routes({"CLOUT_TEST_PLANTED_FAULTS": "1"}))
    try:
        for content in ({"fault": "none"}, {"fault": "floor", "more": 1}, {}):
            answer = httpx.post(f"http://{server.address}/v1/faults", json=content)
            assert answer.status_code == 400
            assert "no such fault" in answer.json()["error"]
    finally:
        server.stop()


def test_every_fault_of_a_worker_is_told_in_words() -> None:
    assert WORKER_FAULTS.keys() == FAULTS.keys()
