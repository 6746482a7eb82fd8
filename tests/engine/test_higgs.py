"""A week of real interactions from one end to the other, against an independent computation."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from schemas.change import ScoreChange
from schemas.export import UserState
from scorer.model import Model
from scorer.reference import Sums, sums_of
from streams.progress import Conservation, conservation
from tests.checks import broken_chains, users_of, wrong_sums
from tests.engine.conftest import Install
from tests.engine.higgs import APPLIED, LINES, SELF, TWINS, USERS, first_interactions
from tests.roles import Installation, Role

pytestmark = pytest.mark.timeout(240)


@dataclass(frozen=True, slots=True)
class Played:
    """The whole file through two models that share ingest and the actors lane."""

    real: Installation
    flat: Installation
    """Everyone has the influence of everyone: network must equal amplification."""
    ingest: Role
    worker: Role
    said: str
    """What the replay printed."""
    expected: dict[tuple[str, str], Sums]
    sums: Conservation
    export: list[bytes]
    flat_users: dict[str, UserState]

    @property
    def users(self) -> dict[str, UserState]:
        return users_of(self.export)


@pytest.fixture(scope="module")
def played(install: Install, higgs_path: Path) -> Played:
    real = install()
    flat = install(kafka=real.settings.kafka, model=Model(name="flat", influence_floor=1.0))
    ingest, worker, flat_worker = real.ingest(), real.worker(), flat.worker()
    replayed = real.run("replay", str(higgs_path), "--network", "twitter", "--format", "snap")
    assert replayed.returncode == 0, replayed.stderr
    expected = sums_of(first_interactions(higgs_path).events, Model())
    [sums] = conservation(real.wait(120))
    flat.wait(60)
    flat_users = flat.users()
    flat_worker.stop()
    return Played(real, flat, ingest, worker, replayed.stdout, expected, sums, real.export(), flat_users)


@pytest.fixture(scope="module")
def changes(played: Played) -> dict[str, list[ScoreChange]]:
    return played.real.changes()


def test_the_replay_reads_every_line_and_drops_the_twins(played: Played) -> None:
    assert f"read {LINES:,} lines" in played.said
    assert f"dropped {TWINS:,} twin mentions" in played.said


def test_every_event_counts_once(played: Played) -> None:
    sums = played.sums
    assert (sums.read, sums.applied, sums.self_, sums.missing) == (LINES - TWINS, APPLIED, SELF, 0)


def test_the_sums_of_all_users_equal_the_reference(played: Played) -> None:
    assert len(played.export) == USERS
    assert wrong_sums(played.users, played.expected, influence_floor=0.1) == []


def test_network_equals_amplification_where_everyone_has_the_same_influence(played: Played) -> None:
    assert len(played.flat_users) == USERS
    assert wrong_sums(played.flat_users, played.expected, influence_floor=1.0) == []


def test_the_changes_of_every_user_are_a_chain_that_ends_at_the_export(
    played: Played, changes: dict[str, list[ScoreChange]]
) -> None:
    users = played.users
    assert broken_chains(changes) == []
    assert changes.keys() == users.keys()
    for user, theirs in changes.items():
        last, state = theirs[-1], users[user]
        assert (last.score, last.sequence, last.as_of, last.subscores) == (
            state.score,
            state.sequence,
            state.as_of,
            state.subscores,
        )
        assert last.networks == {name: part.score for name, part in state.networks.items()}


def test_a_worker_that_was_stopped_goes_on_where_it_was(played: Played) -> None:
    assert played.worker.stop() == 0
    played.worker.start().wait_until_ready()
    assert played.real.export() == played.export


def test_a_worker_without_its_files_restores_all_from_the_changelog(played: Played) -> None:
    played.worker.kill()
    shutil.rmtree(played.real.directory / "state")
    played.worker.start().wait_until_ready()
    assert played.real.export() == played.export


def test_the_sums_still_hold_after_restarts_of_both_roles(played: Played) -> None:
    played.ingest.kill()
    played.ingest.start().wait_until_ready()
    played.worker.wait_until_ready()
    assert conservation(played.real.wait()) == [played.sums]
