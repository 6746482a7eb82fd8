"""How a task's Kafka transaction ends, and how it writes lane records that go aside."""

from typing import Final

import structlog
from confluent_kafka import Producer

from schemas.change import Headers
from schemas.dead_letter import Reason
from schemas.limits import DETAIL_LENGTH_MAX
from streams import clients
from streams.intake import Accepted
from streams.names import Names
from streams.task_state import ACTORS

_log = structlog.get_logger(__name__)

_COMMIT_SECONDS: Final = 20.0
_COMMIT_RETRIES_MAX: Final = 5


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
