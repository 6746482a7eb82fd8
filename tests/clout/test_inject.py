"""`clout inject` harms demonstrations alone, and workers let faults be planted only where they may."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Final

import httpx
import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from clout import injection
from clout.config import Settings
from clout.demo.interference import Interference
from clout.demo.orders import ORDERS_MAX, Mailbox, Order
from clout.injection import WORKER_FAULTS, FeedOrder, WorkerFault, marked, run_directory
from clout.supervisor import only_one
from streams import planting
from streams.errors import CloutError
from streams.http import RoleServer
from streams.planting import FAULTS, Plant, fault_routes
from streams.process import FAULTS_VARIABLE
from streams.settings import HttpSettings
from tests.forks import run
from tests.roles import CLOUT, eventually

NETWORKS = ("twitter", "mastodon")
TWITTER, MASTODON = range(2)
PERMITTED: Final = {FAULTS_VARIABLE: "1"}
PARTITIONS: Final = 4
ROOT: Final = Path(__file__).parents[2]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path)


@contextmanager
def demonstration(data_dir: Path) -> Iterator[Interference]:
    """A demonstration's lock, its mark, and a feeder that looks for orders."""
    demo, stop = data_dir / "demo", threading.Event()
    interference = Interference(Mailbox(demo / "run"), NETWORKS)

    def feed() -> None:
        while not stop.wait(0.05):
            interference.look()

    with only_one(demo), marked(demo / "run", NETWORKS):
        feeder = threading.Thread(target=feed)
        feeder.start()
        try:
            yield interference
        finally:
            stop.set()
            feeder.join()


