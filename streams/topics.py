"""Every topic's specification: how it is created, and what is checked before a role starts.

Topics are created once and never altered: partition counts decide where a user's state lives.

Retention acts on closed segments, so what a topic holds is gone `retention.ms` and `segment.ms` after it came. A
compacted topic is cleaned within `max.compaction.lag.ms`, and what then stands for a deleted row goes after
`delete.retention.ms`. `docs/privacy.md` promises these times, so none of them may be longer than here.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType  # type: ignore[attr-defined]

from schemas.times import HOUR_MS
from streams.clients import KAFKA, Connect, admin
from streams.errors import CloutError
from streams.names import Names
from streams.settings import KafkaSettings, LaneSettings, NetworkSettings

DAY_MS: Final = 86_400_000
WHOLE_MS: Final = 7 * DAY_MS
"""For so long the change topic keeps every change; of older ones it may keep only each user's last."""
RECORD_BYTES_MAX: Final = 1 << 20
"""Largest record batch of interactions, and of what the guard writes."""
BATCH_BYTES_MAX: Final = 8 << 20
"""Largest record batch of what a task writes: `streams.opening` says why it is to be large."""
DEAD_LETTER_BYTES_MAX: Final = 8 << 20
"""A dead letter is larger than its original: headers come on top, and it may compress less well."""
GUARD_STATE_BYTES_MAX: Final = 8 << 20
"""What one detector of the guard may learn."""
METADATA_SECONDS: Final = 10.0
REQUEST_SECONDS: Final = 30.0

