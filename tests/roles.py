"""Roles as the processes they are: started, stopped, killed and frozen, and asked over HTTP."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, is_dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import httpx

from clout.commands.wait import reader_of, wait_until_processed
from clout.config import Settings
from clout.loopback import http
from clout.owners import Owners
from clout.sender import RAW_PRODUCER_OPTIONS
from clout.supervisor import TIED
from schemas.change import ScoreChange
from schemas.export import UserState
from streams import clients, topics
from streams.progress import Reading
from tests.checks import changes_of, users_of
from tests.forks import Before, Forked, run

CLOUT: Final = (sys.executable, "-m", "clout")
START_SECONDS_MAX: Final = 60.0
"""The first role waits for all of Clout to be imported, on a machine that may do other things too."""
_HTTP_SECONDS: Final = 5.0
_NAP_SECONDS: Final = 0.05
_KAFKA_SECONDS: Final = 30


def eventually(done: Callable[[], object], *, seconds: float = 30.0, otherwise: Callable[[], object] = str) -> None:
    """Return when `done`; fail with what `otherwise` tells after the time."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, f"not within {seconds} seconds: {otherwise()}"
        time.sleep(_NAP_SECONDS)


def start_together(*roles: "Role", seconds: float = START_SECONDS_MAX) -> None:
    """Start roles at the same time and return when all listen."""
    for role in roles:
        role.launch()
    for role in roles:
        role.wait_until_listening(seconds)


class Role:
    """One role as a process."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        directory: Path,
        program: Sequence[str] | None = None,
        before: Before | None = None,
    ) -> None:
        """Prepare `clout ARGUMENTS`, or a program that takes them; nothing runs yet.

        Without a program it is forked, and calls `before` first: there a fault can be planted.
        """
        self.name = name
        self._program, self._before = program, before
        self._arguments = arguments
        self._environment = environment
        self._run_file = directory / f"{name}.json"
        self._directory = directory
        self.log_file = directory / f"{name}.log"
        self.process: subprocess.Popen[bytes] | Forked | None = None

    def launch(self) -> Self:
        """Start the process and return at once."""
        self._run_file.unlink(missing_ok=True)
        environment = {**self._environment, "CLOUT_RUN_FILE": str(self._run_file)}
        if self._program is None:
            self.process = Forked(
                self._arguments, environment, self._directory, self.log_file, self.log_file, self._before
            )
            return self
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(TIED), str(os.getpid()), *self._program, *self._arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._directory,
                env=environment,
            )
        return self

    def start(self) -> Self:
        """Start the process and return when it listens."""
        return self.launch().wait_until_listening()

    def wait_until_listening(self, seconds: float = START_SECONDS_MAX) -> Self:
        """Return when its HTTP server can be asked."""
        eventually(lambda: self._run_file.exists() or self.ended(), seconds=seconds, otherwise=self.log)
        assert not self.ended(), self.log()
        return self

    def ended(self) -> bool:
        """Return whether the process is gone."""
        return self.process is None or self.process.poll() is not None

    @property
    def address(self) -> str:
        """HOST:PORT of its HTTP server."""
        return str(json.loads(self._run_file.read_bytes())["address"])

    def get(self, path: str) -> httpx.Response:
        """Ask it over HTTP."""
        return http().get(f"http://{self.address}{path}", timeout=_HTTP_SECONDS)

    def status(self) -> dict[str, Any]:
        """Return its /v1/status."""
        answer: dict[str, Any] = self.get("/v1/status").raise_for_status().json()
        return answer

    def partitions(self, state: str = "running") -> dict[int, dict[str, Any]]:
        """Return the tasks of a worker that are in this state."""
        return {entry["partition"]: entry for entry in self.status()["partitions"] if entry["state"] == state}

    def wait_until_ready(self, seconds: float = 40.0) -> Self:
        """Return when it says that it is ready."""
        eventually(lambda: self.get("/readyz").is_success, seconds=seconds, otherwise=self.log)
        return self

    def stop(self, seconds: float = 10.0) -> int:
        """Tell it to end and return its exit code; fail when that takes longer than it may."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def kill(self) -> None:
        """End it without a warning."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def freeze(self) -> None:
        """Stop it in its tracks."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen one go on."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def log(self) -> str:
        """Return the end of what it printed."""
        return self.log_file.read_text(errors="replace")[-4000:]


