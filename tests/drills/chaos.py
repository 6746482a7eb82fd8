"""Everything that can go wrong, on a real broker and under load; then nothing may be wrong with anybody's score.

`python -m tests.drills.chaos --events 5000000 --seed 7` prints a report and ends with 1 if a single user is wrong.
"""

import argparse
import secrets
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import reduce
from multiprocessing import get_context
from operator import add
from pathlib import Path
from typing import Any, Final

from clout.broker import LocalBroker
from clout.config import Settings
from clout.machine import broker_at_hand
from streams.progress import Conservation, conservation
from streams.settings import KafkaSettings, NetworkSettings, WorkerSettings
from tests.drills.expectation import FLAT, expected
from tests.drills.feed import RAW_PARTITIONS, Feed
from tests.drills.harm import ALL, SESSION_SECONDS, Fault, Harm, directory_of
from tests.drills.refusals import refusals
from tests.drills.small_disk import small_disk
from tests.drills.traffic import NETWORK, Traffic, traffic
from tests.drills.verdict import Verdict, judge
from tests.roles import CLOUT, Installation

EVENTS_DEFAULT: Final = 3_000_000
EVENTS_PER_USER: Final = 50
USERS_MIN: Final = 2_000
MORE_EVENTS: Final = 4_000
SMALL_DISK_SLOT: Final = 0
SHARDS: Final = 2
HEAP_MB: Final = 1_024
READY_SECONDS: Final = 90.0
WRONG_SHOWN_MAX: Final = 20
SAID: Final = {
    "rebuilt because damaged": "local state is damaged",
    "tasks lost and begun again": "task lost, will begin again",
    "partitions opened": "partition ready",
    "full disk met": "No space left",
    "refused to start": "partition refuses to start",
    "stopped for good": "partition stopped",
}
"""What roles write into their logs, under the name in the report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much, how fast, and what happens meanwhile."""

    events: int
    seed: int
    events_per_second: int = 12_000
    workers: int = 3
    ingests: int = 2
    faults: tuple[Fault, ...] = ALL
    """Done once in this order, whatever it takes."""
    more_faults: bool = True
    """By chance, while events come."""
    nap_seconds: tuple[float, float] = (1.0, 4.0)
    """Between faults."""
    small_disk_mb: int = 1_024
    """Room for the files of the first worker."""
    full_seconds: float = 20.0
    """How long it may take until that has shown."""
    refusals: bool = True
    """In the end, take records away that nothing can bring back."""
    settle_seconds: float = 400.0
    """Longest time until all is processed; then what is behind is told."""

    def traffic(self) -> Traffic:
        """Return the events."""
        return traffic(self.events, max(USERS_MIN, self.events // EVENTS_PER_USER), self.seed)


@dataclass(slots=True)
class Report:
    """What happened and what came of it."""

    plan: Plan
    seconds: dict[str, float] = field(default_factory=dict)
    faults: Counter[str] = field(default_factory=Counter)
    ended_by_themselves: list[str] = field(default_factory=list)
    said: Counter[str] = field(default_factory=Counter)
    sums: Conservation | None = None
    verdict: Verdict = field(default_factory=Verdict)
    refused: list[str] = field(default_factory=list)

    def wrong(self) -> list[str]:
        """Return everything that is not as it must be."""
        wrong = list(self.verdict.outcomes)
        if self.sums is None or self.sums.missing:
            wrong.append(f"conservation does not hold: {self.sums}")
        elif self.sums.read != self.plan.events:
            wrong.append(f"{self.sums.read:,} events were read, {self.plan.events:,} were sent")
        return [*wrong, *(f"{user}: {what}" for user, what in self.verdict.wrong.items())]

    def lines(self) -> Iterator[str]:
        """Yield the report, line by line."""
        yield f"chaos: {self.plan.events:,} events, {self.verdict.users:,} users, seed {self.plan.seed}"
        yield "seconds: " + ", ".join(f"{name} {seconds:.0f}" for name, seconds in self.seconds.items())
        yield f"faults: {self.faults.total()}"
        yield from (f"  {count:4} {name}" for name, count in self.faults.most_common())
        yield "said in the logs:"
        yield from (f"  {self.said[name]:4} {name}" for name in SAID)
        if self.ended_by_themselves:
            yield "roles that ended by themselves: " + "; ".join(self.ended_by_themselves)
        if self.sums is not None:
            counts = {name: count for name, count in self.sums.as_dict().items() if isinstance(count, int)}
            yield "events: " + ", ".join(f"{name} {count:,}" for name, count in counts.items() if count)
        yield f"changes: {self.verdict.changes:,}"
        yield from ("refused: " + text.replace("\n", "; ") for text in self.refused)
        yield from (f"wrong: {text}" for text in self.wrong()[:WRONG_SHOWN_MAX])
        yield f"users wrong: {len(self.verdict.wrong)}"


def run(plan: Plan, directory: Path, say: Callable[[str], None] = lambda _line: None) -> Report:
    """Do everything that the plan says, in installations of its own; return what came of it."""
    report, traffic = Report(plan), plan.traffic()
    with ExitStack() as stack:
        # Not forked: a process with threads must not be.
        pool = stack.enter_context(ProcessPoolExecutor(SHARDS, get_context("spawn")))
        shards = [pool.submit(expected, traffic, shard, SHARDS) for shard in range(SHARDS)]
        stack.callback(_drop, shards)
        broker = stack.enter_context(_broker(directory / "kafka"))
        installation = _installation(broker, directory)
        harm = Harm(installation, broker, seed=plan.seed, full_seconds=plan.full_seconds)
        harm.small_disk = stack.enter_context(
            small_disk(directory_of(installation, SMALL_DISK_SLOT), plan.small_disk_mb)
        )
        stack.enter_context(installation)
        with _timed(report, "harm"):
            _harm(harm, plan, traffic, report, say)
        with _timed(report, "catching up"), harm.looked_after():
            [report.sums] = conservation(installation.wait(plan.settle_seconds))
        with _timed(report, "expectation"):
            expectation = reduce(add, (shard.result() for shard in shards))
        with _timed(report, "checks"):
            report.verdict = judge(installation, expectation, report.sums)
        say(f"{len(report.verdict.wrong)} users wrong")
        if plan.refusals:
            with _timed(report, "refusals"):
                report.refused = refusals(harm, Plan(events=MORE_EVENTS, seed=plan.seed + 1).traffic())
        for log in installation.directory.glob("*.log"):
            text = log.read_text(errors="replace")
            report.said.update({name: text.count(words) for name, words in SAID.items()})
    return report


def _harm(harm: Harm, plan: Plan, traffic: Traffic, report: Report, say: Callable[[str], None]) -> None:
    """Do one thing after the other while events come."""
    harm.start(ingests=plan.ingests, workers=plan.workers)
    for worker in harm.workers:
        worker.wait_until_ready(READY_SECONDS)
    left = list(plan.faults)
    with Feed(harm.installation, traffic, events_per_second=plan.events_per_second) as feed:
        while left or not feed.done:
            harm.nap(*plan.nap_seconds)
            if not left and not plan.more_faults:
                continue
            fault = left.pop(0) if left else harm.choose.choice(plan.faults)
            say(fault.__name__.replace("_", " "))
            harm.do(fault)
    report.faults, report.ended_by_themselves = harm.done, harm.ended_by_themselves


def _installation(broker: LocalBroker, directory: Path) -> Installation:
    running = broker.running()
    assert running is not None
    return Installation(
        Settings(
            data_dir=directory / "installation",
            kafka=KafkaSettings(broker=running.address, prefix=f"chaos{secrets.token_hex(3)}-"),
            networks={NETWORK: NetworkSettings(raw_partitions=RAW_PARTITIONS)},
            model=FLAT,
            worker=WorkerSettings(session_timeout_seconds=SESSION_SECONDS),
        ),
        CLOUT,
    )


@contextmanager
def _broker(directory: Path) -> Iterator[LocalBroker]:
    broker = LocalBroker(directory, port=None, heap_mb=HEAP_MB)
    with broker_at_hand(KafkaSettings(), broker):
        yield broker


@contextmanager
def _timed(report: Report, name: str) -> Iterator[None]:
    begun = time.monotonic()
    yield
    report.seconds[name] = time.monotonic() - begun


def _drop(shards: Sequence[Future[Any]]) -> None:
    for shard in shards:
        shard.cancel()


def main() -> int:
    """Run as the command line says and print the report."""
    parser = argparse.ArgumentParser(description="Harm a whole installation under load; nobody's score may be wrong.")
    parser.add_argument("--events", type=int, default=EVENTS_DEFAULT)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    parser.add_argument("--rate", type=int, default=12_000, help="events a second")
    parser.add_argument("--directory", type=Path, help="for all files, which stay; else a temporary one")
    arguments = parser.parse_args()
    begun = time.monotonic()
    with ExitStack() as stack:
        directory = arguments.directory or stack.enter_context(tempfile.TemporaryDirectory(prefix="clout-chaos-"))
        plan = Plan(events=arguments.events, seed=arguments.seed, events_per_second=arguments.rate)
        report = run(plan, Path(directory), lambda line: _say(f"{time.monotonic() - begun:6.0f} s  {line}"))
    for line in report.lines():
        _say(line)
    return 1 if report.wrong() else 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
