import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from clout.supervisor import RoleSpec, Supervisor, only_one, wait_until_ready
from streams.errors import CloutError

ROLE = """
import http.server, json, os, signal, sys
class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/readyz" else 404)
        self.end_headers()
server = http.server.HTTPServer(("127.0.0.1", 0), Ready)
signal.signal(signal.SIGTERM, signal.SIG_IGN if "stubborn" in sys.argv else lambda *_: os._exit(0))
path = os.environ["CLOUT_RUN_FILE"]
with open(path + ".new", "w") as file:
    more = json.loads(os.environ.get("MORE", "{}"))
    json.dump({"role": "score", "pid": os.getpid(), "address": f"127.0.0.1:{server.server_port}"} | more, file)
os.rename(path + ".new", path)
print("up", flush=True)
signal.alarm(60)
server.serve_forever()
"""


def role(name: str, script: str = ROLE, *arguments: str) -> RoleSpec:
    return RoleSpec(name, "score", [sys.executable, "-c", script, *arguments])


def until(supervisor: Supervisor, done: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, supervisor.states()
        supervisor.tick()
        time.sleep(0.02)


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Supervisor]]:
    started = []

    def make(*specs: RoleSpec, delay_seconds: float = 0.05) -> Supervisor:
        supervisor = Supervisor(specs, tmp_path, restart_delay_seconds=delay_seconds)
        started.append(supervisor)
        supervisor.start()
        return supervisor

    yield make
    for supervisor in started:
        supervisor.stop()


def test_roles_come_up_and_their_addresses_are_a_target_list(start: Callable[..., Supervisor], tmp_path: Path) -> None:
    supervisor = start(role("score-0"), role("score-1"))
    wait_until_ready(supervisor, timeout_seconds=10)
    supervisor.tick()
    targets = json.loads((tmp_path / "run" / "prometheus-targets.json").read_text())
    assert [target["targets"] for target in targets] == [[state.address] for state in supervisor.states()]
    assert targets[0]["labels"]["role"] == "score"
    assert "up" in supervisor.log_file("score-1").read_text()


def test_where_a_role_serves_others_is_known_while_it_does_and_said(tmp_path: Path) -> None:
    more = {**os.environ, "MORE": '{"public_address": "127.0.0.1:8080"}'}
    spec = RoleSpec("gateway-0", "gateway", [sys.executable, "-c", ROLE], more)
    said: list[str] = []
    supervisor = Supervisor([spec], tmp_path, say=said.append, restart_delay_seconds=0.05)
    supervisor.start()
    try:
        wait_until_ready(supervisor, timeout_seconds=10)
        [state] = supervisor.states()
        assert state.public_address == "127.0.0.1:8080"
        assert "gateway-0 serves at http://127.0.0.1:8080/" in said
    finally:
        supervisor.stop()
    assert supervisor.states()[0].public_address is None


def test_a_role_that_was_killed_is_started_again(start: Callable[..., Supervisor]) -> None:
    supervisor = start(role("score-0"))
    wait_until_ready(supervisor, timeout_seconds=10)
    [before] = supervisor.states()
    assert before.pid is not None
    os.kill(before.pid, signal.SIGKILL)
    until(supervisor, lambda: supervisor.states()[0].address not in {None, before.address})
    [after] = supervisor.states()
    assert after.restarts == 1
    assert after.pid != before.pid


def test_a_role_that_died_stays_a_target_so_that_it_shows_as_down(
    start: Callable[..., Supervisor], tmp_path: Path
) -> None:
    supervisor = start(role("score-0"), delay_seconds=60)
    wait_until_ready(supervisor, timeout_seconds=10)
    [before] = supervisor.states()
    assert before.pid is not None
    os.kill(before.pid, signal.SIGKILL)
    until(supervisor, lambda: supervisor.states()[0].address is None)
    [target] = json.loads((tmp_path / "run" / "prometheus-targets.json").read_text())
    assert target["targets"] == [before.address]


def test_stop_leaves_no_process_and_empties_the_target_list(start: Callable[..., Supervisor], tmp_path: Path) -> None:
    supervisor = start(role("score-0"), role("score-1"))
    wait_until_ready(supervisor, timeout_seconds=10)
    pids = [state.pid for state in supervisor.states()]
    assert supervisor.stop() == []
    assert all(pid is not None and gone(pid) for pid in pids)
    assert json.loads((tmp_path / "run" / "prometheus-targets.json").read_text()) == []


def test_a_role_that_does_not_listen_to_sigterm_is_killed(
    start: Callable[..., Supervisor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clout.supervisor.STOP_SECONDS_MAX", 0.3)
    supervisor = start(role("score-0", ROLE, "stubborn"))
    wait_until_ready(supervisor, timeout_seconds=10)
    pid = supervisor.states()[0].pid
    assert supervisor.stop() == ["score-0"]
    assert pid is not None
    assert gone(pid)


def test_a_role_that_never_comes_up_is_given_up_with_its_last_words(start: Callable[..., Supervisor]) -> None:
    supervisor = start(role("score-0", "raise SystemExit('no such topic')"))
    with pytest.raises(CloutError, match="does not come up") as raised:
        until(supervisor, lambda: False)
    assert "no such topic" in raised.value.detail


def test_a_role_that_once_came_up_is_never_given_up(start: Callable[..., Supervisor]) -> None:
    supervisor = start(role("score-0", ROLE.replace("server.serve_forever()", "os._exit(1)")), delay_seconds=0.01)
    until(supervisor, lambda: supervisor.states()[0].restarts >= 4)


def test_roles_die_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from clout.supervisor import *\n"
        f"s = Supervisor([RoleSpec('r', 'score', [sys.executable, '-c', {ROLE!r}])], Path({str(tmp_path)!r}))\n"
        "s.start(); wait_until_ready(s, timeout_seconds=10); print(s.states()[0].pid, flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout is not None
        pid = int(supervisor.stdout.readline())
        assert not gone(pid)
        supervisor.kill()
    deadline = time.monotonic() + 5
    while not gone(pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_data_directory_has_one_supervisor(tmp_path: Path) -> None:
    with only_one(tmp_path), pytest.raises(CloutError, match="another"), only_one(tmp_path):
        pass
    with only_one(tmp_path):
        pass
