"""`clout tail` on a real change topic: whose changes it prints, and on which network."""

import json
from collections.abc import Iterator

import pytest

from clout.config import Settings
from streams.settings import KafkaSettings, NetworkSettings
from tests.gateway.conftest import Publisher
from tests.roles import Installation


@pytest.fixture(scope="module")
def installation(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Five changes of four users on two networks, the last one of whom has lost everything."""
    networks = {"twitter": NetworkSettings(), "mastodon": NetworkSettings()}
    kafka = KafkaSettings(broker=broker, prefix="tail-")
    settings = Settings(data_dir=tmp_path_factory.mktemp("tail"), kafka=kafka, networks=networks)
    with Installation(settings) as installation:
        publisher = Publisher(settings)
        publisher.change("a", 20.0, networks={"twitter": 20.0})
        publisher.change("b", 30.0, networks={"mastodon": 30.0})
        publisher.change("c", 40.0, networks={"twitter": 35.0, "mastodon": 30.0})
        publisher.change("d", 50.0, networks={"twitter": 50.0})
        publisher.change("d", None, cause="retraction")
        publisher.flush()
        yield installation


def tailed(installation: Installation, *arguments: str, limit: int) -> set[tuple[str, float | None]]:
    """Return user and score of the changes that it prints."""
    run = installation.run("tail", "--from-beginning", "--json", "--limit", str(limit), *arguments, seconds=20)
    assert run.returncode == 0, run.stderr
    changes = [json.loads(line) for line in run.stdout.splitlines()]
    assert len(changes) == limit
    return {(change["user"], change["score"]) for change in changes}


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (["--user", "a", "--user", "d"], {("a", 20.0), ("d", 50.0), ("d", None)}),
        (["--network", "mastodon"], {("b", 30.0), ("c", 40.0)}),
        (["--network", "twitter", "--user", "b", "--user", "c", "--user", "d"], {("c", 40.0), ("d", 50.0)}),
    ],
)
def test_only_changes_of_these_users_and_of_who_has_a_score_on_this_network_are_printed(
    installation: Installation, arguments: list[str], printed: set[tuple[str, float | None]]
) -> None:
    assert tailed(installation, *arguments, limit=len(printed)) == printed


def test_for_people_a_change_is_a_line(installation: Installation) -> None:
    run = installation.run("tail", "--from-beginning", "--limit", "1", "--network", "twitter", "--user", "c")
    assert "c  no score → 40.0  interaction  twitter 35.0, mastodon 30.0" in run.stdout
