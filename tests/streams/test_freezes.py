"""What frozen networks are, and that a consumer stops and goes on where it must, on a real Kafka."""

import secrets
from collections.abc import Iterator
from contextlib import closing

import pytest
from confluent_kafka import Consumer, KafkaError, TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from schemas.control import CommandRecord, encode_record
from streams import clients
from streams.feed import Feed
from streams.feed_position import FeedPosition
from streams.freezes import Freezes, Orders
from streams.names import Names
from streams.settings import KafkaSettings
from streams.topics import TopicSpec, make

RECORDS = 5_000
TAKEN = 100


def order(epoch: int, command: str, network: str = "bad", *, accepted: bool = True) -> CommandRecord:
    return CommandRecord(
        id=str(epoch),
        command=command,  # type: ignore[arg-type]
        subject="",
        key="ops",
        reason=f"reason {epoch}",
        issued="",
        received=f"2026-01-01T00:00:{epoch:02d}.000Z",
        epoch=epoch,
        accepted=accepted,
        why=None if accepted else "not_permitted",
        network=network,
    )


ORDERS = st.lists(
    st.tuples(st.sampled_from(["freeze", "resume", "note"]), st.sampled_from(["a", "b"]), st.booleans()), max_size=20
)


@given(ORDERS, st.randoms())
def test_the_latest_accepted_order_of_a_network_decides_in_whatever_order_they_are_read(drawn, random) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    records = [order(at, command, network, accepted=accepted) for at, (command, network, accepted) in enumerate(drawn)]
    expected = {}
    for record in records:
        if record.accepted and record.command != "note":
            expected[record.network] = record.command == "freeze"
    random.shuffle(records)
    orders = Orders()
    for record in records:
        orders.heed(record)
    assert set(orders.frozen) == {network for network, frozen in expected.items() if frozen}


def test_a_network_frozen_twice_is_so_since_the_first_time_and_for_the_last_reason() -> None:
    orders = Orders()
    assert [orders.heed(order(at, "freeze")) for at in (1, 2)] == [True, True]
    frozen = orders.frozen["bad"]
    assert (frozen.since, frozen.reason, frozen.epoch) == ("2026-01-01T00:00:01.000Z", "reason 2", 2)


class Place:
    """A network's topic and the public record, on the broker."""

    def __init__(self, broker: str) -> None:
        self.kafka = KafkaSettings(broker=broker, prefix=f"t{secrets.token_hex(4)}-")
        self.names = Names(self.kafka.prefix, "1")
        self.topic = self.names.interactions("bad")
        make(clients.admin(self.kafka), [TopicSpec(self.topic, 1), TopicSpec(self.names.control_record, 1)], 1)
        self.write(self.topic, [str(number).encode() for number in range(RECORDS)])

    def write(self, topic: str, values: list[bytes]) -> None:
        producer = clients.producer(self.kafka)
        for value in values:
            producer.produce(topic, value)
        assert producer.flush(10) == 0

    def consumer(self) -> Consumer:
        options = {"group.id": "reads", "queued.min.messages": 100_000, "enable.partition.eof": True}
        consumer = clients.consumer(self.kafka, options)
        consumer.assign([TopicPartition(self.topic, 0, 0)])
        return consumer


@pytest.fixture
def place(broker: str) -> Place:
    return Place(broker)


@pytest.fixture
def freezes(place: Place) -> Iterator[Freezes]:
    with closing(Freezes(place.kafka, place.names)) as freezes:
        yield freezes


def offsets(consumer: Consumer, count: int, seconds: float = 10.0) -> list[int | None]:
    return [message.offset() for message in consumer.consume(count, seconds) if message.error() is None]


def test_orders_are_known_before_the_first_record_and_when_they_come(place: Place, freezes: Freezes) -> None:
    place.write(place.names.control_record, [encode_record(order(1, "freeze")), b"not one of ours"])
    freezes.open()
    assert set(freezes.frozen) == {"bad"}
    place.write(place.names.control_record, [encode_record(order(2, "resume"))])
    while not freezes.poll():
        pass
    assert not freezes.frozen
    freezes.open()
    assert not freezes.frozen


def test_after_a_freeze_reading_goes_on_with_the_first_record_that_was_not_taken(
    place: Place, freezes: Freezes
) -> None:
    with closing(place.consumer()) as consumer:
        taken = offsets(consumer, TAKEN)
        feed = Feed("bad", TAKEN, FeedPosition([0]), at_end=True)
        feeds = {(place.topic, 0): feed}
        # Of the batch in hand when the order comes nothing is taken.
        dropped = offsets(consumer, TAKEN)
        freezes._orders.heed(order(1, "freeze"))
        freezes.apply(consumer, feeds)
        assert (feed.frozen, feed.at_end) == (True, False)
        assert not offsets(consumer, RECORDS, 0.5)
        freezes._orders.heed(order(2, "resume"))
        freezes.apply(consumer, feeds)
        taken += offsets(consumer, RECORDS - TAKEN)
    assert dropped == list(range(TAKEN, 2 * TAKEN))
    assert taken == list(range(RECORDS))
    assert not feed.frozen


def test_a_raw_partition_that_was_frozen_is_read_when_it_comes_back_after_the_order_has_ended(
    place: Place, freezes: Freezes
) -> None:
    with closing(place.consumer()) as consumer:
        feed = Feed("bad", RECORDS, FeedPosition([0]), at_end=True)
        freezes._orders.heed(order(1, "freeze"))
        freezes.apply(consumer, {(place.topic, 0): feed})
        freezes.let_go(consumer, TopicPartition(place.topic, 0), feed)
        freezes._orders.heed(order(2, "resume"))
        freezes.apply(consumer, {})
        consumer.assign([TopicPartition(place.topic, 0, TAKEN)])
        assert offsets(consumer, RECORDS - TAKEN) == list(range(TAKEN, RECORDS))


def test_a_feed_at_its_end_that_was_frozen_and_resumed_is_said_to_be_at_its_end_again(
    place: Place, freezes: Freezes
) -> None:
    with closing(place.consumer()) as consumer:
        assert len(offsets(consumer, RECORDS)) == RECORDS
        [end] = consumer.consume(1, 10)
        feed = Feed("bad", RECORDS, FeedPosition([0]), at_end=True)
        for epoch, command in enumerate(["freeze", "resume"]):
            freezes._orders.heed(order(epoch, command))
            freezes.apply(consumer, {(place.topic, 0): feed})
        [again] = consumer.consume(1, 10)
    errors = [(message.error() or KafkaError(KafkaError.UNKNOWN), message.offset()) for message in (end, again)]
    assert [(error.code(), offset) for error, offset in errors] == [(KafkaError._PARTITION_EOF, RECORDS)] * 2
