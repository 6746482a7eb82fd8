"""A real Apache Kafka on this machine, for those who have no cluster.

It lives in one directory: `server.properties`, `broker.json` (address, process, cluster), `broker.log` and `log/`
(Kafka's data). It listens on the loopback address only and outlives the command that started it.
"""

import base64
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Collection
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from string import Template
from typing import Final

import psutil
from confluent_kafka import KafkaException

from clout import demo
from clout.alone import alone
from clout.ports import free_port, is_taken
from streams.clients import admin
from streams.errors import CloutError
from streams.settings import KafkaSettings

ROOT: Final = Path(__file__).resolve().parents[1]
JARS: Final = ROOT / ".kafka" / "lib"
CLASSES: Final = ROOT / ".kafka" / "classes.jsa"
"""Kafka's classes as Java loaded them once (`clout.broker_classes`): a start takes two thirds of the time with them."""
PROPERTIES: Final = ROOT / "deploy" / "kafka" / "server.properties"
HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 29092
START_SECONDS_MAX: Final = 90.0
STOP_SECONDS_MAX: Final = 30.0
STARTS_MAX: Final = 3
"""Tries to start, each on other ports, when somebody takes one that was free a moment ago."""
JVM_OPTIONS: Final = (
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-Djava.awt.headless=true",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
)
COMPILE_LESS: Final = ("-XX:TieredStopAtLevel=1",)
_PORT_TAKEN: Final = "java.net.BindException"


class _PortTakenError(CloutError):
    """Somebody else listens at a port of the broker's."""


@dataclass(frozen=True, slots=True)
class Running:
    """A broker that was started: its address, process and cluster id."""

    address: str
    controller_port: int
    pid: int
    cluster: str


