"""`make sim`: run after run with fresh seeds, for a while, and every canary.

Ends with 1 when a run failed, when a canary was not caught, or when a step of the commit path was hardly tried.
"""

import argparse
import multiprocessing
import os
import secrets
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import count
from typing import Final

from tests.simulator.canaries import CANARIES, Canary
from tests.simulator.runs import Outcome, fails, run, shown
from tests.simulator.script import INGEST_POINTS, OPEN_POINTS, TASK_POINTS, script_of
from tests.simulator.shrink import shrunk

HITS_MIN: Final = 50
"""Crashes at each point, over one call."""
CANARY_RUNS_MAX: Final = 60
_SHRINK_SECONDS: Final = 120.0
_OVERTIME: Final = 2.0
"""A call may take this many times as long for points that are still short of hits."""
_SEEDS: Final = 1 << 40

POINTS: Final = tuple(f"task: {point}" for point in (*TASK_POINTS, *OPEN_POINTS)) + tuple(
    f"ingest: {point}" for point in INGEST_POINTS
)


def main() -> int:
    """Run, print what came of it, and return the exit code."""
    parser = argparse.ArgumentParser(prog="make sim", description=__doc__)
    parser.add_argument("--seed", type=int, help="carry out this one run, and shrink it if it fails")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to run")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    if options.seed is not None:
        outcome = run(script_of(options.seed))
        verdict = "not as it must be" if outcome.problems else "all is as the reference has it"
        print(f"seed {options.seed}: {outcome.events:,} events, {outcome.crashes} crashes; {verdict}")
        return report_failure(outcome) if outcome.problems else 0
    # Each process is forked from one that has loaded the kernels.
    run(script_of(0))
    with multiprocessing.get_context("fork").Pool(options.processes) as pool:
        missed = [name for name, line in pool.imap(watched, range(len(CANARIES))) if not print_canary(name, line)]
        failed, short = print_runs(pool.imap_unordered(run_of, seeds()), options.seconds)
    if missed:
        print(f"{len(missed)} canaries were not caught: {', '.join(missed)}")
    else:
        print(f"canaries: all {len(CANARIES)} caught")
    if short:
        print(f"fewer than {HITS_MIN} crashes at {', '.join(short)}: give it more time")
    if failed is not None:
        report_failure(failed)
    return 1 if failed is not None or missed or short else 0


def seeds() -> Iterator[int]:
    """Yield seeds that nobody has seen."""
    return count(secrets.randbelow(_SEEDS))


def run_of(seed: int) -> Outcome:
    """Carry out the run of a seed."""
    return run(script_of(seed))


def watched(number: int) -> tuple[str, str]:
    """Return a canary's name and how it was caught; nothing if it was not."""
    return CANARIES[number].name, caught(CANARIES[number])


def caught(canary: Canary, runs_max: int = CANARY_RUNS_MAX) -> str:
    """Return in which run a canary was caught, and how; empty if it was not."""
    for seed in range(1, runs_max + 1):
        problems = run(script_of(seed, canary.faults), canary.parts).problems
        if problems:
            return f"run {seed}: {problems[0]}"
    return ""


def print_canary(name: str, line: str) -> bool:
    """Print what became of a canary; return whether it was caught."""
    print(f"  {'caught' if line else 'MISSED':8}{name:56}{line.splitlines()[0][:100] if line else ''}", flush=True)
    return bool(line)


def print_runs(outcomes: Iterator[Outcome], seconds: float) -> tuple[Outcome | None, list[str]]:
    """Take outcomes until the time is over; return the first that failed, and points with too few hits."""
    begun = time.monotonic()
    hits: Counter[str] = Counter()
    runs = events = crashes = 0
    failed: Outcome | None = None
    for outcome in outcomes:
        runs, events, crashes = runs + 1, events + outcome.events, crashes + outcome.crashes
        hits += outcome.hits
        took = time.monotonic() - begun
        short = [point for point in POINTS if hits[point] < HITS_MIN]
        if outcome.problems:
            failed = outcome
        if failed or (took >= seconds and (not short or took >= _OVERTIME * seconds)):
            break
    print(f"{runs:,} runs in {took:.0f} s, {events:,} events, {crashes:,} crashes; crashes at each point:")
    for point in POINTS:
        print(f"  {point:24}{hits[point]:8,}")
    return failed, short


def report_failure(outcome: Outcome) -> int:
    """Print what went wrong, the seed, and a short script that does the same; return the exit code."""
    print(f"seed {outcome.seed} failed: `make sim SEED={outcome.seed}`")
    for problem in outcome.problems:
        print(f"  {problem}")
    short = shrunk(script_of(outcome.seed), fails, _SHRINK_SECONDS)
    print(f"the same goes wrong with {len(short.steps)} steps:")
    for step in short.steps:
        print("  " + shown(step).replace("\n", "\n  "))
    for problem in run(short).problems:
        print(f"  {problem}")
    print(f"  in a world of {short.swarm}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
