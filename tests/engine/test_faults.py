"""Roles killed, frozen and thawed while events keep coming: nothing is lost, nothing counts twice."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from schemas.change import ScoreChange
from schemas.export import UserState
from scorer.model import Model
from scorer.reference import Sums, sums_of
from streams.progress import Conservation, conservation
from streams.settings import IngestSettings, WorkerSettings
from tests.checks import broken_chains, wrong_sums
from tests.engine.conftest import Install
from tests.engine.feeder import Feeder
from tests.engine.higgs import first_interactions
from tests.roles import eventually, start_together

pytestmark = pytest.mark.timeout(240)

SESSION_SECONDS = 6
"""The least that a broker allows."""
RESTORE_SECONDS = 7.0
ALL = {0, 1, 2, 3}


@dataclass(frozen=True, slots=True)
class Survived:
    """What is there after the faults."""

    sent: int
    expected: dict[tuple[str, str], Sums]
    sums: Conservation
    users: dict[str, UserState]
    changes: dict[str, list[ScoreChange]]


@pytest.fixture(scope="module")
def survived(install: Install, higgs_path: Path) -> Survived:
    """One worker and an ingest process are killed and come back; the other worker is frozen beyond its session.

    Everyone has the same influence here, so that all three sums can be reproduced.
    """
    interactions = first_interactions(higgs_path, 300_000)
    model = Model(name="flat", influence_floor=1.0)
    installation = install(
        model=model,
        ingest=IngestSettings(session_timeout_seconds=SESSION_SECONDS),
        worker=WorkerSettings(session_timeout_seconds=SESSION_SECONDS),
    )
    ingests, [killed, frozen] = installation.up(ingests=2, workers=2)
    eventually(lambda: killed.partitions() and frozen.partitions(), otherwise=frozen.log)
    with Feeder(installation, interactions.raw, events_per_second=3_000) as feeder:
        eventually(lambda: feeder.sent > 8_000)
        killed.kill()
        ingests[0].kill()
        frozen.freeze()
        killed = installation.worker(0, restore_delay_seconds=RESTORE_SECONDS)
        start_together(killed, ingests[0])
        eventually(lambda: killed.partitions().keys() == ALL, seconds=60, otherwise=killed.log)
        frozen.thaw()
        eventually(lambda: 0 < len(frozen.partitions()) < len(ALL), seconds=60, otherwise=frozen.log)
        eventually(lambda: killed.partitions().keys() | frozen.partitions().keys() == ALL, seconds=60)
        assert not feeder.done
    [sums] = conservation(installation.wait(90))
    expected = sums_of(interactions.events[: feeder.sent], model)
    return Survived(feeder.sent, expected, sums, installation.users(), installation.changes())


def test_every_event_counts_once_whatever_dies(survived: Survived) -> None:
    assert survived.sums.missing == 0
    assert survived.sums.read == survived.sent


def test_the_sums_equal_the_reference_whatever_dies(survived: Survived) -> None:
    assert wrong_sums(survived.users, survived.expected, influence_floor=1.0) == []


def test_the_chain_of_changes_holds_whatever_dies(survived: Survived) -> None:
    changes = survived.changes
    assert broken_chains(changes) == []
    last = {user: (theirs[-1].score, theirs[-1].sequence) for user, theirs in changes.items()}
    assert last == {user: (state.score, state.sequence) for user, state in survived.users.items()}
