"""Every fault that can be injected, on a real installation: who noticed it, how soon, and what was published.

`python -m tests.drills.faults` prints a row a fault and network. Everything is real: broker, roles, guard, a partner's
webhook, Prometheus with our rules, and Alertmanager.
"""

import argparse
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from clout.audit.chains import Chains
from clout.audit.changes import Raw
from clout.audit.findings import Findings
from clout.broker import LocalBroker
from clout.config import Settings
from clout.demo.faults import FEED_FAULTS
from clout.demo.feed import Feed
from clout.demo.orders import Mailbox
from clout.demo.population import COLLECTORS, DAY_MS, Event, Interactions, Population, PopulationSettings, encoded
from clout.injection import WORKER_FAULTS, FeedOrder, WorkerFault, marked
from clout.leash import leash
from clout.monitoring import Monitoring
from clout.sender import RAW_PRODUCER_OPTIONS
from clout.whole_topic import extents
from schemas.interaction import Interaction
from scorer.reference import Event as Told
from scorer.reference import sums_of
from streams import clients
from streams.process import FAULTS_VARIABLE
from streams.settings import (
    GuardSettings,
    IngestSettings,
    KafkaSettings,
    LaneSettings,
    NetworkSettings,
    WebhookSettings,
    WorkerSettings,
)
from tests.checks import broken_chains, committed_records, wrong_sums
from tests.drills.expectation import FLAT
from tests.drills.observers import Alerts, Incidents, Webhook
from tests.roles import CLOUT, Installation, Role, eventually, start_together

NETWORKS: Final = ("twitter", "mastodon")
DAYS: Final = 6
PLAY_SECONDS: Final = 270.0
"""Wall time in which the days would pass; a run ends before."""
EVENTS: Final = 180_000
PEOPLE: Final = 1_500
HISTORY_DAYS: Final = 15
"""What a feed usually brings is learned in two weeks; they pass as fast as the machine can."""
HISTORY_EVENTS: Final = HISTORY_DAYS * 288 * 1_000
"""A thousand in five minutes."""
HISTORY_PEOPLE: Final = 20_000
HISTORY_SECONDS_MAX: Final = 300.0
FAST: Final = 1e9
SLOW: Final = 60.0
"""So many times as fast as life the fault goes on after them: half an hour in 30 seconds."""
SLOW_MS: Final = DAY_MS // 4
APPLIED_SHARE: Final = 0.98
"""A few people act on themselves, which counts for nobody."""
SETTLED_SECONDS: Final = 5.0
ALERTS_OF_HASTE: Final = ("CloutChangesSlow",)
"""They are about how fast the weeks went by, and may come after them."""
PARTIAL_SECONDS: Final = 45.0
APPLIED_MIN: Final = 2_000
FAULT_SECONDS: Final = 15.0
HEARTBEAT_SECONDS: Final = 10
STALL_SECONDS: Final = 2.5 * HEARTBEAT_SECONDS
"""A guard calls a feed stalled before two heartbeats are missed."""
SECONDS: Final = {"partial": PARTIAL_SECONDS, "stall": STALL_SECONDS, "dead-collector": STALL_SECONDS}
"""How long faults last that take longer to be noticed than others."""
INGEST: Final = IngestSettings(batch_interval_ms=250)
WORKER: Final = WorkerSettings(commit_interval_ms=250)
"""So that a small machine carries several installations: by default they commit many times a second."""
AFTER_SECONDS: Final = 8.0
"""Prometheus looks every five seconds."""
START_SECONDS_MAX: Final = 90.0
"""Of a role, on a machine that others are busy on."""
CLEARED_SECONDS_MAX: Final = 180.0
"""An alert goes on for up to two minutes after what it is about."""
JOBS: Final = 5
"""Installations at a time: most of a run is waiting for alerts to clear."""
LOOK_SECONDS: Final = 0.2
PUT_ASIDE: Final = ("future", "half-garbage")
"""Faults whose events ingest puts aside: what is published is right without them."""
NOTHING_WRONG: Final = ("floor", "lost-partition", "bad-model", "future", "stall", "dead-collector")
"""Faults by which, with the audit, no wrong change may be published."""


