"""The guard role: one process watches, others stand by.

Each topic that it reads has one partition, and Faust gives partition 0 of all of them to one process of the group. It
reads on where the stored state of the detectors is, judges nothing before it has read all that there was when it
began, and from then on looks once a second, and whenever something comes.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import msgspec
from aiokafka.errors import IllegalStateError
from confluent_kafka import KafkaException
from faust.exceptions import ConsumerNotStarted
from faust.types import TP
from starlette.routing import Route

from schemas.change import decode_change
from schemas.control import CommandRecord, decode_record
from schemas.feed_report import decode_feed_report
from schemas.incident import Incident, decode_incident, encode_incident
from schemas.population import Population, decode_population
from streams import orders, topics
from streams.control_secrets import ControlSecrets
from streams.discovery import client_id
from streams.errors import CloutError
from streams.guard.book import GUARDS_COMMAND, Book, Freeze, open_of
from streams.guard.detector import Detector, Verdict
from streams.guard.faust_app import RAW, make_app, make_table
from streams.guard.metrics import GuardMetrics
from streams.guard.observations import CanarySeen, FeedSeen, IncidentSeen, Observation, PopulationSeen
from streams.guard.status_summary import Standing
from streams.guard.watch import Watch
from streams.guard.writer import IncidentWriter, ends_of
from streams.http import RoleServer
from streams.names import Names
from streams.settings import GuardSettings, HttpSettings, KafkaSettings, LaneSettings, NetworkSettings
from streams.transport import App, Process

LOOK_SECONDS: Final = 1.0
STORE_SECONDS: Final = 5.0
"""Shortest time between two times that the detectors' states are stored."""
REOPEN_SECONDS: Final = 5.0
"""After a write failed: a guard that others took for dead has heard so by then, and does not write."""
SEND_SECONDS: Final = 2.0
"""What is to be sent waits so long for a record with which states can be stored first; where feeds are quiet, none
comes."""
ORDER_AGAIN_SECONDS: Final = 30.0
"""After an order could not be given."""
_NOT_ASSIGNED: Final = (AssertionError, ConsumerNotStarted, IllegalStateError)

_log: Final = logging.getLogger(__name__)


@dataclass(slots=True)
class Beside:
    """What others do beside a guard while it watches. Nothing here may wait, but for `on_end`."""

    on_begin: list[Callable[[Sequence[Incident]], None]] = field(default_factory=list)
    """Called when it begins to judge, with the incidents that are open or were until lately."""
    on_incident: list[Callable[[Incident], None]] = field(default_factory=list)
    """Called with each record of an incident that anybody writes from then on."""
    on_end: list[Callable[[], None]] = field(default_factory=list)
    """Called when it watches no longer, in a thread, and when the process ends."""
    touched: list[Callable[[str], tuple[int, Sequence[str]] | None]] = field(default_factory=list)
    """Asked whom an open incident touches: how many, and who, as far as a record names them; None: not known."""
    send: list[Callable[[Sequence[Any]], None]] = field(default_factory=list)
    """Called with what detectors say that is due (`streams.guard.watch.Acting`), once their states are stored."""
    routes: list[Route] = field(default_factory=list)
    """More that the HTTP server answers."""


