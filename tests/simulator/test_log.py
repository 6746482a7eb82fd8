"""The log in memory does what Kafka does, where the simulator builds on it."""

from typing import Any

import pytest
from confluent_kafka import KafkaException, TopicPartition

from streams.topics import TopicSpec
from tests.simulator.clients import Consumer, Producer
from tests.simulator.log import Log

LANE = ("lane", 0)
STATE = ("state", 0)


@pytest.fixture
def log() -> Log:
    log = Log(1_000)
    log.create([TopicSpec("lane", 1), TopicSpec("state", 1)])
    return log


def producer(log: Log) -> Producer:
    options = {"transactional.id": "task-0", "transaction.timeout.ms": 15_000}
    made = Producer(log, options, lambda _: None, {})
    made.init_transactions()
    return made


def write(producer_: Producer, *values: bytes, topic: str = "lane") -> None:
    for value in values:
        producer_.produce(topic, value, value)


def seen(log: Log, place: tuple[str, int] = LANE) -> list[bytes | None]:
    return [entry.value for entry in log.at(place).read(0, 100, committed=True)[0]]


def test_records_are_seen_together_once_their_transaction_is_committed(log: Log) -> None:
    one = producer(log)
    one.begin_transaction()
    write(one, b"a", b"b")
    assert seen(log) == []
    one.commit_transaction()
    assert seen(log) == [b"a", b"b"]


def test_a_marker_takes_an_offset(log: Log) -> None:
    one = producer(log)
    for value in (b"a", b"b"):
        one.begin_transaction()
        write(one, value)
        one.commit_transaction()
    assert [entry.offset for entry in log.at(LANE).read(0, 9, committed=True)[0]] == [0, 2]
    assert log.at(LANE).end == 4


def test_an_open_transaction_hides_what_others_committed_after_it(log: Log) -> None:
    one = producer(log)
    one.begin_transaction()
    one._held = None
    write(one, b"open")
    log.at(LANE).append((None, b"later", None), log.now_ms, None)
    assert seen(log) == []
    assert log.at(LANE).stable_end == 0


def test_a_new_owner_ends_what_the_former_one_left_and_locks_it_out(log: Log) -> None:
    former = producer(log)
    former.begin_transaction()
    former._held = None
    write(former, b"open")
    producer(log)
    write(former, b"late")
    with pytest.raises(KafkaException, match="fenced"):
        former.commit_transaction()
    assert seen(log) == []


def test_an_abandoned_transaction_ends_by_its_time_out(log: Log) -> None:
    one = producer(log)
    one.begin_transaction()
    log.now_ms += 15_000
    log.expire()
    with pytest.raises(KafkaException, match="fenced"):
        one.commit_transaction()


def test_late_markers_hide_a_committed_transaction_until_they_come(log: Log) -> None:
    log.markers_late = 1.0
    one = producer(log)
    one.begin_transaction()
    write(one, b"a")
    one.commit_transaction()
    assert seen(log) == []
    log.finish("task-0")
    assert seen(log) == [b"a"]


@pytest.mark.parametrize("trouble", ["unanswered", "answer lost"])
def test_a_commit_without_an_answer_can_be_tried_again(log: Log, trouble: str) -> None:
    one = producer(log)
    one.begin_transaction()
    write(one, b"a")
    one.trouble = trouble
    with pytest.raises(KafkaException) as raised:
        one.commit_transaction()
    assert raised.value.args[0].retriable()
    for _ in range(5):
        try:
            one.commit_transaction()
            break
        except KafkaException:
            continue
    assert seen(log) == [b"a"]


def test_offsets_of_a_generation_that_is_over_are_refused(log: Log) -> None:
    one = producer(log)
    one.begin_transaction()
    log.generations["group"] = 2
    with pytest.raises(KafkaException, match="moved on"):
        one.send_offsets_to_transaction([TopicPartition("lane", 0, 5)], ("group", 1))


def test_positions_that_an_open_transaction_would_move_cannot_be_asked_for(log: Log) -> None:
    one = producer(log)
    one.begin_transaction()
    one.send_offsets_to_transaction([TopicPartition("lane", 0, 5, "note")], ("group", 0))
    reader = Consumer(log, {"group.id": "group"})
    with pytest.raises(KafkaException, match="not stable"):
        reader.committed([TopicPartition("lane", 0)])
    one.commit_transaction()
    assert [(at.offset, at.metadata) for at in reader.committed([TopicPartition("lane", 0)])] == [(5, "note")]


def test_compaction_keeps_the_last_of_each_key_and_young_deletions(log: Log) -> None:
    state = log.at(STATE)
    for time, key, value in ((1, b"a", b"1"), (2, b"a", b"2"), (3, b"b", None), (9, b"c", None)):
        state.append((key, value, None), time, None)
    state.compact(deletions_before_ms=5)
    assert [(entry.offset, entry.value) for entry in state.entries] == [(1, b"2"), (3, None)]
    assert (state.begin, state.end) == (0, 4)


def test_a_reader_is_told_where_a_partition_ends(log: Log) -> None:
    log.at(LANE).append((b"k", b"v", None), log.now_ms, None)
    reader = Consumer(log, {"enable.partition.eof": True})
    reader.assign([TopicPartition("lane", 0, 0)])
    messages: list[Any] = reader.consume(10)
    assert [(message.offset(), message.error() is None) for message in messages] == [(0, True), (1, False)]