@dataclass(frozen=True, slots=True)
class Case:
    """A fault, and whom it meets."""

    fault: str
    network: str = ""
    audit: bool = True

    @property
    def networks(self) -> tuple[str, ...]:
        """Return who plays: where there is a long history, only the one that is met."""
        return (self.network,) if self.has_history else NETWORKS

    @property
    def has_history(self) -> bool:
        return self.fault == "partial"

    @property
    def name(self) -> str:
        return self.fault if self.audit else f"{self.fault} without audit"

    @property
    def must_be_harmless(self) -> bool:
        return self.audit and self.fault in NOTHING_WRONG


CASES: Final = (
    # A history of weeks is judged for minutes, and takes longest: it begins first, and one network is enough.
    Case("partial", NETWORKS[0]),
    *(Case(fault, network) for fault in FEED_FAULTS if fault != "partial" for network in NETWORKS),
    *(Case(fault) for fault in WORKER_FAULTS),
    *(Case(fault, audit=False) for fault in ("floor", "mass-fall")),
)


@dataclass(slots=True)
class Row:
    """What came of a fault."""

    case: Case
    detected_by: list[str] = field(default_factory=list)
    wall_seconds: float | None = None
    event_seconds: float | None = None
    wrong_changes: int = 0
    affected_users: int = 0
    alert: str = "-"
    alert_cleared: str = "-"
    webhook_seconds: float | None = None

    HEADINGS = (
        ("fault", 24), ("network", 9), ("detected by", 34), ("wall s", 7), ("event s", 8), ("wrong", 6),
        ("users", 6), ("alert", 16), ("cleared", 8), ("webhook s", 9),
    )  # fmt: skip

    @classmethod
    def heading(cls) -> str:
        return "  ".join(f"{name:{width}}" for name, width in cls.HEADINGS).rstrip()

    def line(self) -> str:
        cells = (
            self.case.name,
            self.case.network or "all",
            ", ".join(self.detected_by) or "nobody",
            _seconds(self.wall_seconds),
            _seconds(self.event_seconds),
            f"{self.wrong_changes:,}",
            f"{self.affected_users:,}",
            self.alert,
            self.alert_cleared,
            _seconds(self.webhook_seconds),
        )
        return "  ".join(f"{cell:{width}}" for cell, (_, width) in zip(cells, self.HEADINGS, strict=True)).rstrip()