class Guard:
    """One guard process."""

    def __init__(
        self,
        *,
        kafka: KafkaSettings,
        lanes: LaneSettings,
        networks: Mapping[str, NetworkSettings],
        model: str,
        settings: GuardSettings,
        secrets: ControlSecrets,
        http: HttpSettings,
        data_dir: Path,
        slot: int,
        version: str,
        detectors: Callable[[], Sequence[Detector]],
    ) -> None:
        """Check the topics and put everything together; `run` starts it. `detectors` makes them as they begin."""
        self._kafka, self._names, self._settings, self._secrets = kafka, Names(kafka.prefix, model), settings, secrets
        topics.require(kafka, topics.specification(self._names, lanes, dict(networks)))
        self._model, self._version, self._make_detectors = model, version, detectors
        self._networks, self._lane_partitions = networks, lanes.partitions
        self._server = RoleServer(http, "guard")
        self.metrics = GuardMetrics(networks, settings.webhooks)
        self.beside = Beside()
        self._writer = IncidentWriter(kafka, self._names)
        self._read = self._readers()
        self._has_joined = self._is_restored = False
        self.revocations = 0
        self._watch: Watch | None = None
        self._begin(None)
        directory = data_dir / "state" / self._names.guard_id / f"guard-{slot}"
        directory.mkdir(parents=True, exist_ok=True)
        self._app = self._make_app(directory)

    def _readers(self) -> dict[str, tuple[str, Callable[[bytes, int], Observation | CommandRecord]]]:
        names = self._names
        return {
            names.population: ("population", lambda value, now_ms: PopulationSeen(decode_population(value), now_ms)),
            names.feeds: ("feeds", lambda value, now_ms: FeedSeen(decode_feed_report(value), now_ms)),
            names.incidents: ("incidents", lambda value, now_ms: IncidentSeen(decode_incident(value), now_ms)),
            names.canaries: ("canaries", lambda value, now_ms: CanarySeen(decode_change(value), now_ms)),
            names.control_record: ("control", lambda value, _now_ms: decode_record(value)),
        }

    def _make_app(self, directory: Path) -> App:
        app = make_app(
            self._kafka,
            self._names,
            client_id=client_id("guard", self._server.address),
            directory=directory,
            session_seconds=float(self._settings.session_timeout_seconds),
            positions=lambda: self,
        )
        self._states = make_table(app, "states", self._names.guard_states)
        self._incidents = make_table(app, "incidents", self._names.guard_incidents)
        for topic, (name, _) in self._read.items():
            app.agent(app.topic(topic, **RAW), name=f"clout.guard.{name}", concurrency=1)(self._feed)
        app.on_partitions_revoked.connect(cast("Any", self._revoked), weak=False)
        app.on_partitions_assigned.connect(cast("Any", self._assigned), weak=False)
        self._states.on_recover(self._restored)
        app.task(self._look_forever)
        return app

    def run(self) -> None:
        """Work until told to stop."""
        # Faust names the loggers of its services after the module that subclasses them.
        for module in (App.__module__, make_app.__module__):
            logging.getLogger(module).setLevel(logging.getLogger("faust").level)
        self._server.start(self.metrics.registry, self.status, self.missing, self.beside.routes)
        try:
            Process(self._app).execute_from_commandline()
        finally:
            self._end()
            self._server.stop()

    def standing(self) -> Standing | None:
        """Return the open incidents, the one opened last first, and what is frozen, at the last look.

        None where this guard does not know: it stands by, or reads what was there when it began. Any thread may ask.
        """
        return self._standing if self._watch is not None and self._is_level else None

    # What the consumer asks.

    def is_ready(self, tp: TP) -> bool:  # noqa: ARG002 - of the protocol
        """Return that all partitions may flow: Faust holds them back until its tables are there."""
        return True

    def next_offsets(self, assignment: Iterable[TP]) -> Mapping[TP, int]:
        """Take over, when this process is the one that watches, and return where to read on."""
        if not self._is_restored or TP(self._names.population, 0) not in set(assignment):
            return {}
        if self._watch is None:
            self._take_over()
        seen = self._watch.positions() if self._watch is not None else {}
        return {TP(topic, 0): seen.get(topic, -1) + 1 for topic in self._read}

    def _take_over(self) -> None:
        watch = Watch(self._make_detectors(), Book(self._model, freeze=self._settings.freeze))
        incidents = [decode_incident(value) for value in self._incidents.values()]
        watch.restore({name.decode(): row for name, row in self._states.items()}, incidents)
        self._ends = ends_of(self._kafka, self._names, self._read)
        self._writer.open()
        self._begin(watch)
        _log.info("this guard watches")

    def opened(self, partitions: Iterable[int], generation: int) -> None:
        """Hear that the consumer stands there."""
        self._generation = generation if set(partitions) else -1

    def is_open(self, generation: int) -> bool:
        """Return whether this guard watches and the consumer stands where it wants to read on."""
        return self._watch is not None and self._generation == generation

    async def _assigned(self, _app: Any, _assigned: set[TP], **_: Any) -> None:
        self._has_joined = True

    async def _revoked(self, _app: Any, _revoked: set[TP], **_: Any) -> None:
        self.revocations += 1
        self._is_restored = False
        self._writer.close()
        if self._is_level:
            # It may take seconds, for which nobody's assignment is to wait.
            asyncio.get_running_loop().run_in_executor(None, self._end)
        self._begin(None)

    def _end(self) -> None:
        for end in self.beside.on_end:
            end()

    async def _restored(self) -> None:
        # Faust seeks at other times too, when the tables are not there yet.
        self._is_restored = True

    def _begin(self, watch: Watch | None) -> None:
        """Watch, or stand by, knowing nothing of what was seen before."""
        self._watch = watch
        self._generation = -1
        self._is_read = self._is_level = False
        self._populations: dict[int, Population] = {}
        self._stored_at = time.monotonic()
        self._write_at = 0.0
        self._order_at = 0.0
        self._send_at = 0.0
        self._standing = Standing([], {})
        self._to_send: list[Any] = []
        if watch is None:
            self.metrics.stand_by()
        else:
            now_ms = _now_ms()
            self.metrics.watch(now_ms)
            self.metrics.show_feeds(watch.ages_seconds(now_ms))

    # What comes in.

    async def _feed(self, stream: Any) -> None:
        """See what comes, one record after the other; tables can be changed here alone."""
        async for event in stream.events():
            message, watch = event.message, self._watch
            if watch is None or message.generation_id != self._generation:
                continue  # Left from before; it is read again at its turn.
            now_ms = _now_ms()
            observation = self._decoded(message.topic, message.value, now_ms)
            said = watch.see(message.topic, message.offset, observation, now_ms)
            self._count(message, observation, said)
            if self._is_level and (said or isinstance(observation, IncidentSeen | CommandRecord)):
                await self._act(watch, now_ms)
            if isinstance(observation, IncidentSeen):
                self._keep(observation.incident)
                if self._is_level:
                    self._tell(observation.incident)
            if self._watch is watch and (self._to_send or time.monotonic() >= self._stored_at + STORE_SECONDS):
                self._store(watch)

    def _decoded(self, topic: str, value: bytes | None, now_ms: int) -> Observation | CommandRecord | None:
        if value is None:
            return None
        try:
            return self._read[topic][1](value, now_ms)
        except msgspec.DecodeError as error:
            _log.warning("a record of %s cannot be read: %s", topic, error)
            return None

    def _count(
        self, message: Any, observation: Observation | CommandRecord | None, said: Iterable[tuple[str, Verdict]]
    ) -> None:
        if observation is not None:
            self.metrics.observations.labels(self._read[message.topic][0]).inc()
        if isinstance(observation, PopulationSeen):
            self._populations[observation.population.partition] = observation.population
        self.metrics.count_wrong_canaries(said)

    def _keep(self, incident: Incident) -> None:
        """Bring the table of incidents up to what the book has in mind."""
        self._incidents[incident.id.encode()] = encode_incident(incident)

    def _store(self, watch: Watch) -> None:
        """Store what the detectors have learned, and drop what the book has forgotten."""
        self._stored_at = time.monotonic()
        for name, row in watch.rows().items():
            self._states[name.encode()] = row
        known = {incident.id.encode() for incident in watch.book.incidents()}
        for identity in [identity for identity in self._incidents if identity not in known]:
            del self._incidents[identity]
        self._send()

    def _send(self) -> None:
        due, self._to_send = self._to_send, []
        if due:
            for send in self.beside.send:
                send(due)

    def _tell(self, incident: Incident) -> None:
        for told in self.beside.on_incident:
            told(incident)

    # What comes of it.

    async def _look_forever(self) -> None:
        while not self._app.should_stop:
            watch = self._watch
            if watch is not None and self._generation >= 0:
                await self._look(watch)
            await self._app.sleep(LOOK_SECONDS)

    async def _look(self, watch: Watch) -> None:
        if not self._is_level:
            # Records that were read may wait in the agents until the look after.
            self._is_read, was_read = await self._has_read_all(), self._is_read
            self._is_level = self._is_read and was_read
            if self._is_level:
                for begin in self.beside.on_begin:
                    begin(watch.book.incidents())
            return
        now_ms = _now_ms()
        self.metrics.count_wrong_canaries(watch.tell_time(now_ms))
        due = watch.due(now_ms)
        if due and not self._to_send:
            self._send_at = time.monotonic() + SEND_SECONDS
        self._to_send += due
        if self._to_send and time.monotonic() >= self._send_at:
            self._send()
        self._touch(watch)
        await self._act(watch, now_ms)
        self._standing = Standing(open_of(watch.book.incidents()), watch.book.frozen(), self._lane_partitions)
        self.metrics.look(now_ms)
        self.metrics.show_firing(watch.book.firing())
        self.metrics.show_incidents(self._standing.incidents)
        self.metrics.show_population(self._populations)
        self.metrics.show_feeds(watch.ages_seconds(now_ms))

    def _touch(self, watch: Watch) -> None:
        for incident in open_of(watch.book.incidents()):
            for touched in self.beside.touched:
                if (found := touched(incident.id)) is not None:
                    watch.book.touch(incident.id, *found)

    async def _has_read_all(self) -> bool:
        with suppress(*_NOT_ASSIGNED):
            positions = {topic: await self._app.consumer.position(TP(topic, 0)) or 0 for topic in self._ends}
            return all(positions[topic] >= end for topic, end in self._ends.items())
        return False

    async def _act(self, watch: Watch, now_ms: int) -> None:
        """Open, update and resolve incidents, and freeze what is to be frozen."""
        watch.book.look(now_ms)
        for freeze in watch.book.to_freeze(now_ms):
            await self._order(watch, freeze)
        due = watch.book.due(now_ms)
        if not due or watch is not self._watch or time.monotonic() < self._write_at:
            return
        try:
            self._writer.write(due)
        except KafkaException as error:
            _log.error("incidents could not be written, it is tried again: %s", error.args[0].str())
            self._write_at = time.monotonic() + REOPEN_SECONDS
            return
        for incident in due:
            watch.book.wrote(incident, now_ms)
            _log.warning("incident %s: %s, %s: %s", incident.id, incident.severity, incident.status, incident.title)

    async def _order(self, watch: Watch, freeze: Freeze) -> None:
        """Freeze a network; noted first, so that nobody orders it again meanwhile."""
        if time.monotonic() < self._order_at:
            return
        watch.book.froze(freeze)
        about = {"network": freeze.network, "incident": freeze.incident}
        try:
            command = orders.new_command(
                self._secrets, "freeze", freeze.reason, _now_ms(), id_prefix=GUARDS_COMMAND, **about
            )
            await asyncio.to_thread(orders.send, self._kafka, self._names, command)
        except CloutError as error:
            watch.book.froze_not(freeze.incident, freeze.network)
            self._order_at = time.monotonic() + ORDER_AGAIN_SECONDS
            _log.error("network %s could not be frozen, it is tried again: %s", freeze.network, error)
            return
        self.metrics.freezes.labels(freeze.network).inc()
        _log.warning("network %s is frozen because of incident %s", freeze.network, freeze.incident)

    # What it says of itself.

    def missing(self) -> str | None:
        """Return what keeps this guard from being ready; one that stands by is."""
        return None if self._has_joined else "no place in the group of guards yet"

    def status(self) -> dict[str, Any]:
        """Return the answer of /v1/status."""
        watch = self._watch
        firing = watch.book.firing() if watch is not None else []
        return {
            "role": "guard",
            "pid": os.getpid(),
            "address": self._server.address,
            "version": self._version,
            "active": watch is not None,
            "reading": watch is not None and not self._is_level,
            "detectors": {
                name: [msgspec.to_builtins(of.slice) for of in firing if of.detector == name]
                for name in (watch.detectors if watch is not None else ())
            },
            "incidents": [
                {name: getattr(of, name) for name in ("id", "severity", "status", "title", "opened")}
                for of in self._standing.incidents
            ],
            "positions": watch.positions() if watch is not None else {},
        }


def _now_ms() -> int:
    return int(time.time() * 1000)
