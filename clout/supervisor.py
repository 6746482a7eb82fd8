"""Keeps the roles of one machine running: starts them, starts them again when they die, and stops them together.

A role announces its HTTP address in its run file, `run/NAME.json`, as soon as it listens. The addresses are written
as a target list for Prometheus' file discovery, `run/prometheus-targets.json`. Each role's output is in `logs/`.
Roles are tied to the supervisor: they die with it, however it dies.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx

from clout.alone import alone
from clout.loopback import http
from streams.errors import CloutError

LOCK_FILE: Final = "up.lock"
"""In the run directory, held by whoever supervises."""
TIED: Final = Path(__file__).with_name("tied.py")
RESTART_DELAY_SECONDS_MIN: Final = 1.0
RESTART_DELAY_SECONDS_MAX: Final = 30.0
STEADY_SECONDS: Final = 60.0
"""A role that ran this long starts again with the shortest delay."""
FAILED_STARTS_MAX: Final = 3
"""A role that never came up is given up after as many starts: its configuration is wrong, not its luck."""
STOP_SECONDS_MAX: Final = 10.0
LOG_BYTES_MAX: Final = 64 << 20
"""A larger log is put aside, over the one put aside before, when its role starts."""
LOG_TAIL_BYTES: Final = 2_000
NAP_SECONDS: Final = 0.05
READY_TIMEOUT_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class RoleSpec:
    """A role to run: a name of its own, what it is, its command line and its environment."""

    name: str
    role: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)


@dataclass(frozen=True, slots=True)
class RoleState:
    """How a role is doing."""

    name: str
    role: str
    pid: int | None
    address: str | None
    """HOST:PORT of its HTTP server, once it listens."""
    restarts: int
    public_address: str | None = None
    """HOST:PORT at which it serves others, for a gateway that listens."""


@dataclass(slots=True)
class _Child:
    spec: RoleSpec
    process: subprocess.Popen[bytes] | None = None
    address: str | None = None
    last_address: str | None = None
    public_address: str | None = None
    started_at: float = 0.0
    start_at: float = 0.0
    delay_seconds: float = RESTART_DELAY_SECONDS_MIN
    starts: int = 0
    came_up: bool = False


class Supervisor:
    """Runs roles. `tick` is to be called several times a second, always by the thread that called `start`.

    (Linux ties a child to the thread that made it.)
    """

    def __init__(
        self,
        specs: Sequence[RoleSpec],
        data_dir: Path,
        *,
        say: Callable[[str], None] = lambda _line: None,
        clock: Callable[[], float] = time.monotonic,
        restart_delay_seconds: float = RESTART_DELAY_SECONDS_MIN,
    ) -> None:
        """Prepare the roles; `say` is told what happens, one line each."""
        self._children = [_Child(spec, delay_seconds=restart_delay_seconds) for spec in specs]
        self._first_delay_seconds = restart_delay_seconds
        self._run_dir = data_dir / "run"
        self._log_dir = data_dir / "logs"
        self._say = say
        self._clock = clock
        self._targets: object = None

    def start(self) -> None:
        """Start every role."""
        self._run_dir.mkdir(parents=True, exist_ok=True)
        self._log_dir.mkdir(parents=True, exist_ok=True)
        for child in self._children:
            self._spawn(child)
        self._write_targets()

    def tick(self) -> None:
        """Look after the roles. Raises `CloutError` when one cannot be brought up."""
        now = self._clock()
        for child in self._children:
            if child.process is None:
                if now >= child.start_at:
                    self._spawn(child)
            elif (code := child.process.poll()) is not None:
                self._bury(child, code, now)
            elif child.address is None:
                self._look_for_address(child)
        self._write_targets()

    def states(self) -> list[RoleState]:
        """Tell how the roles are doing, in the order they were given."""
        return [
            RoleState(
                child.spec.name,
                child.spec.role,
                child.process.pid if child.process else None,
                child.address,
                max(0, child.starts - 1),
                child.public_address,
            )
            for child in self._children
        ]

    def log_file(self, name: str) -> Path:
        """Return the log of a role."""
        return self._log_dir / f"{name}.log"

    def stop(self) -> list[str]:
        """Stop all roles and return the names of those that had to be killed."""
        alive = [child for child in self._children if child.process is not None]
        for child in alive:
            _signal(child.process, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS_MAX
        killed = []
        for child in alive:
            process = child.process
            assert process is not None  # noqa: S101 - chosen so above
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                killed.append(child.spec.name)
            # The group too: a role may have helpers of its own.
            _signal(process, signal.SIGKILL)
            process.wait()
            child.process = child.address = child.last_address = child.public_address = None
            self._run_file(child).unlink(missing_ok=True)
        self._write_targets()
        return killed

    def _spawn(self, child: _Child) -> None:
        run_file, log_file = self._run_file(child), self.log_file(child.spec.name)
        run_file.unlink(missing_ok=True)
        if log_file.exists() and log_file.stat().st_size > LOG_BYTES_MAX:
            log_file.replace(log_file.with_suffix(".log.1"))
        environment = {**child.spec.environment, "CLOUT_RUN_FILE": str(run_file)}
        with log_file.open("ab") as log:
            child.process = subprocess.Popen(  # noqa: S603 - our own command line
                [sys.executable, "-I", "-S", str(TIED), str(os.getpid()), *child.spec.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
        child.started_at = self._clock()
        child.starts += 1
        self._say(f"{child.spec.name} started as process {child.process.pid}")

    def _bury(self, child: _Child, code: int, now: float) -> None:
        """Note that a role ended and plan its next start."""
        assert child.process is not None  # noqa: S101 - only a started role ends
        _signal(child.process, signal.SIGKILL)  # what may be left of its group
        if child.address is None:
            self._look_for_address(child)
        child.process = child.address = child.public_address = None
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        if not child.came_up and child.starts >= FAILED_STARTS_MAX:
            raise CloutError(
                f"{child.spec.name} does not come up: it ended {how}, {child.starts} times",
                detail=self._log_tail(child),
                hint=f"its whole output is in {self.log_file(child.spec.name)}",
            )
        if now - child.started_at >= STEADY_SECONDS:
            child.delay_seconds = self._first_delay_seconds
        child.start_at = now + child.delay_seconds
        self._say(f"{child.spec.name} ended {how}; it is started again in {child.delay_seconds:g} s")
        child.delay_seconds = min(child.delay_seconds * 2, RESTART_DELAY_SECONDS_MAX)

    def _look_for_address(self, child: _Child) -> None:
        # Half a file cannot be met: roles write elsewhere and rename.
        with contextlib.suppress(FileNotFoundError):
            found = json.loads(self._run_file(child).read_bytes())
            child.address = child.last_address = found["address"]
            child.public_address = found.get("public_address")
            child.came_up = True
            self._say(f"{child.spec.name} listens on {child.address}")
            if child.public_address:
                self._say(f"{child.spec.name} serves at http://{child.public_address}/")

    def _run_file(self, child: _Child) -> Path:
        return self._run_dir / f"{child.spec.name}.json"

    def _log_tail(self, child: _Child) -> str:
        return self.log_file(child.spec.name).read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace").strip()

    def _write_targets(self) -> None:
        """Write Prometheus' target list if it changed. A role that died stays on it: it shows as down, not as gone."""
        targets = [
            {"targets": [child.last_address], "labels": {"role": child.spec.role, "instance_name": child.spec.name}}
            for child in self._children
            if child.last_address
        ]
        if targets == self._targets:
            return
        draft = self._run_dir / "prometheus-targets.json.new"
        draft.write_text(json.dumps(targets, indent=2) + "\n", encoding="utf-8")
        draft.replace(self._run_dir / "prometheus-targets.json")
        self._targets = targets