class Drill:
    """One installation with its feed, through one fault."""

    def __init__(self, case: Case, kafka: KafkaSettings, directory: Path, webhook: Webhook) -> None:
        self.row = Row(case)
        self.installation = Installation(_settings(kafka, directory, webhook, case.networks), CLOUT)
        self._webhook = webhook
        self._monitoring = Monitoring(directory)
        self._roles: dict[str, Role] = {}
        self._before: set[str] = set()
        """Alerts that fired before the fault."""
        self._incidents = Incidents(kafka, self.installation.names)
        end_ms = int(time.time() * 1000)
        if case.has_history:
            end_ms -= end_ms % DAY_MS
        self._population = Population(
            PopulationSettings(
                people=HISTORY_PEOPLE,
                networks=case.networks,
                start_ms=end_ms - HISTORY_DAYS * DAY_MS,
                end_ms=end_ms,
                events=HISTORY_EVENTS,
            )
            if case.has_history
            else PopulationSettings(
                people=PEOPLE, networks=NETWORKS, start_ms=end_ms - DAYS * DAY_MS, end_ms=end_ms, events=EVENTS
            )
        )
        self._feed = Feed(
            self._population,
            clients.producer(kafka, RAW_PRODUCER_OPTIONS),
            self.installation.names,
            factor=FAST if case.has_history else DAYS * DAY_MS / 1000 / PLAY_SECONDS,
            mailbox=Mailbox(directory),
        )
        self._began_seconds = 0.0
        self._began_ms = 0
        self._open: dict[str, bool] = {}

    def run(self) -> Row:
        """Let the feed play, do harm, undo it, and judge."""
        installation = self.installation
        worker = installation.worker(environment={FAULTS_VARIABLE: "1"})
        self._roles = {
            "ingest": installation.ingest(),
            "score": worker,
            "guard": installation.role("guard", ["guard"]),
        }
        start_together(*self._roles.values(), seconds=START_SECONDS_MAX)
        self._write_targets()
        self._monitoring.start()
        try:
            self._go_through(worker)
        finally:
            self._monitoring.stop()
        return self.row

    def _write_targets(self) -> None:
        """Tell Prometheus where the roles are, as a supervisor does."""
        targets = [
            {"targets": [role.address], "labels": {"role": name, "instance_name": f"{name}-0"}}
            for name, role in self._roles.items()
        ]
        (self.installation.directory / "run").mkdir(exist_ok=True)
        (self.installation.directory / "run" / "prometheus-targets.json").write_bytes(msgspec.json.encode(targets))

    def _go_through(self, worker: Role) -> None:
        installation = self.installation
        with marked(installation.directory, self.row.case.networks):
            self._feed.start()
            if self.row.case.has_history:
                self._live_through_history(worker)
            eventually(lambda: _applied(worker) > APPLIED_MIN, seconds=90, otherwise=worker.log)
            self._incidents.look()
            self._webhook.deliveries.clear()
            self._before = set(self._alerts.firing())
            if self.row.case.has_history:
                self._before.update(ALERTS_OF_HASTE)
            judge = self._judge_since() if self.row.case.has_history else self._judge()
            self._began_seconds, self._began_ms = time.monotonic(), self._feed.time_ms
            self._harm(worker)
            self._watch(AFTER_SECONDS, worker)
            worker.wait_until_ready(90)
            # Feeds go on meanwhile: what falls silent is a fault again.
            self._let_alerts_clear(worker)
            self._feed.stop()
        assert self._feed.failure is None, self._feed.failure
        installation.wait(120)
        judge()

    def _live_through_history(self, worker: Role) -> None:
        """Return when all has been taken in but the last hours, which come slowly."""
        # Evening of its last day, when people are busy.
        slow_ms = self._population.settings.end_ms - SLOW_MS
        eventually(lambda: self._feed.time_ms >= slow_ms, seconds=HISTORY_SECONDS_MAX, otherwise=worker.log)
        self._feed.go_at(SLOW)
        sent = self._feed.made_events
        eventually(lambda: _applied(worker) > APPLIED_SHARE * sent, seconds=HISTORY_SECONDS_MAX, otherwise=worker.log)
        self._watch(SETTLED_SECONDS, worker)
        self.row = Row(self.row.case)

    @property
    def _alerts(self) -> Alerts:
        return Alerts(self._monitoring.alertmanager)

    def _harm(self, worker: Role) -> None:
        case, directory = self.row.case, self.installation.directory
        if case.network:
            seconds = SECONDS.get(case.fault, FAULT_SECONDS)
            order = FeedOrder(directory, case.fault, case.network, seconds + 60.0)
            order.begin()
            self._watch(seconds, worker)
            assert order.end() is not None
            return
        fault = WorkerFault(directory, case.fault, audit=case.audit, partition=0)
        fault.begin()
        self._watch(FAULT_SECONDS, worker)
        fault.ask_to_end()
        assert worker.process is not None
        worker.process.wait(30)
        worker.launch().wait_until_listening(START_SECONDS_MAX)
        self._write_targets()

    def _watch(self, seconds: float, worker: Role) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._look(worker)
            time.sleep(LOOK_SECONDS)

    def _look(self, worker: Role) -> None:
        """Note who has noticed what."""
        row, since_seconds = self.row, time.monotonic() - self._began_seconds
        noticed: list[str] = [incident.kind for incident in self._incidents.look() if incident.status != "resolved"]
        if not noticed and not row.detected_by and not worker.ended() and worker.partitions("stopped"):
            noticed = ["(status: stopped)"]
        for kind in noticed:
            if kind not in row.detected_by:
                row.detected_by.append(kind)
        if noticed and row.wall_seconds is None:
            row.wall_seconds, row.event_seconds = since_seconds, (self._feed.time_ms - self._began_ms) / 1000
        if self._webhook.deliveries and row.webhook_seconds is None:
            row.webhook_seconds = self._webhook.deliveries[0].at_seconds - self._began_seconds
        if row.alert == "-":
            firing = self._alerts.firing().items()
            found = [name for name, of in firing if of.get("severity") != "none" and name not in self._before]
            if found:
                row.alert = f"{found[0]} {since_seconds:.0f} s"

    def _let_alerts_clear(self, worker: Role) -> None:
        deadline = time.monotonic() + CLEARED_SECONDS_MAX
        while self.row.alert != "-" and time.monotonic() < deadline:
            self._look(worker)
            if self.row.alert.split()[0] not in self._alerts.firing():
                self.row.alert_cleared = f"{time.monotonic() - self._began_seconds:.0f} s"
                return
            time.sleep(LOOK_SECONDS)

    def _judge(self) -> Callable[[], None]:
        """Look at what there is; return how to count who differs in the end, and the wrong changes since."""
        installation = self.installation
        before = {user: len(theirs) for user, theirs in installation.changes().items()}

        def judge() -> None:
            row = self.row
            made = list(self._made(0))
            missing = self._not_sent(made) if row.case.fault in PUT_ASIDE else []
            aside = set(missing)
            expected = sums_of((self._told(event) for event in made if event not in aside), FLAT)
            found = wrong_sums(installation.users(), expected, influence_floor=1.0)
            wrong = {line.partition(" on ")[0] for line in found}
            changes = installation.changes()
            wrong |= {line.partition(": ")[0] for line in broken_chains(changes)}
            row.affected_users = len(wrong | {self._told(event).target for event in missing})
            of_wrong = sum(len(changes.get(user, ())) - before.get(user, 0) for user in wrong)
            row.wrong_changes = max(of_wrong, _unlawful(installation, taken_back=row.case.fault == "retract-storm"))

        return judge

    def _judge_since(self) -> Callable[[], None]:
        """Do the same where there are millions of events: count from now on, and who lacks one is wrong."""
        kafka, changes = self.installation.settings.kafka, self.installation.names.changes
        first = self._feed.made_events
        ends = {of.partition: of.end for of in extents(kafka, "checks", [changes])}

        def judge() -> None:
            lacking = {self._told(event).target for event in self._not_sent(list(self._made(first)))}
            self.row.affected_users = len(lacking)
            self.row.wrong_changes = sum(
                offset >= ends[partition] and (key or b"").decode() in lacking
                for partition, offset, key, _ in committed_records(kafka, changes)
            )

        return judge

    def _made(self, first: int) -> Iterator[Event]:
        """Yield what the population did, as it was to be sent, from an event on."""
        played = Interactions.join(list(self._population.interactions()))
        return encoded(self._population, played.take(np.arange(first, self._feed.made_events)), first)

    def _told(self, event: Event) -> Told:
        of = msgspec.json.decode(event.value, type=Interaction)
        network = self._population.settings.networks[event.network]
        return Told(network, of.id, of.kind, of.actor, of.target, event.time_ms)

    def _not_sent(self, made: Sequence[Event]) -> list[Event]:
        """Return the events of the population that did not come as they were."""
        names, kafka = self.installation.names, self.installation.settings.kafka
        topics = [names.interactions(network) for network in self._population.settings.networks]
        wanted = {event.value for event in made}
        records = (value for topic in topics for _, _, _, value in committed_records(kafka, topic))
        came = {value for value in records if value in wanted}
        return [event for event in made if event.value not in came]


