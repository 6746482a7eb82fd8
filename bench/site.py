"""Where a benchmark runs: a Kafka of its own, an installation with names of its own on it, and its roles."""

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from confluent_kafka import Producer

from bench.load import NETWORK, RAW_PARTITIONS, Load
from bench.usage import Usage
from clout.broker import HOST, LocalBroker
from clout.config import Settings, load
from clout.machine import broker_at_hand
from clout.ports import free_port
from clout.sender import RAW_PRODUCER_OPTIONS
from streams import clients, topics
from streams.names import Names
from streams.settings import KafkaSettings

_START_SECONDS_MAX: Final = 60.0
_STOP_SECONDS_MAX: Final = 15.0
_HTTP_SECONDS: Final = 10.0
POLL_SECONDS: Final = 0.1
_READY: Final = "/readyz"
_RUN: Final = "from clout.main import main; main()"
_RUN_PROFILED: Final = """
import cProfile
from clout.main import main
profile = cProfile.Profile()
try:
    profile.runcall(main)
finally:
    profile.dump_stats({file!r})
"""


class RoleEndedError(Exception):
    """A role ended while it was measured."""


class Role:
    """A running role."""

    def __init__(self, name: str, command: list[str], log: Path, port: int) -> None:
        """Start it."""
        self.name, self.log, self.port = name, log, port
        with log.open("wb") as out:
            self.process = subprocess.Popen(  # noqa: S603  our own command line
                command, stdout=out, stderr=out, env={**os.environ, "CLOUT_HTTP__PORT": str(port)}
            )

    def get(self, path: str) -> str:
        """Ask over HTTP; raise `RoleEndedError` when the role has ended."""
        url = f"http://127.0.0.1:{self.port}{path}"
        try:
            with urllib.request.urlopen(url, timeout=_HTTP_SECONDS) as answer:
                return str(answer.read().decode())
        except urllib.error.URLError:
            with suppress(subprocess.TimeoutExpired):
                code = self.process.wait(0.0 if path == _READY else _STOP_SECONDS_MAX)
                raise RoleEndedError(f"{self.name} ended with {code}:\n{self.log.read_text()[-3000:]}") from None
            raise

    def partitions(self) -> list[dict[str, Any]]:
        """Return the partitions of /v1/status."""
        return list(json.loads(self.get("/v1/status"))["partitions"])

    def counted(self, *outcomes: str) -> int:
        """Return how many events have come to one of the outcomes."""
        total = 0
        for partition in self.partitions():
            if reason := partition.get("reason"):
                raise RuntimeError(f"{self.name}: partition {partition['partition']} stands still: {reason}")
            counters = partition.get("counters", {})
            by_network = [counters] if "read" in counters else counters.values()
            total += sum(counts.get(outcome, 0) for counts in by_network for outcome in outcomes)
        return total

    def metric(self, pattern: str) -> dict[str, float]:
        """Return the samples whose name and labels match."""
        samples = (line.rsplit(" ", 1) for line in self.get("/metrics").splitlines() if not line.startswith("#"))
        return {name: float(value) for name, value in samples if re.search(pattern, name)}

    def commits(self) -> int:
        """Return how many transactions it has committed."""
        return int(sum(self.metric("^clout_commit_seconds_count").values()))

    def usage(self) -> Usage:
        """Return what it has used so far."""
        return Usage.of(self.process.pid)

    def wait_until_up(self, seconds: float = _START_SECONDS_MAX) -> None:
        """Return when it answers and is ready."""

        def ready() -> bool:
            try:
                return self.get(_READY) == "ready\n"
            except urllib.error.URLError:
                return False

        until(ready, seconds, f"{self.name} is ready")

    def stop(self) -> None:
        """Stop it as an operator would."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(_STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def until(holds: Callable[[], bool], seconds: float, what: str) -> None:
    """Return when something holds; look ten times a second."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:.0f} s: {what}")
        time.sleep(POLL_SECONDS)