_ARRIVAL: Final = {"message.timestamp.type": "LogAppendTime"}
_FEED: Final = {
    **_ARRIVAL,
    "cleanup.policy": "delete",
    "retention.ms": str(7 * DAY_MS),
    "segment.ms": str(DAY_MS),
}
_CONTROL: Final = {
    **_ARRIVAL,
    "cleanup.policy": "delete",
    "retention.ms": str(DAY_MS),
    "segment.ms": str(HOUR_MS),
}
"""Commands name users, also those who are to be forgotten: nothing is kept for longer than it takes to obey."""
_CONTROL_RECORD: Final = {
    "cleanup.policy": "delete",
    "retention.ms": str(365 * DAY_MS),
    "segment.ms": str(7 * DAY_MS),
}
_DEAD_LETTERS: Final = {
    "cleanup.policy": "delete",
    "retention.ms": str(30 * DAY_MS),
    "segment.ms": str(DAY_MS),
    "max.message.bytes": str(DEAD_LETTER_BYTES_MAX),
}
_POPULATION: Final = {
    "cleanup.policy": "compact",
    "max.compaction.lag.ms": str(DAY_MS),
    "delete.retention.ms": str(DAY_MS),
    "segment.ms": str(DAY_MS),
}
_INCIDENTS: Final = {
    "cleanup.policy": "delete",
    "retention.ms": str(30 * DAY_MS),
    "segment.ms": str(DAY_MS),
}
"""Incidents name the users whom they touch, so they are kept no longer than dead letters."""
_INCIDENT_USERS: Final = {
    "cleanup.policy": "compact,delete",
    "retention.ms": str(30 * DAY_MS),
    "max.compaction.lag.ms": str(DAY_MS),
    "delete.retention.ms": str(DAY_MS),
    "segment.ms": str(DAY_MS),
}
_GUARD_INCIDENTS: Final = {**_POPULATION, "max.message.bytes": str(RECORD_BYTES_MAX)}
_REPORTS: Final = {
    "cleanup.policy": "delete",
    "retention.ms": str(7 * DAY_MS),
    "segment.ms": str(DAY_MS),
}
_GUARD_STATES: Final = {**_POPULATION, "max.message.bytes": str(GUARD_STATE_BYTES_MAX)}
_EXACT: Final[tuple[str, ...]] = ("cleanup.policy", "message.timestamp.type")
_AT_LEAST: Final[tuple[str, ...]] = ("delete.retention.ms", "max.message.bytes", "min.compaction.lag.ms")
_AT_MOST: Final[tuple[str, ...]] = ("delete.retention.ms", "max.compaction.lag.ms", "retention.ms", "segment.ms")


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic as it must be. `fixed` says that it must have exactly this partition count."""

    name: str
    partitions: int
    config: dict[str, str] = field(default_factory=dict)
    fixed: bool = False


def specification(names: Names, lanes: LaneSettings, networks: dict[str, NetworkSettings]) -> list[TopicSpec]:
    """All topics of an installation and model.

    >>> specs = specification(Names("", "1"), LaneSettings(), {"twitter": NetworkSettings()})
    >>> [spec.name for spec in specs][:2]
    ['interactions.twitter.v1', 'interactions.twitter.dlq.v1']
    """
    feed = {**_FEED, "max.message.bytes": str(RECORD_BYTES_MAX)}
    by_task = {"max.message.bytes": str(BATCH_BYTES_MAX)}
    lane = _FEED | by_task
    state = {
        **by_task,
        "cleanup.policy": "compact",
        # A local state older than half of this is rebuilt: it could have missed a deletion.
        "delete.retention.ms": str(7 * DAY_MS),
        # A restore reads the whole log: less of it is out of date.
        "min.cleanable.dirty.ratio": "0.2",
        "max.compaction.lag.ms": str(DAY_MS),
        "segment.ms": str(DAY_MS),
    }
    changes = {
        **by_task,
        "cleanup.policy": "compact",
        "min.compaction.lag.ms": str(WHOLE_MS),
        # A segment holds a day, and its youngest record is as old as the lag on the eighth.
        "max.compaction.lag.ms": str(9 * DAY_MS),
        "delete.retention.ms": str(DAY_MS),
        "segment.ms": str(DAY_MS),
    }
    specs = []
    for network, settings in networks.items():
        specs.append(TopicSpec(names.interactions(network), settings.raw_partitions, feed))
        specs.append(TopicSpec(names.dead_letters(network), 1, _DEAD_LETTERS))
    return [
        *specs,
        TopicSpec(names.control, 1, _CONTROL, fixed=True),
        TopicSpec(names.control_record, 1, _CONTROL_RECORD, fixed=True),
        TopicSpec(names.control_dead_letters, 1, _DEAD_LETTERS),
        TopicSpec(names.actors_lane, lanes.partitions, lane, fixed=True),
        TopicSpec(names.targets_lane, lanes.partitions, lane, fixed=True),
        TopicSpec(names.state, lanes.partitions, state, fixed=True),
        TopicSpec(names.changes, lanes.partitions, changes, fixed=True),
        TopicSpec(names.lane_dead_letters, 1, _DEAD_LETTERS),
        TopicSpec(names.population, 1, _POPULATION | by_task, fixed=True),
        TopicSpec(names.incidents, 1, _INCIDENTS | by_task, fixed=True),
        TopicSpec(names.incident_users, 1, _INCIDENT_USERS),
        TopicSpec(names.feeds, 1, _REPORTS, fixed=True),
        TopicSpec(names.canaries, 1, _REPORTS | by_task, fixed=True),
        TopicSpec(names.webhook_dead_letters, 1, _DEAD_LETTERS),
        TopicSpec(names.access, 1, _POPULATION, fixed=True),
        TopicSpec(names.guard_states, 1, _GUARD_STATES, fixed=True),
        TopicSpec(names.guard_incidents, 1, _GUARD_INCIDENTS, fixed=True),
    ]


def create(kafka: KafkaSettings, specs: Iterable[TopicSpec]) -> list[str]:
    """Create the topics that are missing and return their names; those that exist stay as they are."""
    client = admin(kafka)
    present = partition_counts(client)
    return make(client, [spec for spec in specs if spec.name not in present], kafka.replication_factor)


def make(client: AdminClient, specs: Sequence[TopicSpec], replication_factor: int) -> list[str]:
    """Create these topics and return their names; one that another process just created is passed over."""
    if not specs:
        return []
    new = [
        NewTopic(spec.name, num_partitions=spec.partitions, replication_factor=replication_factor, config=spec.config)
        for spec in specs
    ]
    made = []
    for name, future in client.create_topics(new, operation_timeout=REQUEST_SECONDS).items():
        try:
            future.result(REQUEST_SECONDS)
            made.append(name)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise CloutError(f"topic {name} cannot be created", detail=error.args[0].str()) from error
    _wait_until_visible(client, {spec.name for spec in specs})
    return made


def check(kafka: KafkaSettings, specs: Sequence[TopicSpec], connect: Connect = KAFKA) -> list[CloutError]:
    """What is wrong with the topics, one error each; empty when all is well."""
    client = connect.admin(kafka)
    present = partition_counts(client)
    configs = _configs(client, [spec.name for spec in specs if spec.name in present])
    problems = []
    for spec in specs:
        if spec.name not in present:
            problems.append(CloutError(f"topic {spec.name} is missing", hint="run `clout topics create`"))
            continue
        if spec.fixed and present[spec.name] != spec.partitions:
            problems.append(_wrong_partitions(spec, present[spec.name]))
        problems += _wrong_configs(spec, configs[spec.name])
    return problems


def require(kafka: KafkaSettings, specs: Sequence[TopicSpec], connect: Connect = KAFKA) -> None:
    """Raise when a topic is not as it must be: a role checks this before it starts."""
    problems = check(kafka, specs, connect)
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise CloutError(
            f"{len(problems)} topics are not as they must be",
            detail="; ".join(problem.error for problem in problems),
            hint="; ".join(dict.fromkeys(problem.hint for problem in problems)),
        )


def topic_id(client: AdminClient, name: str) -> str:
    """The id that Kafka gave the topic when it was created: another one means another topic of the same name."""
    try:
        described = client.describe_topics(TopicCollection([name]))[name].result(REQUEST_SECONDS)
    except KafkaException as error:
        raise CloutError(f"topic {name} cannot be described", detail=error.args[0].str()) from error
    except TimeoutError as error:
        raise CloutError(
            f"topic {name} cannot be described", detail=f"no answer within {REQUEST_SECONDS:g} seconds"
        ) from error
    return str(described.topic_id)


def _wait_until_visible(client: AdminClient, names: set[str]) -> None:
    """Creation is the controller's word; brokers, and so all clients, learn of it a moment later."""
    deadline = time.monotonic() + REQUEST_SECONDS
    while True:
        topics = client.list_topics(timeout=METADATA_SECONDS).topics
        led = {name for name, topic in topics.items() if all(part.leader >= 0 for part in topic.partitions.values())}
        if names <= led:
            return
        if time.monotonic() > deadline:
            raise CloutError(
                "topics that were created have not appeared",
                detail=", ".join(sorted(names - led)),
                hint="look at the brokers' logs, then run `clout topics create` again",
            )
        time.sleep(0.02)


