"""Commands on a real Kafka: from the control topic into every lane partition, exactly once, and on public record."""

import secrets
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from confluent_kafka import Message, TopicPartition

from clout.config import Settings
from schemas.control import Command, CommandRecord, decode_record, encode_command
from schemas.dead_letter import decode_headers
from schemas.packed import COMMANDS, FORGET, UNFORGET, Stamp, decode, decode_key
from schemas.times import format_ms
from schemas.users import keyed_hash
from streams import clients
from streams.control_secrets import control_secrets
from streams.errors import CloutError
from streams.feed_position import CONTROL
from streams.progress import Conservation, conservation
from streams.progress_reader import ProgressReader
from streams.settings import (
    ControlKeySettings,
    ControlSettings,
    IngestSettings,
    KafkaSettings,
    LaneSettings,
    NetworkSettings,
)
from tests.roles import Installation, eventually

PARTITIONS = 3
SENT_MS = 1_700_000_000_000


@pytest.fixture
def installation(broker: str, tmp_path: Path) -> Iterator[Installation]:
    kafka = KafkaSettings(broker=broker, prefix=f"t{secrets.token_hex(4)}-")
    keys = {name: ControlKeySettings(secret=name * 16) for name in ("ops", "audit")}
    settings = Settings(
        data_dir=tmp_path,
        kafka=kafka,
        lanes=LaneSettings(partitions=PARTITIONS),
        ingest=IngestSettings(session_timeout_seconds=6),
        networks={"twitter": NetworkSettings(raw_partitions=2)},
        control=ControlSettings(keys=keys, key="ops"),
    )
    with Installation(settings) as installation:
        yield installation


def order(installation: Installation, *values: bytes | None) -> None:
    """Put records on the control topic."""
    producer = clients.producer(installation.settings.kafka)
    for value in values:
        producer.produce(installation.names.control, value, partition=0)
    assert producer.flush(10) == 0


def signed(installation: Installation, number: int, **fields: str) -> bytes:
    """Return a command that is in order, but for the fields given."""
    found = control_secrets(installation.settings.control, installation.settings.data_dir)
    usual = {"id": f"c{number}", "command": "forget", "user": "u:1", "reason": "asked for"}
    command = Command(key="", issued=format_ms(SENT_MS + number), **usual | fields)  # type: ignore[arg-type]
    return encode_command(found.signed(command))


def read(installation: Installation, topic: str, partition: int, count: int) -> list[Message]:
    """Return the first records that committed transactions wrote."""
    reader = clients.consumer(installation.settings.kafka, {"group.id": "look"})
    reader.assign([TopicPartition(topic, partition, 0)])
    try:
        return reader.consume(count, 20)
    finally:
        reader.close()


def public(installation: Installation, count: int) -> list[CommandRecord]:
    found = read(installation, installation.names.control_record, 0, count)
    return [decode_record(message.value() or b"") for message in found]


def counted(installation: Installation, network: str) -> Counter[str]:
    """Return ingest's counters, of commands or of a network's events; none while a young broker cannot tell."""
    reader = ProgressReader(installation.settings.kafka, installation.names, ["twitter"], PARTITIONS)
    counters: Counter[str] = Counter()
    with suppress(CloutError):
        for feed in reader.feeds():
            if feed.network == network:
                counters.update(feed.position.counters)
    return counters


def test_commands_reach_every_lane_partition_once_and_in_order_through_a_kill_of_ingest(
    installation: Installation,
) -> None:
    ingest = installation.ingest().start()
    first = signed(installation, 1)
    order(installation, first, b"no command")
    eventually(lambda: counted(installation, CONTROL)["read"] == 2, otherwise=ingest.log)
    ingest.kill()
    ingest.start()
    order(installation, first, signed(installation, 2, reason=""), signed(installation, 3, command="unforget"))
    eventually(lambda: counted(installation, CONTROL)["read"] == 5, otherwise=ingest.log)
    assert counted(installation, CONTROL) == {"read": 5, "accepted": 2, "refused": 2, "dead_lettered": 1}

    for partition in range(PARTITIONS):
        found = read(installation, installation.names.actors_lane, partition, 2)
        assert [decode_key(message.key()) for message in found] == [Stamp("@control/0", 1), Stamp("@control/0", 2)]
        packed = [decode(message.value() or b"") for message in found]
        assert [(of.kind, of.targets, of.labels) for of in packed] == [
            (COMMANDS, [b"u:1"], ["c1"]),
            (COMMANDS, [b"u:1"], ["c3"]),
        ]
        assert [int(of.columns["command"][0]) for of in packed] == [FORGET, UNFORGET]
        assert int(packed[0].columns["epoch"][0]) == 0 < int(packed[1].columns["epoch"][0])

    settings = installation.settings
    hash_key = control_secrets(settings.control, settings.data_dir).hash_key
    records = public(installation, 4)
    assert [(of.id, of.accepted, of.why) for of in records] == [
        ("c1", True, None),
        ("c1", False, "issued_before"),
        ("c2", False, "no_reason"),
        ("c3", True, None),
    ]
    assert {of.subject for of in records} == {keyed_hash(b"u:1", hash_key).hex()}
    [message] = read(installation, installation.names.control_dead_letters, 0, 1)
    letter = decode_headers(message.headers() or [])  # type: ignore[arg-type]
    assert (message.value(), letter.reason, letter.source_offset) == (b"no command", "broken_json", 1)


def test_a_command_between_events_of_one_network_disturbs_neither(installation: Installation) -> None:
    event = {"kind": "share", "target": "t:1", "time": SENT_MS}
    for number in range(3):
        order(installation, signed(installation, number))
        for partition in range(2):
            events = [event | {"id": f"e{number}-{partition}-{at}", "actor": f"a:{at}"} for at in range(20)]
            installation.send([msgspec.json.encode(of) for of in events], partition=partition)
    ingest = installation.ingest().start()
    eventually(lambda: counted(installation, CONTROL)["read"] == 3, otherwise=ingest.log)
    eventually(lambda: counted(installation, "twitter")["passed"] == 120, otherwise=ingest.log)
    assert len([of for of in public(installation, 3) if of.accepted]) == 3


def test_waiting_waits_for_commands_and_all_that_came_in_is_accounted_for_after_them(
    installation: Installation,
) -> None:
    installation.up()

    def credit(first: int) -> Conservation:
        events = [{"id": f"e{n}", "kind": "share", "actor": f"a:{n}", "target": "u:1"} for n in range(first, first + 9)]
        installation.send([msgspec.json.encode(of | {"time": SENT_MS}) for of in events])
        [sums] = conservation(installation.wait())
        assert sums.missing == 0
        return sums

    assert credit(0).applied == 9
    order(installation, signed(installation, 1))
    installation.wait()
    assert "u:1" not in installation.users()
    assert credit(100).forgotten == 9
    order(installation, signed(installation, 2, command="unforget"))
    installation.wait()
    assert credit(200).applied == 18
    assert installation.users()["u:1"].networks["twitter"].events == 9
    shown = installation.run("status").stdout
    for expected in ("@control/0", "forgotten", "duplicate", "adds up", "effective window"):
        assert expected in shown
