"""What the roles refuse before they start; what ingest does is in tests/engine."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition

from clout.config import Settings
from streams import clients
from streams.feed_position import FeedPosition, encode
from streams.settings import KafkaSettings, NetworkSettings
from tests.roles import Installation
from tests.topic_configs import set_topic_config


@pytest.fixture
def installation(kafka_settings: KafkaSettings, tmp_path: Path) -> Iterator[Installation]:
    settings = Settings(data_dir=tmp_path, kafka=kafka_settings, networks={"twitter": NetworkSettings()})
    with Installation(settings) as installation:
        yield installation


Spoil = Callable[[Installation], Installation]


def other_partition_count(installation: Installation) -> Installation:
    settings = installation.settings
    installation.settings = settings.model_copy(update={"lanes": replace(settings.lanes, partitions=8)})
    return installation


def times_of_the_sender(installation: Installation) -> Installation:
    topic = installation.names.interactions("twitter")
    set_topic_config(installation.settings.kafka, topic, "message.timestamp.type", "CreateTime")
    return installation


def times_of_the_sender_in_a_lane(installation: Installation) -> Installation:
    topic = installation.names.targets_lane
    set_topic_config(installation.settings.kafka, topic, "message.timestamp.type", "CreateTime")
    return installation


@pytest.mark.parametrize(
    ("role", "spoil", "error", "hint"),
    [
        ("ingest", other_partition_count, "4 topics are not as they must be", "set lanes.partitions to the count"),
        ("score", other_partition_count, "4 topics are not as they must be", "set lanes.partitions to the count"),
        ("ingest", times_of_the_sender, "message.timestamp.type=CreateTime, not LogAppendTime", "--add-config"),
        (
            "score",
            times_of_the_sender_in_a_lane,
            "message.timestamp.type=CreateTime, not LogAppendTime",
            "--add-config",
        ),
    ],
)
def test_a_role_refuses_topics_that_are_not_as_they_must_be(
    installation: Installation, role: str, spoil: Spoil, error: str, hint: str
) -> None:
    done = spoil(installation).run(role)
    assert done.returncode == 1
    assert error in done.stderr
    assert hint in done.stderr


def test_ingest_refuses_a_feed_that_ends_before_what_it_has_read(installation: Installation) -> None:
    group = clients.consumer(installation.settings.kafka, {"group.id": installation.names.ingest_group})
    topic = installation.names.interactions("twitter")
    group.commit(offsets=[TopicPartition(topic, 1, 7, encode(FeedPosition([1] * 4)))], asynchronous=False)
    group.close()
    done = installation.run("ingest")
    assert done.returncode == 1
    assert f"{topic} [1] ends before what ingest has already read" in done.stderr
    assert "it ends at offset 0, the next would be 7" in done.stderr
    assert "another kafka.prefix" in done.stderr


def test_ingest_refuses_offsets_that_somebody_else_committed(installation: Installation) -> None:
    group = clients.consumer(installation.settings.kafka, {"group.id": installation.names.ingest_group})
    place = TopicPartition(installation.names.interactions("twitter"), 1, 0, "by hand")
    group.commit(offsets=[place], asynchronous=False)
    group.close()
    done = installation.run("ingest")
    assert done.returncode == 1
    assert "only ingest may commit offsets of its group" in done.stderr