def _settings(kafka: KafkaSettings, directory: Path, webhook: Webhook, networks: Sequence[str]) -> Settings:
    return Settings(
        data_dir=directory,
        kafka=kafka,
        lanes=LaneSettings(partitions=2),
        ingest=INGEST,
        worker=WORKER,
        networks={name: NetworkSettings(raw_partitions=2, sources=COLLECTORS) for name in networks},
        model=FLAT,
        guard=GuardSettings(
            heartbeat_seconds=HEARTBEAT_SECONDS,
            freeze=False,
            webhooks={"drill": WebhookSettings(url=webhook.url, secret=secrets.token_hex(16))},
        ),
    )


def _applied(worker: Role) -> int:
    tasks = worker.status()["partitions"]
    return sum(of.get("applied", 0) for task in tasks for of in task.get("counters", {}).values())


def _unlawful(installation: Installation, *, taken_back: bool) -> int:
    """Return how many laws changes break by themselves, or against the one before."""
    findings, now_ms = Findings(), int(time.time() * 1000)
    records: dict[int, list[Raw]] = {}
    for partition, offset, key, value in committed_records(installation.settings.kafka, installation.names.changes):
        if key is not None and value is not None:
            records.setdefault(partition, []).append(Raw(key, value, now_ms, offset))
    for of_partition in records.values():
        chains = Chains(FLAT, findings, now_ms)
        chains.slack_tenths = int(taken_back)
        chains.feed(of_partition)
    return sum(verdict.broken for verdict in findings.verdicts)


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:,.1f}"


