"""Orders about networks and incidents: what is sent, and what is refused before anything is."""

from contextlib import closing, suppress
from pathlib import Path

import pytest

from clout.commands.wait import reader_of
from clout.config import Settings
from clout.main import main
from schemas.control import Command, CommandRecord, decode_command, encode_record
from schemas.times import format_ms
from streams import clients
from streams.errors import CloutError
from streams.settings import KafkaSettings
from tests.checks import committed
from tests.incidents import open_incident
from tests.roles import eventually

NOW_MS = 1_767_225_600_000
NOW = format_ms(NOW_MS)


class Place:
    """An installation of topics alone: what is ordered is sent, and nobody answers."""

    def __init__(self, kafka: KafkaSettings, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._settings = Settings(kafka=kafka)
        self.kafka, self.names = kafka, self._settings.names
        self._directory, self._capsys = directory, capsys
        self.run("topics", "create")
        eventually(self._has_leaders)

    def _has_leaders(self) -> bool:
        """Return whether every topic can be asked: one that was just made has no leader for a moment."""
        with closing(reader_of(self._settings)) as reader, suppress(CloutError):
            return bool(reader.feeds())
        return False

    def run(self, *arguments: str) -> str:
        """Return what a command says on standard error."""
        where = ["--broker", self.kafka.broker, "--prefix", self.kafka.prefix, "--data-dir", str(self._directory)]
        with suppress(SystemExit):
            main([*arguments, *where])
        return self._capsys.readouterr().err

    def write(self, topic: str, value: bytes) -> None:
        failure = clients.write_one(self.kafka, topic, value, partition=0, timeout_seconds=30)
        assert not failure

    def sent(self) -> list[Command]:
        return [decode_command(value or b"") for _, value in committed(self.kafka, self.names.control)]

    def put_on_record(self, command: str, epoch: int) -> None:
        record = CommandRecord(
            id=str(epoch),
            command=command,  # type: ignore[arg-type]
            subject="",
            key="ops",
            reason="garbage",
            issued=NOW,
            received=NOW,
            epoch=epoch,
            accepted=True,
            network="twitter",
        )
        self.write(self.names.control_record, encode_record(record))


@pytest.fixture
def place(kafka_settings: KafkaSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Place:
    return Place(kafka_settings, tmp_path, capsys)


FREEZE = ("freeze", "twitter", "--reason", "garbage", "--timeout", "0.1s")
RESUME = ("resume", "twitter", "--reason", "repaired", "--timeout", "0.1s")
DECLARE = ("incident", "declare", "mine", "--network", "twitter", "--reason", "half is missing", "--timeout", "0.1s")


def test_an_incident_that_nobody_knows_is_refused_before_its_network_is_frozen(place: Place) -> None:
    said = place.run(*FREEZE, "--incident", "nosuch")
    assert "there is no incident 'nosuch'" in said
    assert "clout incident list --all" in said
    assert place.sent() == []


def test_a_network_is_frozen_for_an_incident_by_the_beginning_of_its_id(place: Place) -> None:
    open_incident(place.kafka, place.names, "feed_partial/twitter/1", network="twitter", at_ms=NOW_MS)
    place.run(*FREEZE, "--incident", "feed_p")
    assert [(of.command, of.incident) for of in place.sent()] == [("freeze", "feed_partial/twitter/1")]


def test_what_a_network_was_frozen_for_is_said_before_it_is_frozen_for_something_else(place: Place) -> None:
    assert "until now" not in place.run(*FREEZE)
    place.put_on_record("freeze", 0)
    assert f"until now twitter is frozen since {NOW}: garbage\n" in place.run(*FREEZE)
    assert [of.command for of in place.sent()] == ["freeze", "freeze"]


@pytest.mark.parametrize("before", [[], ["freeze", "resume"]])
def test_a_network_that_is_not_frozen_is_said_not_to_be_and_nothing_is_ordered(before: list[str], place: Place) -> None:
    for epoch, command in enumerate(before):
        place.put_on_record(command, epoch)
    said = place.run(*RESUME)
    assert said.startswith("error: twitter is not frozen\n")
    assert place.sent() == []


def test_a_network_that_is_frozen_on_record_is_resumed(place: Place) -> None:
    place.put_on_record("freeze", 0)
    place.run(*RESUME)
    assert [of.command for of in place.sent()] == ["resume"]


def test_a_command_that_was_not_read_yet_may_have_frozen_it(place: Place) -> None:
    place.run(*FREEZE)
    place.run(*RESUME)
    assert [of.command for of in place.sent()] == ["freeze", "resume"]


def test_an_incident_is_declared_since_the_time_that_is_said(place: Place) -> None:
    place.run(*DECLARE, "--since", "2026-01-01T01:00:00+01:00")
    place.run(*DECLARE)
    assert [of.since for of in place.sent()] == [NOW, ""]
