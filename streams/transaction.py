"""What a task writes within its Kafka transaction, and how the transaction ends."""

from collections.abc import Iterable
from typing import Final

import structlog
from confluent_kafka import Producer

from schemas.change import ID_HEADER, Headers, common_headers
from schemas.dead_letter import Reason
from schemas.limits import DETAIL_LENGTH_MAX
from streams import clients
from streams.intake import Accepted
from streams.names import Names
from streams.publish import Changes
from streams.store import Row
from streams.task_state import ACTORS

_log = structlog.get_logger(__name__)

_COMMIT_SECONDS: Final = 20.0
_COMMIT_RETRIES_MAX: Final = 5


def produce_changes(producer: Producer, topic: str, partition: int, changes: Changes, source: bytes) -> None:
    """Write changes with their CloudEvents headers, of which `source` names the installation and model.

    The client copies headers as it takes a record, so one dict serves all; and it reads arguments by position faster
    than by name. Together that is a third of what a change costs here.
    """
    headers: dict[str, str | bytes | None] = dict(common_headers(source))
    produce = producer.produce
    for key, value, id_ in zip(*changes, strict=True):
        if id_ is None:
            produce(topic, value, key, partition)
        else:
            headers[ID_HEADER] = id_
            produce(topic, value, key, partition, None, None, 0, headers)


def produce_rows(producer: Producer, topic: str, partition: int, rows: Iterable[Row]) -> None:
    """Write rows to the changelog; the client's call for many would want a dict made of each."""
    produce = producer.produce
    for key, value in rows:
        produce(topic, value, key, partition)


def commit_transaction(producer: Producer, partition: int, positions: dict[str, int]) -> None:
    """Commit, and try again what may be tried again; raise `KafkaException` when it failed for good."""

    def on_retry(attempt: int, reason: str) -> None:
        _log.warning("commit will be retried", partition=partition, positions=positions, attempt=attempt, reason=reason)

    clients.commit(producer, _COMMIT_SECONDS, retries_max=_COMMIT_RETRIES_MAX, on_retry=on_retry)


def letter_headers(
    names: Names, partition: int, accepted: Accepted, reason: Reason, detail: str, command: str = ""
) -> Headers:
    """Return the headers of a lane record's dead letter; `command` is the id of the one that set it aside."""
    topic = names.actors_lane if accepted.lane == ACTORS else names.targets_lane
    headers: Headers = [
        ("reason", reason.encode()),
        ("detail", detail[:DETAIL_LENGTH_MAX].encode(errors="replace")),
        ("source_topic", topic.encode()),
        ("source_partition", str(partition).encode()),
        ("source_offset", str(accepted.offset).encode()),
    ]
    return [*headers, ("command", command.encode())] if command else headers
