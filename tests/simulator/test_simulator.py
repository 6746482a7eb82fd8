"""A few runs with fresh seeds, every canary, and the simulator's own promises; `make sim` runs for longer."""

import time
from collections import Counter
from collections.abc import Callable

import pytest

from tests.simulator.__main__ import POINTS, caught, seeds
from tests.simulator.canaries import CANARIES, Canary
from tests.simulator.runs import fails, run
from tests.simulator.script import CRASHES_MIN, EVENTS_MIN, script_of
from tests.simulator.shrink import shrunk

RUNS_MIN = 5
SECONDS = 8.0
CANARY = next(canary for canary in CANARIES if canary.name == "lanes are read before the commit")


def test_runs_of_fresh_seeds_leave_everything_as_the_reference_has_it(say: Callable[[str], None]) -> None:
    begun, runs = time.monotonic(), 0
    hits: Counter[str] = Counter()
    for seed in seeds():
        outcome = run(script_of(seed))
        assert not outcome.problems, f"make sim SEED={seed}: {outcome.problems}"
        assert outcome.events >= EVENTS_MIN
        assert outcome.crashes >= CRASHES_MIN
        runs, hits = runs + 1, hits + outcome.hits
        if runs >= RUNS_MIN and time.monotonic() - begun > SECONDS:
            break
    say(
        f"simulator: {runs} runs with fresh seeds, {hits.total()} crashes at {len(hits)} of {len(POINTS)} points, "
        f"{len(CANARIES)} canaries"
    )


@pytest.mark.parametrize("canary", CANARIES, ids=lambda canary: canary.name)
def test_a_planted_fault_is_caught(canary: Canary) -> None:
    assert caught(canary)


def test_a_seed_gives_the_same_run_every_time() -> None:
    assert run(script_of(7)) == run(script_of(7))


def test_a_script_that_fails_is_cut_down_to_a_short_one_that_still_does() -> None:
    script = script_of(8)
    short = shrunk(script, lambda script: fails(script, CANARY.parts), seconds=5)
    assert len(short.steps) < len(script.steps) / 4
    assert fails(short, CANARY.parts)
    assert not fails(short)