@dataclass(slots=True)
class LocalBroker:
    """The broker of one directory.

    `port` None takes a free port; a port that is taken is replaced by a free one. The ports of the first start are
    kept as long as they are free.
    """

    directory: Path
    port: int | None = DEFAULT_PORT
    heap_mb: int = 1024
    short_lived: bool = False
    """For minutes, not for days: Java compiles less, which costs more than it brings in so short a time."""
    leaves_classes_in: Path | None = None
    """At its end it writes the classes that it has loaded to this file."""
    _child: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def running(self) -> Running | None:
        """What runs now, or None."""
        record = self._record()
        return record if record is not None and self._process(record) is not None else None

    def up(self) -> Running:
        """Start the broker, unless it runs, and return when it answers."""
        # Two commands do not start the same broker.
        with alone(self.directory / "lock"):
            running = self.running()
            if running is not None:
                return running
            classpath, java = _classpath(), _java()
            for _ in range(STARTS_MAX - 1):
                with contextlib.suppress(_PortTakenError):
                    return self._up(java, classpath)
            return self._up(java, classpath)

    def down(self) -> bool:
        """Stop the broker and return when it is gone; False when none ran."""
        record = self._record()
        process = self._process(record) if record is not None else None
        if process is None:
            return False
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS_MAX)
        except psutil.TimeoutExpired:
            # Kafka recovers its logs at the next start.
            process.kill()
            process.wait()
        self._reap()
        return True

    def _up(self, java: str, classpath: str) -> Running:
        record = self._configure()
        self._format(java, classpath, record.cluster)
        record = replace(record, pid=self._start(java, classpath))
        self._write(record)
        self._wait_until_ready(record)
        return record

    @property
    def log_file(self) -> Path:
        """What the broker prints."""
        return self.directory / "broker.log"

    @property
    def _properties_file(self) -> Path:
        return self.directory / "server.properties"

    @property
    def _record_file(self) -> Path:
        return self.directory / "broker.json"

    def _record(self) -> Running | None:
        try:
            return Running(**json.loads(self._record_file.read_bytes()))
        except FileNotFoundError:
            return None

    def _write(self, record: Running) -> None:
        draft = self._record_file.with_suffix(".draft")
        draft.write_text(json.dumps(asdict(record)), encoding="utf-8")
        draft.replace(self._record_file)

    def _process(self, record: Running) -> psutil.Process | None:
        """The recorded process, if it still is the broker of this directory: pids are used again."""
        try:
            process = psutil.Process(record.pid)
            return process if str(self._properties_file) in process.cmdline() else None
        except psutil.Error:
            return None

    def _configure(self) -> Running:
        """Choose ports, write the properties and return a record without a process."""
        former = self._record()
        preferred = int(former.address.rpartition(":")[2]) if former else self.port
        port = _preferably(preferred)
        controller_port = _preferably(former.controller_port if former else port + 1, [port])
        text = Template(PROPERTIES.read_text(encoding="utf-8")).substitute(
            port=port, controller_port=controller_port, log_dir=self.directory / "log"
        )
        self._properties_file.write_text(text, encoding="utf-8")
        return Running(
            address=f"{HOST}:{port}",
            controller_port=controller_port,
            pid=0,
            cluster=former.cluster if former else _cluster_id(),
        )

    def _format(self, java: str, classpath: str, cluster: str) -> None:
        if (self.directory / "log" / "meta.properties").exists():
            return
        command = [java, *COMPILE_LESS, *_loaded_before(), "-cp", classpath, "kafka.tools.StorageTool"]
        command += ["format", "--standalone", "-t", cluster, "-c", str(self._properties_file)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - made of our own parts
        if done.returncode:
            raise CloutError(
                f"the local broker's storage in {self.directory} could not be formatted",
                detail=(done.stdout + done.stderr).strip()[-2000:],
                hint="look at the directory's permissions and free space",
            )

    def _start(self, java: str, classpath: str) -> int:
        command = [java, f"-Xmx{self.heap_mb}m", *JVM_OPTIONS, *(COMPILE_LESS if self.short_lived else ())]
        leaves = self.leaves_classes_in
        command += _loaded_before() if leaves is None else [f"-XX:ArchiveClassesAtExit={leaves}"]
        command += ["-cp", classpath, "kafka.Kafka", str(self._properties_file)]
        with self.log_file.open("wb") as log:
            self._child = subprocess.Popen(  # noqa: S603 - made of our own parts
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.directory, start_new_session=True
            )
        return self._child.pid

    def _wait_until_ready(self, record: Running) -> None:
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline:
            # Its own word: a process that was only just started has no command line yet.
            if self._child is not None and self._child.poll() is not None:
                self._reap()
                said = self._log_tail()
                error = _PortTakenError if _PORT_TAKEN in said else CloutError
                raise error(
                    "the local broker ended while it started",
                    detail=said,
                    hint=f"its whole output is in {self.log_file}",
                )
            if _answers(record):
                return
            time.sleep(0.1)
        self.down()
        raise CloutError(
            f"the local broker did not answer at {record.address} within {START_SECONDS_MAX:.0f} seconds",
            detail=self._log_tail(),
            hint=f"its whole output is in {self.log_file}",
        )

    def _reap(self) -> None:
        """Take note of the end of a process of our own."""
        if self._child is not None:
            self._child.wait(STOP_SECONDS_MAX)
            self._child = None

    def _log_tail(self) -> str:
        return self.log_file.read_text(encoding="utf-8", errors="replace").strip()[-2000:]


def connect(kafka: KafkaSettings, data_dir: Path) -> KafkaSettings:
    """The settings with an address: the one given, or the local broker's."""
    if kafka.broker:
        return kafka
    running = local(data_dir).running()
    if running is None:
        hint = f"run `clout broker up`, or give --broker HOST:PORT{_or_a_demonstration(data_dir)}"
        raise CloutError(
            "no Kafka to connect to",
            detail=f"no broker address is set and no local broker runs in {data_dir}",
            hint=hint,
        )
    return replace(kafka, broker=running.address)


def _or_a_demonstration(data_dir: Path) -> str:
    if data_dir.name == demo.DIRECTORY:
        return "; a demonstration can be asked while it runs, and leaves nothing but its logs"
    return f"; of a demonstration that runs ask with --data-dir {data_dir / demo.DIRECTORY}"


def local(data_dir: Path) -> LocalBroker:
    """The broker of an installation's data directory."""
    return LocalBroker(data_dir / "broker")


def _answers(record: Running) -> bool:
    port = int(record.address.rpartition(":")[2])
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    try:
        cluster = admin(KafkaSettings(broker=record.address)).list_topics(timeout=2).cluster_id
    except KafkaException:
        return False
    return bool(cluster == record.cluster)


def _classpath() -> str:
    if not any(JARS.glob("kafka_*.jar")):
        raise CloutError("Apache Kafka's jars are missing", detail=f"looked in {JARS}", hint="run `make setup`")
    return str(JARS / "*")


def _loaded_before() -> list[str]:
    # Another Java than the one that wrote them does without them, and says so in the log.
    return [f"-XX:SharedArchiveFile={CLASSES}"] if CLASSES.exists() else []


def _java() -> str:
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=str(Path(home) / "bin") if home else None)
    if java is None:
        raise CloutError(
            "Java was not found",
            detail=f"looked in JAVA_HOME, {home}" if home else "looked on the path",
            hint="run `make setup`, or install Java 17 or later",
        )
    return java


def _cluster_id() -> str:
    """A random id in Kafka's form: 22 characters of URL-safe base64, not beginning with a dash."""
    while True:
        name = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not name.startswith("-"):
            return name


def _preferably(port: int | None, taken: Collection[int] = ()) -> int:
    return port if port and port not in taken and not is_taken(HOST, port) else free_port(HOST, taken)
