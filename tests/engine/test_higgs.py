"""A week of real interactions from one end to the other, against an independent computation."""

import math
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from clout.explain_view import panel
from clout.owners import Owners
from schemas.change import ScoreChange, Subscores
from schemas.explanation import Explained, decode_explanation
from schemas.export import UserState
from scorer.model import Model
from scorer.reference import Sums, sums_of
from scorer.scale import tenths, whole
from streams.progress import Conservation, conservation
from tests.checks import broken_chains, users_of, wrong_sums
from tests.clout.test_explain import in_one_line
from tests.engine.conftest import Install
from tests.engine.higgs import APPLIED, LAST_MS, LINES, SELF, TWINS, USERS, first_interactions
from tests.roles import Installation, Role, eventually, start_together
from tests.streams.test_explanations import check_that_it_adds_up

pytestmark = pytest.mark.timeout(240)


@dataclass(frozen=True, slots=True)
class Played:
    """An installation that has taken in the whole file, with its roles restarted on the way."""

    installation: Installation
    ingest: Role
    worker: Role
    said: str
    """What the replay printed."""
    exit_codes: list[int]
    """Of the roles, told to end under load."""
    expected: dict[tuple[str, str], Sums]
    sums: Conservation
    export: list[bytes]

    @property
    def heartbeats(self) -> int:
        """How many the replay says it sent beside the events."""
        [found] = re.findall(r"sent 526,167 events and (\d+) heartbeats to", self.said)
        return int(found)

    @property
    def users(self) -> dict[str, UserState]:
        return users_of(self.export)


@pytest.fixture(scope="module")
def played(install: Install, higgs_path: Path) -> Played:
    installation = install()
    [ingest], [worker] = installation.up()
    with ThreadPoolExecutor() as background:
        arguments = ("replay", str(higgs_path), "--network", "twitter", "--format", "snap")
        replay = background.submit(installation.run, *arguments)
        eventually(lambda: any(task["counters"] for task in worker.partitions().values()), otherwise=worker.log)
        exit_codes = [role.stop(seconds=10) for role in (worker, ingest)]
        start_together(ingest, worker)
        expected = sums_of(first_interactions(higgs_path).events, Model())
    assert replay.result().returncode == 0, replay.result().stderr
    [sums] = conservation(installation.wait(120))
    export = installation.export()
    return Played(installation, ingest, worker, replay.result().stdout, exit_codes, expected, sums, export)


@pytest.fixture(scope="module")
def changes(played: Played) -> dict[str, list[ScoreChange]]:
    return played.installation.changes()


def test_the_replay_reads_every_line_and_drops_the_twins(played: Played) -> None:
    assert f"read {LINES:,} lines" in played.said
    assert f"dropped {TWINS:,} twin mentions" in played.said


def test_roles_told_to_end_under_load_leave_in_time(played: Played) -> None:
    assert played.exit_codes == [0, 0]


def test_every_event_counts_once(played: Played) -> None:
    sums = played.sums
    assert (sums.applied, sums.self_, sums.missing) == (APPLIED, SELF, 0)
    assert (sums.read, sums.heartbeat) == (LINES - TWINS + played.heartbeats, played.heartbeats)


def test_the_clock_of_the_network_reaches_the_last_event_on_every_partition(played: Played) -> None:
    def clocks() -> list[int]:
        return [task["clocks"].get("twitter", 0) for task in played.worker.partitions().values()]

    # What waits for events does not wait for ticks, which ingest tells after a moment.
    eventually(lambda: clocks() == [LAST_MS] * played.installation.settings.lanes.partitions, otherwise=clocks)


def test_the_sums_of_all_users_equal_the_reference(played: Played) -> None:
    assert len(played.export) == USERS
    assert wrong_sums(played.users, played.expected, influence_floor=0.1) == []


def test_the_changes_of_every_user_are_a_chain_that_ends_at_the_export(
    played: Played, changes: dict[str, list[ScoreChange]]
) -> None:
    users = played.users
    assert broken_chains(changes) == []
    assert changes.keys() == users.keys()
    for user, theirs in changes.items():
        last, state = theirs[-1], users[user]
        assert (last.score, last.sequence) == (state.score, state.sequence)
        assert last.as_of <= state.as_of
        # Between two changes these fade by less than shows.
        assert in_points(last.subscores) == in_points(state.subscores)
        assert in_points(last.networks) == in_points({name: part.score for name, part in state.networks.items()})


def in_points(scores: Subscores | dict[str, float] | None) -> dict[str, int]:
    """Scores rounded half up to integers."""
    return {name: int(whole(tenths(score))) for name, score in msgspec.to_builtins(scores).items()}


def test_whoever_has_a_pocket_calculator_gets_the_ten_most_engaged_scores_from_what_is_shown(played: Played) -> None:
    events = {user: sum(part.events for part in state.networks.values()) for user, state in played.users.items()}
    ten = sorted(events, key=lambda user: -events[user])[:10]
    with Owners(played.installation.settings) as owners:
        for user in ten:
            explanation = decode_explanation(owners.explanation(user) or b"")
            check_that_it_adds_up(explanation)
            assert explanation.score is not None
            said = in_one_line(panel(Explained(explanation=explanation, standing=None, changes=[], incidents=[])))
            [shown] = re.findall(r"S = ([\d,.]+)\^¼ · ([\d,.]+)\^¼ · ([\d,.]+)\^½", said)
            reach, amplification, network = (float(number.replace(",", "")) for number in shown)
            strength = (reach * amplification) ** 0.25 * network**0.5
            assert 1 + 99 * math.log(1 + strength) / math.log(1 + 1e6) == pytest.approx(explanation.score, abs=0.0501)
            assert f"{explanation.score:.1f}: {events[user]:,} interactions by others on twitter" in said
            assert all(one.actor is not None for one in explanation.networks["twitter"].contributors)


def test_a_worker_without_its_files_restores_all_from_the_changelog(played: Played) -> None:
    installation = played.installation
    assert [role.stop() for role in (played.worker, played.ingest)] == [0, 0]
    shutil.rmtree(installation.directory / "state")
    start_together(played.ingest, played.worker)
    assert conservation(installation.wait()) == [played.sums]
    assert installation.export() == played.export
