"""A topic's configuration set otherwise, as an owner's mistake would."""

from typing import Final

from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from streams import clients
from streams.settings import KafkaSettings
from tests.roles import eventually

_REQUEST_SECONDS: Final = 10


def set_topic_config(kafka: KafkaSettings, topic: str, name: str, value: str) -> None:
    """Set one value of a topic, and wait until the broker tells it: the controller answers before brokers know."""
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin = clients.admin(kafka)
    [altered] = admin.incremental_alter_configs([resource]).values()
    altered.result(_REQUEST_SECONDS)

    def told() -> bool:
        [described] = admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]).values()
        return bool(described.result(_REQUEST_SECONDS)[name].value == value)

    eventually(told)
