"""The course of a demonstration: start everything, let the population act, show what comes of it, clear away."""

import contextlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from confluent_kafka import Consumer
from rich.console import Console
from rich.live import Live

from clout.broker import LocalBroker
from clout.commands.tables import ConservationTable, output
from clout.commands.tail import changes_consumer
from clout.commands.topics import specification
from clout.commands.wait import check_sums, reader_of, wait_until_processed
from clout.config import Settings
from clout.demo import view
from clout.demo.board import Board
from clout.demo.feed import Feed
from clout.demo.health import Health, HealthReader
from clout.demo.orders import Mailbox
from clout.demo.population import COLLECTORS, DAY_MS, Population, PopulationSettings
from clout.injection import marked
from clout.machine import StopSignals, broker_at_hand, role_specs
from clout.sender import RAW_PRODUCER_OPTIONS
from clout.supervisor import Supervisor, only_one, wait_until_ready
from schemas.change import decode_change
from scorer.model import Model
from streams import clients, topics
from streams.process import FAULTS_VARIABLE
from streams.progress import conservation
from streams.settings import GuardSettings, HttpSettings, KafkaSettings, LaneSettings, NetworkSettings, WorkerSettings

NETWORKS: Final = ("twitter", "mastodon", "bluesky")
DAYS: Final = 14
"""Event time that a demonstration covers, whatever it lasts."""
EVENTS_PER_SECOND: Final = 5_000
EVENTS_MAX: Final = 3_000_000
HEARTBEAT_SECONDS: Final = 5
"""What the guard goes by; collectors send one a second, and a busy machine is granted some delay."""
HEAP_MB: Final = 512
START_SECONDS_MAX: Final = 90.0
SETTLE_SECONDS_MAX: Final = 30.0
LOOK_SECONDS: Final = 0.25
LINE_SECONDS: Final = 1.0
COMPARE_SECONDS: Final = 4.0
BATCH_RECORDS: Final = 20_000
TOP: Final = 10


def demonstrate(own: Settings, seconds: float, seed: int) -> int:
    """Run a demonstration of that many seconds and return the exit code; `own` says where data lives."""
    directory = own.data_dir / "demo"
    broker = LocalBroker(directory / "broker", port=None, heap_mb=HEAP_MB)
    with StopSignals() as stop, only_one(directory):
        _clear(directory, broker)
        console = Console()
        console.print("starting Kafka and the roles", highlight=False)
        with broker_at_hand(KafkaSettings(), broker) as kafka:
            settings = _settings(own, directory, kafka)
            topics.create(kafka, specification(settings))
            supervisor = _supervisor(directory, settings)
            try:
                supervisor.start()
                wait_until_ready(
                    supervisor, timeout_seconds=START_SECONDS_MAX, give_up=lambda: stop.received is not None
                )
                if stop.received is None:
                    with marked(directory / "run", NETWORKS):
                        _Demonstration(settings, supervisor, stop, seconds, seed, console).run()
            finally:
                supervisor.stop()
        _clear(directory, broker)
    return stop.exit_code


def _clear(directory: Path, broker: LocalBroker) -> None:
    """Remove what an earlier demonstration left, except its logs and the lock."""
    broker.down()
    for path in directory.iterdir():
        if path.is_dir() and path.name not in {"run", "logs"}:
            shutil.rmtree(path)


def _settings(own: Settings, directory: Path, kafka: KafkaSettings) -> Settings:
    """Return the demonstration's own settings: nothing of the user's but where data lives."""
    return own.model_copy(
        update={
            "data_dir": directory,
            "kafka": kafka,
            "lanes": LaneSettings(),
            "networks": {name: NetworkSettings(sources=COLLECTORS) for name in NETWORKS},
            "guard": GuardSettings(heartbeat_seconds=HEARTBEAT_SECONDS),
            "model": Model(),
            "http": HttpSettings(),
            # Its people are made up: every change may say who moved it.
            "worker": WorkerSettings(reasons_share=1.0),
        }
    )