def inject(data_dir: Path, *arguments: str) -> subprocess.Popen[str]:
    # Whatever runs in the background of a script ignores Ctrl-C, and so would the command.
    command = ["env", "--default-signal=INT", *CLOUT, "inject", *arguments, "--data-dir", str(data_dir)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def injected(data_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command that ends by itself."""
    return run(["inject", *arguments, "--data-dir", str(data_dir)], os.environ, data_dir, seconds=30)


class Workers:
    """Servers that are asked as workers are; what is planted there harms nobody."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.planted: list[str] = []
        self.endings = 0
        self._directory, self._monkeypatch = directory, monkeypatch
        self._servers: list[RoleServer] = []
        directory.mkdir(parents=True, exist_ok=True)
        monkeypatch.setattr(planting, "plant_fault", self.plant)
        monkeypatch.setattr(planting, "os", SimpleNamespace(getpid=os.getpid, kill=self._end))
        monkeypatch.setattr(injection, "ENDED_SECONDS_MAX", 0.2)

    def plant(self, plant: Plant) -> None:
        self.planted.append(plant.fault)

    def _end(self, _pid: int, _number: int) -> None:
        self.endings += 1

    def start(self, *owned: int, environment: dict[str, str] = PERMITTED) -> str:
        """Start another, which has some of the partitions; return its address."""
        self._monkeypatch.setenv("CLOUT_RUN_FILE", str(self._directory / f"score-{len(self._servers)}.json"))
        server = RoleServer(HttpSettings(), "score")
        status = {"partitions": [{"partition": partition, "state": "running"} for partition in owned]}
        server.start(CollectorRegistry(), lambda: status, lambda: None, fault_routes(PARTITIONS, environment))
        self._servers.append(server)
        return server.address

    def stop(self) -> None:
        for server in self._servers:
            server.stop()


@pytest.fixture
def workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workers]:
    """Workers of the data directory, where no demonstration runs."""
    found = Workers(tmp_path / "run", monkeypatch)
    yield found
    found.stop()


def worker_fault(data_dir: Path, fault: str = "floor", partition: int = 0, seconds: float = 60.0) -> WorkerFault:
    return WorkerFault(data_dir / "run", fault, audit=True, partition=partition, seconds=seconds)


def test_the_command_refuses_where_no_demonstration_runs(tmp_path: Path) -> None:
    done = injected(tmp_path, "floor")
    assert done.returncode == 1
    assert "no demonstration runs here" in done.stderr
    assert not list(tmp_path.iterdir())


def test_an_installation_that_runs_is_no_demonstration(settings: Settings) -> None:
    with only_one(settings.data_dir), pytest.raises(CloutError, match="no demonstration runs here"):
        run_directory(settings, "stall", whatever=False)
    assert run_directory(settings, "stall", whatever=True) == settings.data_dir / "run"


def test_a_running_demonstration_is_found_from_its_own_directory_and_the_one_above(settings: Settings) -> None:
    demo = settings.data_dir / "demo"
    with only_one(demo), marked(demo / "run", NETWORKS):
        assert run_directory(settings, "stall", whatever=False) == demo / "run"
        assert run_directory(Settings(data_dir=demo), "stall", whatever=False) == demo / "run"


def test_the_mark_of_a_demonstration_that_was_killed_is_not_enough(settings: Settings) -> None:
    demo = settings.data_dir / "demo"
    with only_one(demo), marked(demo / "run", NETWORKS):
        mark = (demo / "run" / injection.MARK_FILE).read_bytes()
    (demo / "run" / injection.MARK_FILE).write_bytes(mark)
    with pytest.raises(CloutError, match="no demonstration runs here"):
        run_directory(settings, "stall", whatever=False)


def test_an_order_that_nobody_takes_is_withdrawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(injection, "TAKEN_SECONDS_MAX", 0.2)
    with marked(tmp_path, NETWORKS):
        order = FeedOrder(tmp_path, "stall", "twitter", 10.0)
        with pytest.raises(CloutError, match="nobody took the order"):
            order.begin()
        assert [path.name for path in tmp_path.iterdir()] == [injection.MARK_FILE]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_a_time_limit_end_a_fault_of_a_feed_early(tmp_path: Path, number: signal.Signals) -> None:
    with demonstration(tmp_path) as interference, inject(tmp_path, "stall", "--seconds", "60") as process:
        eventually(lambda: interference.is_mute(TWITTER, 0))
        assert process.stdout is not None
        assert process.stdout.readline().startswith("stall on twitter: its collectors send nothing")
        process.send_signal(number)
        assert process.wait(20) == 130
        assert "stall on twitter: over; 0 events met it" in process.stdout.read()
        assert not interference.is_mute(TWITTER, 0)


def test_two_commands_harm_two_networks_at_once_and_neither_ends_the_other(tmp_path: Path) -> None:
    with (
        demonstration(tmp_path) as interference,
        inject(tmp_path, "stall", "--network", "twitter", "--seconds", "60") as long,
        inject(tmp_path, "dead-collector", "--network", "mastodon", "--seconds", "1") as short,
    ):
        eventually(lambda: interference.is_mute(TWITTER, 0))
        said, complained = short.communicate(timeout=30)
        assert (short.returncode, complained) == (0, "")
        assert "dead-collector on mastodon: over; 0 events met it" in said
        assert interference.is_mute(TWITTER, 0)
        long.send_signal(signal.SIGINT)
        assert "stall on twitter: over; 0 events met it" in long.communicate(timeout=30)[0]
        assert not list((tmp_path / "demo" / "run").glob("feed-*"))


def test_a_second_fault_of_a_network_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    with demonstration(tmp_path) as interference:
        directory = tmp_path / "demo" / "run"
        first = FeedOrder(directory, "stall", "twitter", 60.0)
        first.begin()
        with pytest.raises(CloutError, match="twitter has a fault already: stall") as caught:
            FeedOrder(directory, "partial", "twitter", 60.0).begin()
        assert caught.value.detail.startswith("it goes on for another ")
        assert "take another network" in caught.value.hint
        assert interference.is_mute(TWITTER, 0)
        assert first.end() is not None
        assert not list(directory.glob("feed-*"))


def test_the_fault_of_a_command_that_was_killed_ends_at_its_time(tmp_path: Path) -> None:
    with demonstration(tmp_path) as interference, inject(tmp_path, "stall", "--seconds", "3") as process:
        eventually(lambda: interference.is_mute(TWITTER, 0))
        began = time.monotonic()
        process.kill()
        process.wait(20)
        assert interference.is_mute(TWITTER, 0)
        eventually(lambda: not interference.is_mute(TWITTER, 0), seconds=10)
        assert time.monotonic() - began > 1.0
        assert not Mailbox(tmp_path / "demo" / "run").orders()


def test_an_order_beyond_the_limit_is_refused_and_those_whose_time_is_over_do_not_count(tmp_path: Path) -> None:
    mailbox, now = Mailbox(tmp_path), time.time()
    for number in range(ORDERS_MAX):
        mailbox.place(Order(id=f"old-{number}", fault="stall", network="twitter", until_seconds=now - 1))
        mailbox.place(Order(id=f"{number}", fault="stall", network="twitter", until_seconds=now + 60))
    with pytest.raises(CloutError, match=f"{ORDERS_MAX} faults of feeds are ordered already"):
        mailbox.place(Order(id="one more", fault="stall", network="twitter", until_seconds=now + 60))


def test_a_network_that_the_demonstration_does_not_have_is_refused(tmp_path: Path) -> None:
    with marked(tmp_path, NETWORKS), pytest.raises(CloutError, match="'bluesky' is none of the"):
        FeedOrder(tmp_path, "stall", "bluesky", 10.0)


@pytest.mark.parametrize("environment", [{}, {FAULTS_VARIABLE: "0"}])
def test_a_worker_that_is_of_no_demonstration_refuses_faults_and_says_so(
    tmp_path: Path, workers: Workers, environment: dict[str, str]
) -> None:
    address = workers.start(0, environment=environment)
    with capture_logs() as logs, pytest.raises(CloutError, match="score-0 does not let floor be planted") as caught:
        worker_fault(tmp_path).begin()
    assert f"without {FAULTS_VARIABLE}=1" in caught.value.detail
    assert f"{FAULTS_VARIABLE}=1 clout up" in caught.value.hint
    assert httpx.delete(f"http://{address}/v1/faults").status_code == 403
    assert "this worker is of no demonstration and no test" in logs[0]["event"]
    assert (workers.planted, workers.endings) == ([], 0)


def test_a_fault_that_is_not_known_is_refused(workers: Workers) -> None:
    address = workers.start(0)
    for content in ({"fault": "none"}, {"fault": "floor", "more": 1}, {}):
        answer = httpx.post(f"http://{address}/v1/faults", json=content)
        assert answer.status_code == 400
        assert "no such fault" in answer.json()["error"]


def test_a_worker_that_lets_itself_be_harmed_is_harmed_without_a_demonstration_for_who_knows(
    settings: Settings, workers: Workers
) -> None:
    workers.start(0)
    with pytest.raises(CloutError, match="no demonstration runs here") as caught:
        run_directory(settings, "floor", whatever=False)
    assert "--i-know harms the workers that run here" in caught.value.hint
    assert run_directory(settings, "floor", whatever=True) == settings.data_dir / "run"
    fault = worker_fault(settings.data_dir)
    assert fault.begin() == ["score-0"]
    assert workers.planted == ["floor"]
    assert not fault.end()
    assert workers.endings == 1


@pytest.mark.parametrize(("fault", "environment"), [("floor", {}), ("stall", PERMITTED)])
def test_nobody_is_told_of_i_know_where_it_does_not_help(
    settings: Settings, workers: Workers, fault: str, environment: dict[str, str]
) -> None:
    workers.start(0, environment=environment)
    with pytest.raises(CloutError, match="no demonstration runs here") as caught:
        run_directory(settings, fault, whatever=False)
    assert "--i-know" not in str(caught.value)


def test_a_demonstration_that_is_only_starting_is_waited_for(settings: Settings) -> None:
    with only_one(settings.data_dir / "demo"), pytest.raises(CloutError, match="no demonstration runs here") as caught:
        run_directory(settings, "stall", whatever=False)
    assert "starting or ending" in caught.value.detail


@pytest.mark.parametrize(
    ("fault", "error", "what_to_do"),
    [
        ("floor", "no worker runs here", f"{FAULTS_VARIABLE}=1 clout up"),
        ("stall", "no feeder takes orders here", "start `clout demo"),
    ],
)
def test_where_nothing_can_be_harmed_i_know_says_why_and_what_to_do(
    tmp_path: Path, fault: str, error: str, what_to_do: str
) -> None:
    done = injected(tmp_path, fault, "--i-know")
    assert (done.returncode, done.stdout) == (1, "")
    assert error in done.stderr
    assert what_to_do in done.stderr


def test_a_partition_that_does_not_exist_is_refused_before_anything_is_harmed(tmp_path: Path, workers: Workers) -> None:
    workers.start(0, 1)
    workers.start(2, 3)
    with pytest.raises(CloutError, match="score-0 does not let lost-partition be planted") as caught:
        worker_fault(tmp_path, "lost-partition", partition=99).begin()
    assert caught.value.detail == "there is no partition 99: they are 0 to 3"
    assert workers.planted == []
    worker_fault(tmp_path, "lost-partition", partition=3).begin()
    assert workers.planted == ["lost-partition"] * 2


def test_a_partition_that_no_worker_has_is_refused_before_anything_is_harmed(tmp_path: Path, workers: Workers) -> None:
    workers.start(0, 1)
    workers.start(2)
    with pytest.raises(CloutError, match="no worker has partition 3 right now") as caught:
        worker_fault(tmp_path, "lost-partition", partition=3).begin()
    assert caught.value.detail == "score-0 has 0, 1; score-1 has 2"
    assert workers.planted == []


def test_a_second_fault_of_a_worker_is_refused_and_nobody_ends_the_first(tmp_path: Path, workers: Workers) -> None:
    workers.start(0)
    first, second = worker_fault(tmp_path), worker_fault(tmp_path, "mass-fall")
    first.begin()
    with pytest.raises(CloutError, match="score-0 does not let mass-fall be planted") as caught:
        second.begin()
    assert caught.value.detail.startswith("floor is planted already, for another ")
    second.end()
    assert (workers.planted, workers.endings) == (["floor"], 0)
    first.end()
    assert workers.endings == 1


def test_where_one_worker_takes_no_fault_the_others_are_rid_of_it(
    tmp_path: Path, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers.start(0)
    workers.start(1)

    def plant(plant: Plant) -> None:
        if workers.planted:
            raise MemoryError
        workers.plant(plant)

    monkeypatch.setattr(planting, "plant_fault", plant)
    with pytest.raises(CloutError, match="score-1 does not let floor be planted"):
        worker_fault(tmp_path).begin()
    assert (workers.planted, workers.endings) == (["floor"], 1)


def test_a_worker_ends_by_itself_when_the_time_of_its_fault_is_over(tmp_path: Path, workers: Workers) -> None:
    workers.start(0)
    worker_fault(tmp_path, seconds=0.5).begin()
    assert workers.endings == 0
    eventually(lambda: workers.endings == 1)


@pytest.mark.parametrize(
    "arguments",
    [
        ("floor", "--share", "0.5"),
        ("stall", "--share", "0.5"),
        ("floor", "--partition", "1"),
        ("partial", "--no-audit"),
    ],
)
def test_an_option_that_means_nothing_to_a_fault_is_refused(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = injected(tmp_path, *arguments)
    assert done.returncode == 2
    assert arguments[1] in done.stderr


@pytest.mark.parametrize(
    ("given", "command"), [("ARGS=--fault stall", "demo --fault stall"), ("SECONDS=20", "demo --seconds 20")]
)
def test_make_demo_passes_on_what_it_is_given(given: str, command: str) -> None:
    done = subprocess.run(["make", "-n", "demo", given], cwd=ROOT, capture_output=True, text=True, check=True)
    assert command in " ".join(done.stdout.split())


def test_every_fault_of_a_worker_is_told_in_words() -> None:
    assert WORKER_FAULTS.keys() == FAULTS.keys()