def wait_until_ready(
    supervisor: Supervisor, *, timeout_seconds: float, give_up: Callable[[], bool] = lambda: False
) -> None:
    """Return when every role says that it is ready, or when `give_up` says so."""
    deadline = time.monotonic() + timeout_seconds
    while (missing := [state.name for state in supervisor.states() if not is_ready(state)]) and not give_up():
        if time.monotonic() > deadline:
            raise CloutError(
                f"{', '.join(missing)} did not get ready within {timeout_seconds:.0f} seconds",
                hint=f"look at {supervisor.log_file(missing[0])}",
            )
        supervisor.tick()
        time.sleep(NAP_SECONDS)


def is_ready(state: RoleState) -> bool:
    """Ask a role whether it is ready to work."""
    if state.address is None:
        return False
    try:
        return http().get(f"http://{state.address}/readyz", timeout=READY_TIMEOUT_SECONDS).is_success
    except httpx.HTTPError:
        return False


def only_one(data_dir: Path) -> AbstractContextManager[None]:
    """Hold the data directory for one supervisor."""
    otherwise = CloutError(
        f"another `clout up` runs on {data_dir}",
        hint="stop it first, or use another data directory with CLOUT_DATA_DIR",
    )
    return alone(data_dir / "run" / LOCK_FILE, otherwise)


def _signal(process: subprocess.Popen[bytes] | None, number: signal.Signals) -> None:
    """Signal a role and all that it started."""
    if process is not None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
