"""What ingest has committed is read from Kafka whole, also while its next transaction is under way."""

import threading
import time
from contextlib import closing

from confluent_kafka import TopicPartition

from streams import clients, topics
from streams.feed_position import FeedPosition, encode
from streams.names import Names
from streams.progress_reader import ProgressReader
from streams.settings import KafkaSettings, LaneSettings, NetworkSettings


def test_what_a_transaction_holds_back_is_waited_for_and_not_taken_for_nothing(kafka_settings: KafkaSettings) -> None:
    names, networks = Names(kafka_settings.prefix, "1"), {"one": NetworkSettings()}
    lanes = LaneSettings(partitions=1)
    topics.create(kafka_settings, topics.specification(names, lanes, networks))
    consumer = clients.consumer(kafka_settings, {"group.id": names.ingest_group})
    consumer.subscribe([names.interactions("one")])
    deadline = time.monotonic() + 20
    while not consumer.assignment():
        assert time.monotonic() < deadline
        consumer.poll(0.1)
    producer = clients.producer(kafka_settings, {"transactional.id": f"{kafka_settings.prefix}test"})
    producer.init_transactions()

    def begin(read: int) -> None:
        place = TopicPartition(
            names.interactions("one"), 0, read, encode(FeedPosition(sent=[read], counters={"read": read}))
        )
        producer.begin_transaction()
        producer.send_offsets_to_transaction([place], consumer.consumer_group_metadata())

    with closing(ProgressReader(kafka_settings, names, networks, 1)) as reader:
        begin(3)
        producer.commit_transaction()
        assert [feed.position.counters["read"] for feed in reader.feeds() if feed.position.sent != [0]] == [3]
        begin(5)
        later = threading.Timer(0.5, producer.commit_transaction)
        later.start()
        assert [feed.position.counters["read"] for feed in reader.feeds() if feed.position.sent != [0]] == [5]
        later.join()
    consumer.close()
