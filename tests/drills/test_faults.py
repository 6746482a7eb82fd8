"""Workers killed, frozen, joining and leaving again and again under load, with restores slower than the session."""

import itertools
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from clout.snap import RawEvent
from scorer.model import Model
from scorer.reference import Sums, sums_of
from streams.progress import conservation
from streams.settings import WorkerSettings
from tests.checks import broken_chains, wrong_sums
from tests.engine.conftest import Install
from tests.engine.feeder import Feeder
from tests.engine.higgs import LINES, TWINS, first_interactions
from tests.roles import Installation, Role

pytestmark = [pytest.mark.drill, pytest.mark.timeout(3_600)]

COPIES: Final = 3
"""Times that the whole file is sent, each under user ids of its own."""
EVENTS_PER_SECOND: Final = 6_000
SESSION_SECONDS: Final = 6
RESTORE_SECONDS: Final = 9.0
FROZEN_SECONDS: Final = 16.0
"""Longer than session and transaction time-out."""


def copies(path: Path) -> Iterator[RawEvent]:
    for copy in range(COPIES):
        yield from first_interactions(path, prefix=f"copy{copy}").raw


def expected_sums(path: Path) -> dict[tuple[str, str], Sums]:
    expected: dict[tuple[str, str], Sums] = {}
    for copy in range(COPIES):
        expected |= sums_of(first_interactions(path, prefix=f"copy{copy}").events, Model())
    return expected


def harm(installation: Installation, feeder: Feeder, seed: int) -> list[str]:
    """Do one thing after the other to the roles until all is sent; return what was done."""
    choose = random.Random(seed)
    ingests, workers = installation.up(ingests=2, workers=3)
    done: list[str] = []

    def killed(role: Role) -> None:
        role.kill()
        time.sleep(choose.uniform(0, SESSION_SECONDS + 2))
        role.start()

    def frozen(role: Role) -> None:
        role.freeze()
        time.sleep(FROZEN_SECONDS)
        role.thaw()

    def left(role: Role) -> None:
        assert role.stop() == 0
        time.sleep(choose.uniform(0, 3))
        role.start()

    for number in itertools.count():
        time.sleep(choose.uniform(2, 14))
        if feeder.done:
            return done
        role = choose.choice(ingests if number % 4 == 3 else workers)
        do = choose.choice([killed, frozen, left])
        done.append(f"{role.name} {do.__name__}")
        do(role)
    raise AssertionError


@pytest.mark.parametrize(("seed", "influence_floor"), [(1, 0.1), (2, 1.0)])
def test_nothing_is_lost_or_counted_twice_whatever_happens_to_the_roles(
    install: Install, higgs_path: Path, seed: int, influence_floor: float
) -> None:
    settings = WorkerSettings(session_timeout_seconds=SESSION_SECONDS, restore_delay_seconds=RESTORE_SECONDS)
    installation = install(worker=settings, model=Model(influence_floor=influence_floor))
    with Feeder(installation, copies(higgs_path), events_per_second=EVENTS_PER_SECOND) as feeder:
        done = harm(installation, feeder, seed)
    [sums] = conservation(installation.wait(300))
    assert (sums.read, sums.missing) == (COPIES * (LINES - TWINS), 0), done
    users = installation.users()
    assert wrong_sums(users, expected_sums(higgs_path), influence_floor=influence_floor) == [], done
    changes = installation.changes()
    assert broken_chains(changes) == [], done
    last = {user: (theirs[-1].score, theirs[-1].sequence) for user, theirs in changes.items()}
    assert last == {user: (state.score, state.sequence) for user, state in users.items()}, done
