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

import httpx
from confluent_kafka import Consumer
from rich.console import Console
from rich.live import Live

from clout.broker import LocalBroker
from clout.commands.tables import ConservationTable
from clout.commands.tail import changes_consumer
from clout.commands.topics import specification
from clout.commands.wait import check_sums, reader_of, wait_until_processed
from clout.config import Settings
from clout.demo import DIRECTORY, view
from clout.demo.board import Board
from clout.demo.feed import Feed
from clout.demo.health import Health, HealthReader
from clout.demo.orders import Mailbox
from clout.demo.population import COLLECTORS, DAY_MS, Population, PopulationSettings
from clout.demo.stage import Stage
from clout.demo.stories import STORIES
from clout.injection import end_where_standing, marked
from clout.machine import StopSignals, broker_at_hand, gateway_ports, role_specs
from clout.monitoring import Monitoring, check_wanted, monitored
from clout.ports import free_ports
from clout.sender import RAW_PRODUCER_OPTIONS
from clout.supervisor import Supervisor, only_one, wait_until_ready
from clout.terminal import literal_console, output
from schemas.access import SCOPES
from schemas.change import decode_change
from scorer.model import Model
from streams import clients, topics
from streams.errors import CloutError
from streams.process import FAULTS_VARIABLE
from streams.progress import Reading, conservation
from streams.settings import (
    GatewaySettings,
    GuardSettings,
    HttpSettings,
    KafkaSettings,
    LaneSettings,
    NetworkSettings,
    WorkerSettings,
)

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
STORY_LINE_SECONDS: Final = 3.0
"""Between the lines of a story there are fewer others."""
COMPARE_SECONDS: Final = 4.0
BATCH_RECORDS: Final = 20_000
TOP: Final = 10
_THE_END: Final = object()


def demonstrate(
    own: Settings, seconds: float, seed: int, story: str | None = None, *, monitoring: bool = False, gateways: int = 1
) -> int:
    """Run a demonstration of that many seconds and return the exit code; `own` says where data lives.

    A story, one of `clout.demo.stories.STORIES`, is told while it runs; it ends with the story, and the exit code is 1
    if that did not go as told.
    """
    if monitoring:
        check_wanted()
    directory = own.data_dir / DIRECTORY
    broker = LocalBroker(directory / "broker", port=None, heap_mb=HEAP_MB, short_lived=True)
    as_told = True
    with StopSignals() as stop, only_one(directory):
        _clear(directory, broker)
        console = literal_console()
        console.print("starting Kafka and the roles")
        with (
            broker_at_hand(KafkaSettings(), broker) as kafka,
            monitored(directory, wanted=monitoring) as watchers,
        ):
            if watchers is not None:
                told = f"Prometheus is at {watchers.prometheus}, Alertmanager at {watchers.alertmanager}"
                console.print(told, highlight=True)
            settings = _settings(own, directory, kafka)
            topics.create(kafka, specification(settings))
            supervisor = _supervisor(directory, settings, gateways)
            try:
                supervisor.start()
                wait_until_ready(
                    supervisor, timeout_seconds=START_SECONDS_MAX, give_up=lambda: stop.received is not None
                )
                if stop.received is None:
                    _say_where(console, directory, supervisor)
                    with marked(directory / "run", NETWORKS):
                        as_told = _Demonstration(
                            settings, supervisor, stop, seconds, seed, console, story, watchers
                        ).run()
            finally:
                supervisor.stop()
        _clear(directory, broker)
    return stop.exit_code or (0 if as_told else 1)


def _say_where(console: Console, directory: Path, supervisor: Supervisor) -> None:
    """Say how to ask about what goes on."""
    for state in supervisor.states():
        if state.public_address:
            told = f"\n  Live scores in a browser: http://{state.public_address}/\n"
            console.print(told, style="bold", highlight=True, soft_wrap=True)
    guards = [state.address for state in supervisor.states() if state.role == "guard" and state.address]
    for address in guards:
        console.print(f"Status page: http://{address}/status", highlight=True, soft_wrap=True)
    console.print(f"From another terminal, while this runs: clout --data-dir {directory} incident list", soft_wrap=True)