class Installation:
    """The roles of one installation; leaving it ends them all."""

    def __init__(self, settings: Settings, program: Sequence[str] | None = None) -> None:
        """Make the topics; `program` runs the roles, else they are forked from a process that has imported them."""
        self.settings = settings
        self._program = program
        self.names = settings.names
        self.directory = settings.data_dir
        self.directory.mkdir(parents=True, exist_ok=True)
        self.roles: list[Role] = []
        topics.create(settings.kafka, topics.specification(self.names, settings.lanes, settings.networks))

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all roles; none outlives a test."""
        for role in self.roles:
            role.kill()

    def up(self, *, ingests: int = 1, workers: int = 1) -> tuple[list[Role], list[Role]]:
        """Start so many of both roles at the same time."""
        roles = [self.ingest(slot) for slot in range(ingests)], [self.worker(slot) for slot in range(workers)]
        start_together(*roles[0], *roles[1])
        return roles

    def ingest(self, slot: int = 0) -> Role:
        """Prepare an ingest process."""
        return self._role(f"ingest-{slot}", ["ingest", "--slot", str(slot)], self.settings)

    def worker(
        self,
        slot: int = 0,
        *,
        before: Before | None = None,
        environment: Mapping[str, str] | None = None,
        **changes: object,
    ) -> Role:
        """Prepare a worker; `changes` to its settings are its own, and so is what `environment` adds."""
        worker = replace(self.settings.worker, **changes)  # type: ignore[arg-type]
        settings = self.settings.model_copy(update={"worker": worker})
        return self._role(f"score-{slot}", ["score", "--slot", str(slot)], settings, before, environment)

    def role(self, name: str, arguments: Sequence[str]) -> Role:
        """Prepare another role."""
        return self._role(name, arguments, self.settings)

    def guard(self, slot: int = 0, *, before: Before | None = None) -> Role:
        """Prepare a guard."""
        return self._role(f"guard-{slot}", ["guard", "--slot", str(slot)], self.settings, before)

    def run(self, *arguments: str, seconds: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run a command of this installation to its end."""
        return run(arguments, environment_of(self.settings), self.directory, seconds)

    def send(self, values: Iterable[bytes | None], *, network: str = "twitter", partition: int = 0) -> int:
        """Put raw records on a network's topic, as they are; return how many."""
        producer = clients.producer(self.settings.kafka, RAW_PRODUCER_OPTIONS)
        # As in `clients.fence`: else it waits half a second for its id.
        producer.list_topics(timeout=_KAFKA_SECONDS)
        count = 0
        for value in values:
            producer.produce(self.names.interactions(network), value, partition=partition)
            count += 1
        assert producer.flush(_KAFKA_SECONDS) == 0
        return count

    def wait(self, seconds: float = 60.0) -> Reading:
        """Return when everything read in has been processed."""
        with closing(reader_of(self.settings)) as reader:
            return wait_until_processed(reader, seconds, lambda _line: None)

    def export(self) -> list[bytes]:
        """Return what `clout export` prints, line by line."""
        with Owners(self.settings) as owners:
            pieces = [piece for partition in range(owners.partitions) for piece in owners.users(partition)]
        return b"".join(pieces).splitlines()

    def users(self) -> dict[str, UserState]:
        """Return the users of the export."""
        return users_of(self.export())

    def changes(self) -> dict[str, list[ScoreChange]]:
        """Return every user's changes."""
        return changes_of(self.settings.kafka, self.names.changes)

    def _role(
        self,
        name: str,
        arguments: Sequence[str],
        settings: Settings,
        before: Before | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Role:
        whole = {**environment_of(settings), **(environment or {})}
        role = Role(name, arguments, whole, self.directory, self._program, before)
        self.roles.append(role)
        return role


def environment_of(settings: Settings) -> dict[str, str]:
    """Return the environment that gives a process these settings and no others."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CLOUT_")}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if is_dataclass(value) and not isinstance(value, type):
            value = json.dumps(asdict(value))
        elif isinstance(value, dict):
            value = json.dumps({key: asdict(of_key) for key, of_key in value.items()})
        environment[f"CLOUT_{name.upper()}"] = str(value)
    return environment
