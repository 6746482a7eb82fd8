"""What cannot be mended: records that are gone from a lane or a changelog. Those partitions refuse to start."""

from typing import Final

from confluent_kafka import TopicPartition

from streams import changelog, clients
from streams.settings import KafkaSettings
from tests.drills.feed import RAW_PARTITIONS
from tests.drills.harm import STOP_SECONDS, Harm
from tests.drills.traffic import Traffic
from tests.roles import eventually
from tests.topic_configs import set_topic_config

TRUNCATED_LANE: Final = 0
EMPTIED_CHANGELOG: Final = 1
READY_SECONDS: Final = 90.0
_REQUEST_SECONDS: Final = 10


def refusals(harm: Harm, more: Traffic) -> list[str]:
    """Take records away while no worker runs; return why their partitions stand still when one is back."""
    installation, kafka = harm.installation, harm.installation.settings.kafka
    names, partitions = installation.names, set(range(installation.settings.lanes.partitions))
    for worker in harm.workers:
        worker.stop(STOP_SECONDS)
    read = changelog.watermarks(kafka, names.actors_lane, TRUNCATED_LANE)[1]
    # Ingest goes on: what it writes now no worker has read.
    for records in more.slices(RAW_PARTITIONS):
        for partition in range(RAW_PARTITIONS):
            installation.send((value for at, value in records if at == partition), partition=partition)
    eventually(lambda: changelog.watermarks(kafka, names.actors_lane, TRUNCATED_LANE)[1] > read)
    _delete_all(kafka, names.actors_lane, TRUNCATED_LANE)
    # As a mistake of the topic's owner would: set otherwise for a moment.
    set_topic_config(kafka, names.state, "cleanup.policy", "delete")
    _delete_all(kafka, names.state, EMPTIED_CHANGELOG)
    set_topic_config(kafka, names.state, "cleanup.policy", "compact")
    worker = harm.workers[0].start()
    standing = {TRUNCATED_LANE, EMPTIED_CHANGELOG}
    eventually(
        lambda: worker.partitions("stopped").keys() == standing and worker.partitions().keys() == partitions - standing,
        seconds=READY_SECONDS,
        otherwise=worker.log,
    )
    return [str(entry["reason"]) for _, entry in sorted(worker.partitions("stopped").items())]


def _delete_all(kafka: KafkaSettings, topic: str, partition: int) -> None:
    end = changelog.watermarks(kafka, topic, partition)[1]
    admin = clients.admin(kafka)
    [deleted] = admin.delete_records([TopicPartition(topic, partition, end)]).values()
    deleted.result(_REQUEST_SECONDS)
