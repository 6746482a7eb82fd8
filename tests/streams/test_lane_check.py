"""What is asked of the writers when a lane begins late: on a log in memory, where transactions stay open on demand."""

import pytest

from streams import clients
from streams.lane_check import lost_records
from streams.names import Names
from streams.settings import KafkaSettings, LaneSettings
from streams.store import META_KEY
from streams.task_state import TARGETS, TaskState, encode
from streams.topics import specification
from tests.simulator.clients import Consumer, Producer
from tests.simulator.log import Log

NAMES = Names("", "1")


@pytest.fixture
def log() -> Log:
    """A cluster in which the task of partition 0 has written two records to its own targets lane."""
    log = Log(0)
    log.create(specification(NAMES, LaneSettings(partitions=1), {}))
    write(log, "task", (NAMES.state, META_KEY, encode(TaskState(model="1", model_hash="", sent={0: 2}))))
    return log


def write(log: Log, owner: str, *records: tuple[str, bytes, bytes]) -> Producer:
    """Write records in a transaction, and leave it open when the owner is not the task."""
    producer = Producer(log, {"transactional.id": owner, "transaction.timeout.ms": 1}, lambda _: None, {})
    producer.init_transactions()
    producer.begin_transaction()
    producer._held = None
    for topic, key, value in records:
        producer.produce(topic, value, key)
    if owner == "task":
        producer.commit_transaction()
    return producer


def lost(log: Log) -> str:
    state = TaskState(model="1", model_hash="", seen={TARGETS: {"actors/0": 1}})
    connect = clients.Connect(consumer=lambda _, options: Consumer(log, options))  # type: ignore[arg-type,return-value]
    return lost_records(KafkaSettings(), NAMES, {}, 0, TARGETS, state, connect)


def test_a_record_that_is_neither_read_nor_there_is_lost(log: Log) -> None:
    assert lost(log) == "records 2 to 2 of actors/0 are gone"


def test_a_record_behind_somebody_elses_open_transaction_is_there(log: Log) -> None:
    write(log, "another", (NAMES.targets_lane, b"actors/1:1", b""))
    write(log, "task", (NAMES.targets_lane, b"actors/0:2", b""))
    assert lost(log) == ""
