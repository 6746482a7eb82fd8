"""What sees a fault from outside: the incidents' topic, alerts that reached an Alertmanager, a partner's webhook."""

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self

import httpx
from confluent_kafka import OFFSET_BEGINNING, TopicPartition

from schemas.incident import Incident, decode_incident
from streams import clients
from streams.names import Names
from streams.settings import KafkaSettings

HTTP_SECONDS: Final = 2.0


class Incidents:
    """Follows `incidents.v1` as a partner does."""

    def __init__(self, kafka: KafkaSettings, names: Names) -> None:
        self._reader = clients.consumer(kafka, {"group.id": "drill"})
        self._reader.assign([TopicPartition(names.incidents, 0, OFFSET_BEGINNING)])

    def look(self) -> list[Incident]:
        """Return the records that are new."""
        messages = self._reader.consume(1_000, 0.05)
        return [decode_incident(message.value() or b"") for message in messages if message.error() is None]

    def close(self) -> None:
        self._reader.close()


class Alerts:
    """Asks an Alertmanager which alerts fire."""

    def __init__(self, address: str) -> None:
        self._address = address

    def firing(self) -> dict[str, Mapping[str, str]]:
        """Return the labels of each alert that fires, by its name; inhibited ones too."""
        answer = httpx.get(f"{self._address}/api/v2/alerts", timeout=HTTP_SECONDS).raise_for_status()
        return {alert["labels"]["alertname"]: alert["labels"] for alert in answer.json()}


@dataclass(frozen=True, slots=True)
class Delivery:
    """One request that came."""

    at_seconds: float
    """By the monotonic clock."""
    headers: Mapping[str, str]
    """By their names in lower case."""
    body: Any


@dataclass(slots=True)
class Webhook:
    """A partner's address; leaving it closes it."""

    deliveries: list[Delivery] = field(default_factory=list)
    _server: ThreadingHTTPServer = field(init=False)

    def __post_init__(self) -> None:
        deliveries = self.deliveries

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                deliveries.append(Delivery(time.monotonic(), headers, json.loads(body)))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