def partition_counts(client: AdminClient) -> dict[str, int]:
    """Partition count of each topic in the cluster."""
    try:
        topics = client.list_topics(timeout=METADATA_SECONDS).topics
    except KafkaException as error:
        raise CloutError(
            "Kafka does not answer", detail=error.args[0].str(), hint="check the broker's address and that it runs"
        ) from error
    return {name: len(topic.partitions) for name, topic in topics.items()}


def _configs(client: AdminClient, names: Sequence[str]) -> dict[str, dict[str, str]]:
    if not names:
        return {}
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    found = {}
    for resource, future in client.describe_configs(resources).items():
        entries = future.result(REQUEST_SECONDS)
        found[resource.name] = {key: str(entry.value) for key, entry in entries.items()}
    return found


def _wrong_partitions(spec: TopicSpec, partitions: int) -> CloutError:
    return CloutError(
        f"topic {spec.name} has {partitions} partitions, not {spec.partitions}",
        detail="lanes, state and changes have the partition count of lanes.partitions, for the life of the topics; "
        "the control topic and those that the guard reads together have one",
        hint=f"set lanes.partitions to the count that the topics were made with (here {partitions}), "
        "or use another prefix and start anew",
    )


def _wrong_configs(spec: TopicSpec, found: dict[str, str]) -> list[CloutError]:
    wrong = {key: spec.config[key] for key in _EXACT if key in spec.config and found[key] != spec.config[key]}
    wrong |= {
        key: spec.config[key] for key in _AT_LEAST if key in spec.config and int(found[key]) < int(spec.config[key])
    }
    wrong |= {
        key: spec.config[key]
        for key in _AT_MOST
        if key in spec.config and not 0 <= int(found[key]) <= int(spec.config[key])
    }
    return [
        CloutError(
            f"topic {spec.name} has {key}={found[key]}, not {value}",
            hint=f"set it with your cluster's tools, for instance "
            f"kafka-configs.sh --alter --topic {spec.name} --add-config {key}={value}",
        )
        for key, value in wrong.items()
    ]
