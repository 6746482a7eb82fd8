from dataclasses import replace

import pytest

from streams.clients import admin, producer
from streams.errors import CloutError
from streams.names import Names
from streams.settings import KafkaSettings, LaneSettings, NetworkSettings
from streams.topics import DAY_MS, TopicSpec, check, create, require, specification, topic_id


@pytest.fixture
def specs(kafka_settings: KafkaSettings) -> list[TopicSpec]:
    networks = {"twitter": NetworkSettings(raw_partitions=3), "mastodon": NetworkSettings(raw_partitions=1)}
    return specification(Names(kafka_settings.prefix, "1"), LaneSettings(partitions=2), networks)


def altered(specs: list[TopicSpec], ending: str, **config: str) -> list[TopicSpec]:
    """The specification with other settings for one topic; None leaves one out."""
    return [replace(spec, config={**spec.config, **config}) if spec.name.endswith(ending) else spec for spec in specs]


def test_created_topics_are_as_they_must_be(kafka_settings: KafkaSettings, specs: list[TopicSpec]) -> None:
    made = create(kafka_settings, specs)
    assert sorted(made) == sorted(spec.name for spec in specs)
    assert check(kafka_settings, specs) == []


def test_creating_again_creates_nothing(kafka_settings: KafkaSettings, specs: list[TopicSpec]) -> None:
    create(kafka_settings, specs)
    assert create(kafka_settings, specs) == []


def test_a_missing_topic_is_named_with_the_command_that_makes_it(
    kafka_settings: KafkaSettings, specs: list[TopicSpec]
) -> None:
    create(kafka_settings, specs[1:])
    (problem,) = check(kafka_settings, specs)
    assert specs[0].name in problem.error
    assert "clout topics create" in problem.hint


@pytest.mark.parametrize("lane", ["lanes.actors.v1", "lanes.targets.v1", "scores.state.v1", "scores.changes.v1"])
def test_a_lane_with_another_partition_count_is_a_problem(
    kafka_settings: KafkaSettings, specs: list[TopicSpec], lane: str
) -> None:
    create(kafka_settings, [replace(spec, partitions=3) if spec.name.endswith(lane) else spec for spec in specs])
    (problem,) = check(kafka_settings, specs)
    assert problem.error == f"topic {kafka_settings.prefix}{lane} has 3 partitions, not 2"


def test_a_network_may_have_any_number_of_partitions(kafka_settings: KafkaSettings, specs: list[TopicSpec]) -> None:
    create(kafka_settings, [spec if spec.fixed else replace(spec, partitions=5) for spec in specs])
    assert check(kafka_settings, specs) == []


@pytest.mark.parametrize("topic", ["interactions.twitter.v1", "lanes.actors.v1", "lanes.targets.v1"])
def test_arrival_times_that_are_not_the_brokers_are_a_problem(
    kafka_settings: KafkaSettings, specs: list[TopicSpec], topic: str
) -> None:
    create(kafka_settings, altered(specs, topic, **{"message.timestamp.type": "CreateTime"}))
    (problem,) = check(kafka_settings, specs)
    assert problem.error.endswith("has message.timestamp.type=CreateTime, not LogAppendTime")


@pytest.mark.parametrize("topic", ["scores.state.v1", "scores.changes.v1"])
def test_a_changelog_that_is_deleted_by_age_is_a_problem(
    kafka_settings: KafkaSettings, specs: list[TopicSpec], topic: str
) -> None:
    create(kafka_settings, altered(specs, topic, **{"cleanup.policy": "delete"}))
    (problem,) = check(kafka_settings, specs)
    assert "cleanup.policy=delete" in problem.error


def test_longer_than_asked_is_no_problem(kafka_settings: KafkaSettings, specs: list[TopicSpec]) -> None:
    create(kafka_settings, altered(specs, "scores.changes.v1", **{"min.compaction.lag.ms": str(8 * DAY_MS)}))
    assert check(kafka_settings, specs) == []


@pytest.mark.parametrize(
    ("topic", "key", "value"),
    [
        ("interactions.twitter.v1", "retention.ms", -1),
        ("interactions.twitter.dlq.v1", "retention.ms", 31 * DAY_MS),
        ("lanes.actors.v1", "segment.ms", 2 * DAY_MS),
        ("scores.changes.v1", "max.compaction.lag.ms", 10 * DAY_MS),
        ("scores.state.v1", "delete.retention.ms", 8 * DAY_MS),
    ],
)
def test_what_names_users_kept_for_longer_than_promised_is_a_problem(
    kafka_settings: KafkaSettings, specs: list[TopicSpec], topic: str, key: str, value: int
) -> None:
    create(kafka_settings, altered(specs, topic, **{key: str(value)}))
    (problem,) = check(kafka_settings, specs)
    assert f"{topic} has {key}={value}, not " in problem.error


def test_a_role_does_not_start_on_wrong_topics(kafka_settings: KafkaSettings, specs: list[TopicSpec]) -> None:
    with pytest.raises(CloutError) as caught:
        require(kafka_settings, specs)
    assert f"{len(specs)} topics" in caught.value.error
    assert caught.value.hint == "run `clout topics create`"


def test_a_topic_made_again_has_another_id(kafka_settings: KafkaSettings) -> None:
    client = admin(kafka_settings)
    spec = TopicSpec(f"{kafka_settings.prefix}again", 1)
    create(kafka_settings, [spec])
    former = topic_id(client, spec.name)
    client.delete_topics([spec.name])[spec.name].result(30)
    while spec.name in client.list_topics(timeout=10).topics:
        pass
    create(kafka_settings, [spec])
    assert topic_id(client, spec.name) != former


def test_the_id_of_a_missing_topic_is_an_error(kafka_settings: KafkaSettings) -> None:
    with pytest.raises(CloutError, match="cannot be described"):
        topic_id(admin(kafka_settings), f"{kafka_settings.prefix}absent")


def test_kafka_that_does_not_answer_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.topics.METADATA_SECONDS", 0.5)
    with pytest.raises(CloutError, match="does not answer"):
        check(KafkaSettings(broker="127.0.0.1:1"), [TopicSpec("any", 1)])


def test_an_option_that_the_client_does_not_know_is_an_error() -> None:
    with pytest.raises(CloutError, match="refuses its options") as caught:
        producer(KafkaSettings(broker="127.0.0.1:1", options={"sasl.pasword": "x"}))
    assert "sasl.pasword" in caught.value.detail
