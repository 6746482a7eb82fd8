"""Sends what synthetic accounts do to the raw topics, as a collector would."""

from collections.abc import Sequence
from typing import Final

import structlog
from confluent_kafka import KafkaError, KafkaException, Message

from streams import clients
from streams.guard.canary_records import CanaryRecord
from streams.names import Names
from streams.settings import KafkaSettings

_CLOSE_SECONDS: Final = 5.0
_DELIVERY_MS: Final = 20_000
"""Shorter than after what time an act is sent again: of one that is, nothing is left under way."""

_log: Final = structlog.get_logger(__name__)


class CanarySender:
    """A producer of raw records; what is lost is sent again by the schedule, and counts once."""

    def __init__(self, kafka: KafkaSettings, names: Names) -> None:
        """Open the producer."""
        options = {"enable.idempotence": True, "linger.ms": 0, "delivery.timeout.ms": _DELIVERY_MS}
        self._producer = clients.producer(kafka, options)
        self._names = names

    def send(self, records: Sequence[CanaryRecord]) -> None:
        """Queue records, and say what became of former ones; never waits."""
        for record in records:
            try:
                self._producer.produce(
                    self._names.interactions(record.network),
                    record.value,
                    partition=record.raw_partition,
                    headers=list(record.headers),
                    on_delivery=_say_what_is_lost,
                )
            except (BufferError, KafkaException) as error:
                _log.warning("a synthetic interaction was not sent", network=record.network, reason=str(error))
        self._producer.poll(0)

    def close(self) -> None:
        """Send what is queued, or give it up soon."""
        self._producer.flush(_CLOSE_SECONDS)


def _say_what_is_lost(error: KafkaError | None, message: Message) -> None:
    if error is not None:
        _log.warning("a synthetic interaction was not delivered", topic=message.topic(), reason=error.str())