def _supervisor(directory: Path, settings: Settings) -> Supervisor:
    """Prepare the roles, with a settings file of their own that other commands can be pointed to as well."""
    file = directory / "clout.toml"
    tables = f"\n[worker]\nreasons_share = {settings.worker.reasons_share}\n"
    tables += f"\n[guard]\nheartbeat_seconds = {settings.guard.heartbeat_seconds}\n"
    tables += "".join(
        f"\n[networks.{name}]\nsources = {json.dumps(of.sources)}\n" for name, of in settings.networks.items()
    )
    file.write_text(
        f'data_dir = "{directory}"\n\n[kafka]\nbroker = "{settings.kafka.broker}"\n{tables}', encoding="utf-8"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CLOUT_")}
    # Its own workers may be harmed by `clout inject`.
    environment[FAULTS_VARIABLE] = "1"
    return Supervisor(
        role_specs([f"--config={file}"], ingests=1, workers=1, environment=environment), settings.data_dir
    )


@dataclass(slots=True)
class _Rates:
    """Events a second between two looks."""

    at_seconds: float
    sent: int = 0
    applied: int = 0
    changes: int = 0

    def since(self, former: "_Rates") -> tuple[float, float, float]:
        seconds = max(1e-3, self.at_seconds - former.at_seconds)
        return (
            (self.sent - former.sent) / seconds,
            (self.applied - former.applied) / seconds,
            (self.changes - former.changes) / seconds,
        )


class _Demonstration:
    def __init__(
        self,
        settings: Settings,
        supervisor: Supervisor,
        stop: StopSignals,
        seconds: float,
        seed: int,
        console: Console,
    ) -> None:
        self._settings, self._supervisor, self._stop = settings, supervisor, stop
        self._seconds, self._seed, self._console = seconds, seed, console
        self._board = Board()
        self._health = HealthReader()

    def run(self) -> None:
        """Play, show, settle and sum up."""
        settings = self._settings
        consumer = changes_consumer(settings, from_beginning=True)
        began = time.monotonic()
        feed = self._feed()
        feed.start()
        try:
            with self._shown() as show:
                self._play(feed, consumer, began, show)
        finally:
            feed.stop()
        if feed.failure is not None:
            raise feed.failure
        self._close(feed, consumer, time.monotonic() - began)
        consumer.close()

    def _feed(self) -> Feed:
        end_ms = int((time.time() + self._seconds) * 1000)
        population = Population(
            PopulationSettings(
                seed=self._seed,
                networks=tuple(self._settings.networks),
                start_ms=end_ms - DAYS * DAY_MS,
                end_ms=end_ms,
                events=min(EVENTS_MAX, int(EVENTS_PER_SECOND * self._seconds)),
            )
        )
        producer = clients.producer(self._settings.kafka, RAW_PRODUCER_OPTIONS)
        mailbox = Mailbox(self._settings.data_dir / "run")
        factor = DAYS * DAY_MS / 1000 / self._seconds
        return Feed(population, producer, self._settings.names, factor=factor, mailbox=mailbox)

    def _play(self, feed: Feed, consumer: Consumer, began: float, show: "_Show") -> None:
        """Look after everything until the time is over."""
        former = newest = _Rates(began)
        looked_at = compared_at = 0.0
        health = self._health.read(self._supervisor.states())
        while (
            (now := time.monotonic()) - began < self._seconds and self._stop.received is None and feed.failure is None
        ):
            self._supervisor.tick()
            self._take(consumer, LOOK_SECONDS / 2)
            if now - looked_at < show.every_seconds:
                continue
            looked_at = now
            health = self._health.read(self._supervisor.states())
            if now - newest.at_seconds >= LINE_SECONDS:
                former, newest = newest, _Rates(now, feed.sent_events, health.applied, self._board.changes)
            show(self._moment(feed, health, now - began, newest.since(former)), self._board)
            if now - compared_at >= COMPARE_SECONDS:
                compared_at = now
                self._board.remember()

    def _take(self, consumer: Consumer, timeout_seconds: float) -> None:
        messages = consumer.consume(BATCH_RECORDS, timeout_seconds)
        values = (message.value() for message in messages if message.error() is None)
        self._board.take(decode_change(value) for value in values if value is not None)

    def _moment(self, feed: Feed, health: Health, elapsed: float, rates: tuple[float, float, float]) -> view.Moment:
        return view.Moment(
            elapsed_seconds=elapsed,
            lasts_seconds=self._seconds,
            time_ms=feed.time_ms,
            sent=feed.sent_events,
            sent_per_second=rates[0],
            applied_per_second=rates[1],
            changes_per_second=rates[2],
            partitions=self._settings.lanes.partitions,
            health=health,
        )

    @contextlib.contextmanager
    def _shown(self) -> Iterator["_Show"]:
        networks = tuple(self._settings.networks)
        if not self._console.is_terminal:
            yield _Lines(self._console)
            return
        with Live(console=self._console, screen=True, auto_refresh=False) as live:
            yield _Screen(live, networks)

    def _close(self, feed: Feed, consumer: Consumer, seconds: float) -> None:
        """Let everything settle, then say what happened."""
        console = self._console
        if self._stop.received is None:
            reading = wait_until_processed(reader_of(self._settings), SETTLE_SECONDS_MAX, lambda _line: None)
            for _ in range(3):
                self._take(consumer, LOOK_SECONDS)
            sums = conservation(reading)
        console.print()
        console.print(view.TopTable(self._board.top(TOP), tuple(self._settings.networks)))
        console.print()
        for reason in list(self._board.recent)[:5]:
            console.print(view.sentence(reason), highlight=False)
        console.print(
            f"\n{feed.sent_events:,} events in {seconds:.0f} s moved {self._board.users:,} scores"
            f" {self._board.changes:,} times\n",
            highlight=False,
        )
        if self._stop.received is None:
            output().print(ConservationTable(sums))
            check_sums(sums)


class _Show:
    """Shows a moment, as often as `every_seconds`."""

    every_seconds: float

    def __call__(self, moment: view.Moment, board: Board) -> None:
        raise NotImplementedError


class _Screen(_Show):
    every_seconds = LOOK_SECONDS

    def __init__(self, live: Live, networks: Sequence[str]) -> None:
        self._live, self._networks = live, networks

    def __call__(self, moment: view.Moment, board: Board) -> None:
        width, height = self._live.console.size
        self._live.update(view.screen(moment, board, self._networks, width, height), refresh=True)


class _Lines(_Show):
    every_seconds = LINE_SECONDS

    def __init__(self, console: Console) -> None:
        self._console = console

    def __call__(self, moment: view.Moment, board: Board) -> None:
        self._console.print(view.one_line(moment, board), highlight=False, soft_wrap=True)