def run(case: Case, broker: str, directory: Path, say: Callable[[str], None] = lambda _: None) -> Row:
    """Go through one fault in an installation of its own."""
    with ExitStack() as stack:
        webhook = stack.enter_context(Webhook())
        kafka = KafkaSettings(broker=broker, prefix=f"d{secrets.token_hex(4)}-")
        drill = Drill(case, kafka, directory, webhook)
        stack.enter_context(drill.installation)
        row = drill.run()
    say(row.line())
    return row


def run_all(
    cases: Sequence[Case], broker: str, directory: Path, say: Callable[[str], None], jobs: int = JOBS
) -> list[Row]:
    """Go through faults, several at a time, and say a row of each as it is done."""
    say(Row.heading())
    with ThreadPoolExecutor(jobs) as pool:
        runs = [pool.submit(run, case, broker, directory / str(number), say) for number, case in enumerate(cases)]
        return [of.result() for of in runs]


@contextmanager
def _broker(directory: Path) -> Iterator[str]:
    broker = LocalBroker(directory, port=None, heap_mb=512)
    address = broker.up().address
    tied = leash(broker)
    try:
        yield address
    finally:
        broker.down()
        tied.communicate()


def main() -> int:
    """Run as the command line says; end with 1 if something wrong was published that must not be."""
    parser = argparse.ArgumentParser(description="Inject every fault; print who noticed, how soon, and what was wrong.")
    parser.add_argument("faults", nargs="*", help="only these, for instance stall floor")
    parser.add_argument("--network", help="only faults of this network's feed, and of workers")
    parser.add_argument("--jobs", type=int, default=JOBS, help="installations at a time")
    arguments = parser.parse_args()
    chosen = [
        case
        for case in CASES
        if (not arguments.faults or case.fault in arguments.faults)
        and (not arguments.network or case.network in {"", arguments.network})
    ]
    with tempfile.TemporaryDirectory(prefix="clout-faults-") as name, _broker(Path(name) / "kafka") as broker:
        rows = run_all(chosen, broker, Path(name), _say, arguments.jobs)
    return 1 if any(row.case.must_be_harmless and row.wrong_changes for row in rows) else 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
