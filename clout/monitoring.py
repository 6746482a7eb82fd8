"""A real Prometheus and a real Alertmanager beside the roles of one machine, from Debian's packages.

They listen on free loopback ports and live under `run/` of the data directory. Their configuration is made from
`deploy/prometheus` and `deploy/alertmanager`. Prometheus finds the roles by the target list of the supervisor;
Alertmanager is told anew where the guards are whenever one starts again. Both die with this process, however it dies.
Alerts link to their runbooks, which are served from here or lie where PROMETHEUS_RUNBOOKS_URL says.
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Final
from urllib.parse import urlsplit

import httpx

from clout.broker import HOST, ROOT
from clout.loopback import http
from clout.ports import free_ports
from clout.runbooks import RunbookServer
from clout.supervisor import TIED, RoleState
from streams.errors import CloutError
from streams.guard.alert_hook import PATH as ALERTS_PATH

PROMETHEUS_FILES: Final = ROOT / "deploy" / "prometheus"
ALERTMANAGER_FILES: Final = ROOT / "deploy" / "alertmanager"
PROGRAMS: Final = {"prometheus": "prometheus", "alertmanager": "prometheus-alertmanager"}
"""What each is called among Debian's programs; its package has the same name."""
ELSEWHERE: Final = {"alertmanager": "alertmanager"}
"""What it is called where it does not come from Debian."""
RETENTION: Final = ("--storage.tsdb.retention.time=4d", "--storage.tsdb.retention.size=256MB")
"""Three days are looked at by the slowest objective."""
RESEND: Final = "--rules.alert.resend-delay=5s"
"""How soon an Alertmanager that was started later, or again, knows what fires."""
RECEIVERS: Final = ("watchdog", "pager", "feeds", "operators")
"""Receivers of alerts that the environment may name: ALERTMANAGER_PAGER_URL and so on."""
RUNBOOKS_URL: Final = "PROMETHEUS_RUNBOOKS_URL"
"""In the environment: where the pages of `deploy/runbooks` are, if not here."""
START_SECONDS_MAX: Final = 30.0
STOP_SECONDS_MAX: Final = 5.0
RESTART_SECONDS: Final = 5.0
LOG_TAIL_BYTES: Final = 2_000


@dataclass(slots=True)
class _Program:
    name: str
    command: Sequence[str]
    address: str
    log_file: Path
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0


@dataclass(slots=True)
class Monitoring:
    """Prometheus and Alertmanager of one data directory; `start`, `tick` and `stop` belong to one thread."""

    data_dir: Path
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    _programs: list[_Program] = field(default_factory=list, init=False)
    _runbooks: RunbookServer | None = field(default=None, init=False)
    _guards: tuple[str, ...] = field(default=(), init=False)
    _reload_due: bool = field(default=False, init=False)

    def start(self) -> None:
        """Start both and return when they answer.

        Raises `CloutError` where they are not installed, and for a PROMETHEUS_RUNBOOKS_URL that is none.
        """
        found = {name: _found(name) for name in PROGRAMS}
        runbooks = self._runbooks_url()
        ports = free_ports(HOST, len(PROGRAMS))
        addresses = {name: f"{HOST}:{port}" for name, port in zip(PROGRAMS, ports, strict=True)}
        self._log_dir.mkdir(parents=True, exist_ok=True)
        for name in PROGRAMS:
            (self._run_dir / name).mkdir(parents=True, exist_ok=True)
        self._write_prometheus(addresses["alertmanager"], runbooks)
        self._write_alertmanager()
        options = {"prometheus": self._prometheus_options(), "alertmanager": self._alertmanager_options()}
        for name, address in addresses.items():
            command = [found[name], *options[name], f"--web.listen-address={address}"]
            program = _Program(name, command, address, self._log_dir / f"{name}.log")
            self._programs.append(program)
            _spawn(program)
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise

    @property
    def prometheus(self) -> str:
        """Where Prometheus is."""
        return f"http://{self._program('prometheus').address}"

    @property
    def alertmanager(self) -> str:
        """Where Alertmanager is."""
        return f"http://{self._program('alertmanager').address}"

    def processes(self) -> list[int]:
        """Process ids of what runs."""
        return [program.process.pid for program in self._programs if program.process is not None]

    def tick(self, roles: Iterable[RoleState]) -> None:
        """Start again what died, and tell Alertmanager where the guards are; to be called every now and then."""
        for program in self._programs:
            ended = program.process is None or program.process.poll() is not None
            if ended and time.monotonic() - program.started_at > RESTART_SECONDS:
                _spawn(program)
        guards = tuple(sorted(role.address for role in roles if role.role == "guard" and role.address))
        # While a guard is away its alerts wait at Alertmanager for the address where it was.
        if guards and guards != self._guards:
            self._guards = guards
            self._write_alertmanager()
            self._reload_due = True
        if self._reload_due:
            # Not by a signal: one that comes before it is waited for would end the process.
            self._reload_due = not _reloaded(self._program("alertmanager"))

    def stop(self) -> None:
        """Stop both, and the pages; nothing else is touched."""
        running = [program.process for program in self._programs if program.process is not None]
        for process in running:
            process.terminate()
        for process in running:
            try:
                process.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._programs.clear()
        if self._runbooks is not None:
            self._runbooks.stop()
            self._runbooks = None

    @property
    def _run_dir(self) -> Path:
        return self.data_dir.absolute() / "run"

    @property
    def _log_dir(self) -> Path:
        return self.data_dir.absolute() / "logs"

    def _program(self, name: str) -> _Program:
        return next(program for program in self._programs if program.name == name)

    def _prometheus_options(self) -> list[str]:
        directory = self._run_dir / "prometheus"
        return [
            f"--config.file={directory / 'prometheus.yml'}",
            f"--storage.tsdb.path={directory / 'data'}",
            *RETENTION,
            RESEND,
        ]

    def _alertmanager_options(self) -> list[str]:
        directory = self._run_dir / "alertmanager"
        # No gossip: there is one.
        return [
            f"--config.file={directory / 'alertmanager.yml'}",
            f"--storage.path={directory / 'data'}",
            "--cluster.listen-address=",
        ]

    def _runbooks_url(self) -> str:
        """Return where alerts find their runbooks: where the environment says, else pages that are served from here."""
        elsewhere = runbooks_elsewhere(self.environment)
        if not elsewhere:
            self._runbooks = RunbookServer()
            return self._runbooks.url
        return elsewhere

    def _write_prometheus(self, alertmanager: str, runbooks: str) -> None:
        text = prometheus_configuration(alertmanager, self._run_dir / "prometheus-targets.json", runbooks)
        (self._run_dir / "prometheus" / "prometheus.yml").write_text(text, encoding="utf-8")

    def _write_alertmanager(self) -> None:
        text = alertmanager_configuration(self._guards, self.environment)
        (self._run_dir / "alertmanager" / "alertmanager.yml").write_text(text, encoding="utf-8")

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS_MAX
        while missing := [program for program in self._programs if not _is_ready(program)]:
            [first, *_] = missing
            ended = first.process is None or first.process.poll() is not None
            if ended or time.monotonic() > deadline:
                raise CloutError(
                    f"{first.name} {'ended while it started' if ended else 'did not get ready'}",
                    detail=first.log_file.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace").strip(),
                    hint=f"its whole output is in {first.log_file}",
                )
            time.sleep(0.05)