@dataclass(frozen=True, slots=True)
class Installation:
    """One prefix on the broker, with its settings, topics and directory."""

    kafka: KafkaSettings
    directory: Path
    config: Path
    settings: Settings

    @property
    def names(self) -> Names:
        """Return its topic and group names."""
        return self.settings.names

    @contextmanager
    def role(self, role: str, slot: int = 0, profile: str | None = None) -> Iterator[Role]:
        """Run a role and stop it at the end; with `profile`, write cProfile's figures of its main thread there."""
        code = _RUN if profile is None else _RUN_PROFILED.format(file=profile)
        command = [sys.executable, "-c", code, "--config", str(self.config), role, "--slot", str(slot)]
        running = Role(f"{role}-{slot}", command, self.directory / f"{role}-{slot}.log", free_port(HOST))
        try:
            yield running
        finally:
            running.stop()

    @contextmanager
    def gate(self, load: Load) -> Iterator[Callable[[], None]]:
        """Write a load that no role sees yet; what is given opens the gate, and all of it is there at once.

        Roles read committed records only, so an open transaction hides the load. Nothing is read or prefetched
        before the measured stretch begins, and the writing is over when it does.
        """
        producer = clients.producer(
            self.kafka,
            {
                **RAW_PRODUCER_OPTIONS,
                "transactional.id": f"bench-{secrets.token_hex(4)}",
                "transaction.timeout.ms": 900_000,
            },
        )
        producer.init_transactions(30)
        producer.begin_transaction()
        send(producer, self.names.interactions(NETWORK), load)
        producer.flush(120)
        try:
            yield lambda: producer.commit_transaction(30)
        finally:
            with suppress(Exception):  # an aborted case leaves its transaction open
                producer.abort_transaction(5)

    def write(self, load: Load) -> None:
        """Write a load for all to see."""
        with self.gate(load) as open_gate:
            open_gate()

    def ends(self, topic: str) -> dict[int, int]:
        """Return each partition's offset after its last record."""
        from streams.changelog import watermarks  # noqa: PLC0415  brings RocksDB in

        return {p: watermarks(self.kafka, topic, p)[1] for p in range(self.settings.lanes.partitions)}

    def remove(self) -> None:
        """Delete the topics."""
        specs = topics.specification(self.names, self.settings.lanes, dict(self.settings.networks))
        for future in clients.admin(self.kafka).delete_topics([spec.name for spec in specs]).values():
            with suppress(Exception):  # the broker is thrown away anyway
                future.result(30)


def send(producer: Producer, topic: str, load: Load) -> None:
    """Queue a load's records, waiting while the queue is full."""
    produce = producer.produce
    for partition, key, value in load.records():
        while True:
            try:
                produce(topic, value, key, partition)
                break
            except BufferError:
                producer.poll(0.1)


@dataclass(frozen=True, slots=True)
class Site:
    """A directory and a broker that live as long as the benchmark."""

    directory: Path
    kafka: KafkaSettings
    broker_pid: int

    @contextmanager
    def installation(self, name: str) -> Iterator[Installation]:
        """Make topics under a prefix of their own, and take them away at the end."""
        kafka = replace(self.kafka, prefix=f"{name}-")
        directory = self.directory / name
        directory.mkdir()
        config = directory / "clout.toml"
        config.write_text(
            f'data_dir = "{directory}"\n'
            f'[kafka]\nbroker = "{kafka.broker}"\nprefix = "{kafka.prefix}"\n'
            f"[networks.{NETWORK}]\nraw_partitions = {RAW_PARTITIONS}\n"
        )
        settings = load({}, config).settings
        installation = Installation(kafka, directory, config, settings)
        topics.create(kafka, topics.specification(settings.names, settings.lanes, dict(settings.networks)))
        try:
            yield installation
        finally:
            installation.remove()


@contextmanager
def site() -> Iterator[Site]:
    """Start a broker on free ports in a temporary directory; stop it and delete everything at the end."""
    with tempfile.TemporaryDirectory(prefix="clout-bench-") as directory:
        broker = LocalBroker(Path(directory) / "broker", port=None)
        with broker_at_hand(KafkaSettings(), broker) as kafka:
            running = broker.running()
            assert running is not None  # noqa: S101  it was just started
            yield Site(Path(directory), kafka, running.pid)