def _clear(directory: Path, broker: LocalBroker) -> None:
    """Remove what an earlier demonstration left, except its logs and the lock."""
    broker.down()
    for path in directory.iterdir():
        if path.is_dir() and path.name not in {"run", "logs"}:
            shutil.rmtree(path)


def _settings(own: Settings, directory: Path, kafka: KafkaSettings) -> Settings:
    """Return the demonstration's own settings: of the user's only where data lives and whom to tell."""
    return own.model_copy(
        update={
            "data_dir": directory,
            "kafka": kafka,
            "lanes": LaneSettings(),
            "networks": {name: NetworkSettings(sources=COLLECTORS) for name in NETWORKS},
            "guard": GuardSettings(heartbeat_seconds=HEARTBEAT_SECONDS, webhooks=own.guard.webhooks),
            "model": Model(),
            "http": HttpSettings(),
            # On this machine alone, so nobody needs a key: `clout serve` refuses that anywhere else.
            "gateway": GatewaySettings(port=own.gateway.port, anonymous_scopes=SCOPES),
            # Its people are made up: every change may say who moved it.
            "worker": WorkerSettings(reasons_share=1.0),
        }
    )


def _supervisor(directory: Path, settings: Settings, gateways: int) -> Supervisor:
    """Prepare the roles, with a settings file of their own that other commands can be pointed to as well."""
    file = directory / "clout.toml"
    tables = f"\n[worker]\nreasons_share = {settings.worker.reasons_share}\n"
    tables += f"\n[guard]\nheartbeat_seconds = {settings.guard.heartbeat_seconds}\n"
    tables += f"\n[gateway]\nanonymous_scopes = {json.dumps(settings.gateway.anonymous_scopes)}\n"
    tables += "".join(
        f"\n[networks.{name}]\nsources = {json.dumps(of.sources)}\n" for name, of in settings.networks.items()
    )
    tables += "".join(
        f"\n[guard.webhooks.{name}]\nurl = {json.dumps(of.url)}\nsecret = {json.dumps(of.secret)}\n"
        for name, of in settings.guard.webhooks.items()
    )
    file.touch(mode=0o600)  # It holds the partners' secrets.
    file.chmod(0o600)
    file.write_text(
        f'data_dir = "{directory}"\n\n[kafka]\nbroker = "{settings.kafka.broker}"\n{tables}', encoding="utf-8"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CLOUT_")}
    # Its own workers may be harmed by `clout inject`.
    environment[FAULTS_VARIABLE] = "1"
    ports = gateway_ports(settings.gateway, gateways, or_free=True)
    guards = free_ports(settings.http.host, 1)
    roles = role_specs(
        [f"--config={file}"], ingests=1, workers=1, guards=guards, gateways=ports, environment=environment
    )
    return Supervisor(roles, settings.data_dir)


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
        story: str | None,
        watchers: Monitoring | None,
    ) -> None:
        self._watchers = watchers
        self._settings, self._supervisor, self._stop = settings, supervisor, stop
        self._seconds, self._seed, self._console = seconds, seed, console
        self._board = Board()
        self._health = HealthReader(settings.lanes.partitions)
        self._stage = Stage(settings, console) if story is not None else None
        self._story = STORIES[story](self._stage, self._board) if self._stage and story else None

    def run(self) -> bool:
        """Play, show, settle and sum up; return whether a story that was told went as told."""
        settings = self._settings
        consumer = changes_consumer(settings, from_beginning=True)
        began = time.monotonic()
        feed = self._feed()
        feed.start()
        try:
            with self._shown() as show:
                self._play(feed, consumer, began, show)
            feed.finish()
            seconds = time.monotonic() - began
            if self._stop.received is None and feed.failure is None:
                self._settle()
        finally:
            feed.stop()
        if feed.failure is not None:
            raise feed.failure
        self._close(feed, consumer, seconds)
        consumer.close()
        return self._stage is None or self._stop.received is not None or self._end_of_story(self._stage)

    def _end_of_story(self, stage: Stage) -> bool:
        chains = stage.chain
        stage.check(
            "chains", f"{chains.changes:,} changes, broken chains: {len(chains.broken)}", holds=not chains.broken
        )
        stage.close()
        if stage.failures:
            self._console.print("\nIt did not go as told.", style="bold red")
        else:
            told = "\nIt went as told: nobody saw anything wrong, and everything adds up."
            self._console.print(told, style="bold green")
        return not stage.failures

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
        while self._goes_on((now := time.monotonic()) - began) and self._stop.received is None and feed.failure is None:
            self._supervisor.tick()
            if self._watchers is not None:
                self._watchers.tick(self._supervisor.states())
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

    def _goes_on(self, elapsed_seconds: float) -> bool:
        """Move a story on, and return whether it goes on; without one return whether there is time left."""
        if self._story is None:
            return elapsed_seconds < self._seconds
        return next(self._story, _THE_END) is not _THE_END

    def _take(self, consumer: Consumer, timeout_seconds: float) -> None:
        messages = consumer.consume(BATCH_RECORDS, timeout_seconds)
        values = (message.value() for message in messages if message.error() is None)
        changes = [decode_change(value) for value in values if value is not None]
        self._board.take(changes)
        if self._stage is not None:
            self._stage.take(changes)

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
        if not self._console.is_terminal or self._story is not None:
            yield _Lines(self._console, LINE_SECONDS if self._story is None else STORY_LINE_SECONDS)
            return
        with Live(console=self._console, screen=True, auto_refresh=False) as live:
            yield _Screen(live, networks)

    def _settle(self) -> None:
        """Let all roles work, and what was sent be processed, while collectors live: silence would be a fault."""
        self._console.print("all is sent; waiting until it is processed")
        # A fault may still be in a worker, or it may just have been ended to take it out.
        with contextlib.suppress(httpx.HTTPError, CloutError):
            end_where_standing(self._settings.data_dir / "run")
        wait_until_ready(self._supervisor, timeout_seconds=START_SECONDS_MAX)
        # Heartbeats are still to come; what is wrong is said when none is.
        with contextlib.suppress(CloutError):
            self._processed()

    def _processed(self) -> Reading:
        """Return the reading that shows that all is processed."""
        with contextlib.closing(reader_of(self._settings)) as reader:
            return wait_until_processed(reader, SETTLE_SECONDS_MAX, lambda _line: None)

    def _close(self, feed: Feed, consumer: Consumer, seconds: float) -> None:
        """Say what happened."""
        console = self._console
        if self._stop.received is None:
            sums = conservation(self._processed())
            for _ in range(3):
                self._take(consumer, LOOK_SECONDS)
        console.print()
        console.print(view.TopTable(self._board.top(TOP), tuple(self._settings.networks)))
        console.print()
        for reason in list(self._board.recent)[:5]:
            console.print(view.sentence(reason))
        console.print(
            f"\n{feed.sent_events:,} events in {seconds:.0f} s moved {self._board.users:,} scores"
            f" {self._board.changes:,} times\n"
        )
        health = self._health.read(self._supervisor.states())
        if health.opened or health.frozen:
            console.print(f"incidents opened {len(health.opened)}{view.trouble(health)}\n")
        if self._stop.received is None:
            output().print(ConservationTable(sums))
            output().print("The guard's synthetic accounts are in it, under read, applied and retracting.")
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
    def __init__(self, console: Console, every_seconds: float) -> None:
        self._console, self.every_seconds = console, every_seconds

    def __call__(self, moment: view.Moment, board: Board) -> None:
        self._console.print(view.one_line(moment, board), soft_wrap=True)
