"""Commands are signed, sent, and their fate is told; what a stand-in for ingest decides is what ingest would."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Message

from clout.commands.control import line
from clout.commands.forget import wait_until_unknown
from clout.config import Settings
from clout.orders import issue, public_record, signed
from schemas.control import CommandName, CommandRecord, decode_record
from schemas.limits import REASON_BYTES_MAX, USER_BYTES_MAX
from schemas.users import keyed_hash
from streams import clients, topics
from streams.control import Known, RawCommand, decide
from streams.control_secrets import ControlSecrets, control_secrets
from streams.errors import CloutError
from streams.settings import ControlKeySettings, ControlSettings, KafkaSettings, LaneSettings, NetworkSettings

ONE_NETWORK = {"twitter": NetworkSettings(raw_partitions=1)}


@pytest.fixture
def installation(kafka_settings: KafkaSettings, tmp_path: Path) -> Settings:
    settings = Settings(data_dir=tmp_path, kafka=kafka_settings, networks=ONE_NETWORK, lanes=LaneSettings(partitions=1))
    topics.create(kafka_settings, topics.specification(settings.names, settings.lanes, settings.networks))
    return settings


def ingest(settings: Settings, secrets: ControlSecrets, stop: threading.Event) -> None:
    """Answer commands as ingest does."""
    reader = clients.consumer(settings.kafka, {"group.id": "stand-in"})
    reader.subscribe([settings.names.control])
    writer = clients.producer(settings.kafka)
    issued_ms: dict[str, int] = {}

    def raw(message: Message) -> RawCommand:
        return RawCommand(message.value(), message.offset() or 0, int(message.timestamp()[1]))

    while not stop.is_set():
        given = [raw(message) for message in reader.consume(10, 0.1) if message.error() is None]
        for key, value in decide(given, settings.names.control, secrets, issued_ms, Known({}, 1)).records:
            writer.produce(settings.names.control_record, value, key)
        writer.flush(10)
    reader.close()


@pytest.fixture
def answered() -> Iterator[Callable[[Settings, ControlSecrets], None]]:
    """Starts the stand-in: `answered(settings, secrets)`."""
    stop = threading.Event()
    started: list[threading.Thread] = []

    def start(settings: Settings, secrets: ControlSecrets) -> None:
        started.append(threading.Thread(target=ingest, args=(settings, secrets, stop)))
        started[-1].start()

    yield start
    stop.set()
    for thread in started:
        thread.join()


Answered = Callable[[Settings, ControlSecrets], None]


def test_a_command_is_accepted_and_its_record_names_nobody(installation: Settings, answered: Answered) -> None:
    secrets = control_secrets(installation.control, installation.data_dir)
    answered(installation, secrets)
    names: list[CommandName] = ["forget", "unforget"]
    records = [issue(installation, signed(installation, name, "asked for", user="twitter:7"), 30.0) for name in names]
    assert [(record.command, record.accepted, record.reason) for record in records] == [
        (name, True, "asked for") for name in names
    ]
    assert records[1].epoch > records[0].epoch
    assert list(public_record(installation)) == records
    assert {record.subject for record in records} == {keyed_hash(b"twitter:7", secrets.hash_key).hex()}


def test_a_key_that_ingest_does_not_know_is_refused_with_what_that_means(
    installation: Settings, answered: Answered
) -> None:
    answered(installation, control_secrets(installation.control, installation.data_dir))
    control = ControlSettings(keys={"other": ControlKeySettings(secret="s" * 32)})
    with pytest.raises(CloutError, match="refused") as raised:
        issue(
            installation,
            signed(installation.model_copy(update={"control": control}), "forget", "why", user="t:1"),
            30.0,
        )
    assert raised.value.detail == "unknown_key: No key of that name is configured."


def test_without_an_answer_the_error_says_that_the_command_was_sent(installation: Settings) -> None:
    with pytest.raises(CloutError, match="nothing was said") as raised:
        issue(installation, signed(installation, "forget", "why", user="t:1"), 0.5)
    assert "it was sent" in raised.value.detail
    assert "clout ingest" in raised.value.hint


@pytest.mark.parametrize("user", ["", "a\nb", "ü" * (USER_BYTES_MAX // 2) + "x"])
def test_what_cannot_be_a_user_is_refused_before_it_is_sent(tmp_path: Path, user: str) -> None:
    with pytest.raises(CloutError, match="user id"):
        signed(Settings(data_dir=tmp_path), "forget", "why", user=user)


@pytest.mark.parametrize("reason", ["", "  ", "x" * (REASON_BYTES_MAX + 1)])
def test_a_command_without_a_reason_is_refused_before_it_is_sent(tmp_path: Path, reason: str) -> None:
    with pytest.raises(CloutError, match="reason"):
        signed(Settings(data_dir=tmp_path), "forget", reason, user="t:1")


def test_it_waits_until_the_owner_knows_nothing() -> None:
    answers = iter([b"{}", b"{}", None])
    wait_until_unknown(lambda _user: next(answers), "t:1", 10.0)
    assert list(answers) == []


def test_a_user_who_stays_known_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(CloutError, match="still known") as raised:
        wait_until_unknown(lambda _user: b"{}", "t:1", 0.2)
    assert "nothing more has to be ordered" in raised.value.hint


def test_what_others_write_into_the_record_breaks_nothing(installation: Settings) -> None:
    stranger = clients.producer(installation.kafka)
    stranger.produce(installation.names.control_record, b"{")
    stranger.produce(installation.names.control_record, None)
    assert stranger.flush(10) == 0
    assert list(public_record(installation)) == []


def test_a_refusal_is_shown_with_its_cause_and_nothing_that_a_terminal_obeys() -> None:
    record = decode_record(
        b'{"id":"7","command":"forget","subject":"0f0f0f0f0f0f","key":"ops","reason":"\\u001b[2J","issued":"x",'
        b'"received":"2026-01-01T00:00:01.000Z","epoch":3,"accepted":false,"why":"bad_signature"}'
    )
    assert isinstance(record, CommandRecord)
    shown = line(record).plain
    assert "refused: bad_signature" in shown
    assert "\x1b" not in shown


def test_orders_about_no_user_are_shown_by_what_they_are_about() -> None:
    usual: dict[str, Any] = {
        "id": "7",
        "subject": "",
        "key": "ops",
        "reason": "why",
        "issued": "x",
        "received": "y",
        "epoch": 3,
    }
    release = CommandRecord(command="release", accepted=True, network="twitter", source="west\x1b[2J", **usual)
    quarantine = CommandRecord(command="quarantine", accepted=True, partition=3, lane="targets", offset=17, **usual)
    assert line(release).plain == "y  release twitter source west\\x1b[2J  accepted  by ops  why"
    assert line(quarantine).plain == "y  quarantine partition 3, targets lane, offset 17  accepted  by ops  why"
