"""The dead letter topic of webhooks: what could not be delivered to a partner, and why."""

from typing import Any, Final, Protocol

import structlog

from schemas.webhook import Undelivered, UndeliveredHeaders, encode_undelivered
from streams import clients
from streams.guard.delivery_queue import Delivery
from streams.names import Names
from streams.settings import KafkaSettings

_log: Final = structlog.get_logger(__name__)

_CLOSE_SECONDS: Final = 5.0


class Aside(Protocol):
    """Where deliveries go that cannot be delivered."""

    def put(self, webhook: str, delivery: Delivery, reason: Undelivered, detail: str, attempts: int) -> None:
        """Set a delivery aside; it must not block."""

    def poll(self) -> None:
        """Look what became of those set aside; called about once a second."""

    def close(self) -> None:
        """Wait, not for long, until all are written."""


class UndeliveredTopic:
    """Writes them to Kafka, in the background; what Kafka does not take is logged, with its id."""

    def __init__(self, kafka: KafkaSettings, names: Names) -> None:
        """Connect."""
        self._topic = names.webhook_dead_letters
        self._producer = clients.producer(kafka, {"enable.idempotence": True, "linger.ms": 5})

    def put(self, webhook: str, delivery: Delivery, reason: Undelivered, detail: str, attempts: int) -> None:
        """Hand a delivery to the Kafka client."""
        headers = UndeliveredHeaders(webhook=webhook, id=delivery.id, reason=reason, detail=detail, attempts=attempts)

        def written(error: Any, _: Any) -> None:
            if error is not None:
                _lost(webhook, delivery, error.str())

        try:
            self._producer.produce(
                self._topic, delivery.body, delivery.incident, headers=encode_undelivered(headers), on_delivery=written
            )
        except BufferError as error:
            _lost(webhook, delivery, str(error))

    def poll(self) -> None:
        """Look what became of those set aside."""
        self._producer.poll(0)

    def close(self) -> None:
        """Wait until all are written; log how many were not in time."""
        if left := self._producer.flush(_CLOSE_SECONDS):
            _log.error("undelivered webhook messages could not be written", count=left)


def _lost(webhook: str, delivery: Delivery, reason: str) -> None:
    _log.error(
        "an undelivered webhook message could not be written",
        webhook=webhook,
        id=delivery.id,
        incident=delivery.incident,
        reason=reason,
    )