def check_wanted(environment: Mapping[str, str] = os.environ) -> None:
    """Raise `CloutError` where monitoring could not be started, before anything else is."""
    for name in PROGRAMS:
        _found(name)
    runbooks_elsewhere(environment)


def runbooks_elsewhere(environment: Mapping[str, str]) -> str:
    """Return where the runbooks are published, "" where nowhere; raise `CloutError` for what is no address.

    >>> runbooks_elsewhere({"PROMETHEUS_RUNBOOKS_URL": "https://example.org/runbooks/"})
    'https://example.org/runbooks'
    """
    elsewhere = environment.get(RUNBOOKS_URL, "")
    parts = urlsplit(elsewhere)
    # Prometheus would take braces for a template.
    is_address = parts.scheme in {"http", "https"} and parts.netloc and not re.search(r"[\s{}]", elsewhere)
    if elsewhere and not is_address:
        raise CloutError(
            f"{RUNBOOKS_URL} is no address of pages",
            detail=f"it is {elsewhere!r}",
            hint="it begins with https:// and has no blanks or braces, like https://example.org/runbooks; or unset it",
        )
    return elsewhere.rstrip("/")


def prometheus_configuration(alertmanager: str, targets: Path, runbooks: str) -> str:
    """Fill in Prometheus' configuration: the address of Alertmanager, the list of targets, the URL of the runbooks."""
    text = (PROMETHEUS_FILES / "prometheus.yml").read_text(encoding="utf-8")
    return Template(text).substitute(
        alertmanager=alertmanager, rules=PROMETHEUS_FILES / "rules", targets=targets, runbooks=json.dumps(runbooks)
    )


def alertmanager_configuration(guards: Sequence[str], environment: Mapping[str, str]) -> str:
    """Fill in Alertmanager's configuration: the guards' HOST:PORT, and who else is called.

    >>> "http://127.0.0.1:81/v1/alerts" in alertmanager_configuration(["127.0.0.1:81"], {})
    True
    """
    text = (ALERTMANAGER_FILES / "alertmanager.yml").read_text(encoding="utf-8")
    hooks = [f"http://{guard}{ALERTS_PATH}" for guard in guards]
    others = {name: [url for url in [environment.get(f"ALERTMANAGER_{name.upper()}_URL")] if url] for name in RECEIVERS}
    receivers = {**others, "status": hooks, "watchdog": hooks + others["watchdog"]}
    return Template(text).substitute(
        {name: json.dumps([{"url": url} for url in urls]) for name, urls in receivers.items()}
    )


def _found(name: str) -> str:
    program = shutil.which(PROGRAMS[name]) or shutil.which(ELSEWHERE.get(name, name))
    if program is None:
        packages = " ".join(PROGRAMS.values())
        raise CloutError(
            f"{name.capitalize()} was not found",
            detail=f"looked for {PROGRAMS[name]} on the path; it is in Debian's package of that name",
            hint=f"run `make setup`, or: apt-get install --no-install-recommends {packages}",
        )
    return program


def _spawn(program: _Program) -> None:
    with program.log_file.open("ab") as log:
        program.process = subprocess.Popen(  # noqa: S603 - made of our own parts
            [sys.executable, "-I", "-S", str(TIED), str(os.getpid()), *program.command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    program.started_at = time.monotonic()


def _is_ready(program: _Program) -> bool:
    try:
        return http().get(f"http://{program.address}/-/ready", timeout=1).is_success
    except httpx.HTTPError:
        return False


def _reloaded(program: _Program) -> bool:
    try:
        return http().post(f"http://{program.address}/-/reload", timeout=1).is_success
    except httpx.HTTPError:
        return False


@contextlib.contextmanager
def monitored(data_dir: Path, *, wanted: bool) -> Iterator[Monitoring | None]:
    """Give a running Prometheus and Alertmanager, stopped at the end; None where they are not wanted."""
    if not wanted:
        yield None
        return
    monitoring = Monitoring(data_dir)
    monitoring.start()
    try:
        yield monitoring
    finally:
        monitoring.stop()
