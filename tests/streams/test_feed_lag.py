"""What lies unread shows, also where no fetch tells of it."""

from collections.abc import Callable
from contextlib import closing

import pytest
from confluent_kafka import TopicPartition

from streams import clients, feed_lag
from streams.feed import Feed
from streams.feed_lag import FeedLag
from streams.feed_position import FeedPosition
from streams.metrics import IngestMetrics
from streams.settings import KafkaSettings


def test_a_raw_partition_that_is_not_fetched_shows_its_lag(
    monkeypatch: pytest.MonkeyPatch, kafka_settings: KafkaSettings, make_topic: Callable[..., str]
) -> None:
    monkeypatch.setattr(feed_lag, "_LOOK_SECONDS", 0.0)
    monkeypatch.setattr(feed_lag, "_ASK_EVERY_SECONDS", 0.0)
    topic = make_topic("interactions")
    feed, metrics = Feed("twitter", 0, FeedPosition([0])), IngestMetrics(["twitter"])
    lag = FeedLag(metrics, ["twitter"])
    with closing(clients.consumer(kafka_settings, {"group.id": "reads"})) as consumer:
        at = TopicPartition(topic, 0, 0)
        consumer.assign([at])
        consumer.pause([at])
        for value in (b"1", b"2"):
            assert not clients.write_one(kafka_settings, topic, value, partition=0, timeout_seconds=10)
            lag.observe(consumer, {(topic, 0): feed})
    assert feed.lag_records == 2
    assert metrics.registry.get_sample_value("clout_raw_lag_records", {"network": "twitter"}) == 2
