"""What sees a fault from outside: the incidents' topic, alerts that reached an Alertmanager, a partner's webhook."""

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, NamedTuple, Self

import httpx
from confluent_kafka import OFFSET_BEGINNING, TopicPartition

from schemas.incident import Incident, decode_incident
from streams import clients
from streams.names import Names
from streams.settings import KafkaSettings

HTTP_SECONDS: Final = 10.0
CONSUME_SECONDS: Final = 0.05


class Incidents:
    """Follows `incidents.v1` as a partner does."""

    def __init__(self, kafka: KafkaSettings, names: Names) -> None:
        self._reader = clients.consumer(kafka, {"group.id": "drill"})
        self._reader.assign([TopicPartition(names.incidents, 0, OFFSET_BEGINNING)])

    def look(self) -> list[Incident]:
        """Return the records that are new."""
        messages = self._reader.consume(1_000, CONSUME_SECONDS)
        return [decode_incident(message.value() or b"") for message in messages if message.error() is None]

    def close(self) -> None:
        self._reader.close()


class Firing(NamedTuple):
    """An alert that fires."""

    name: str
    severity: str
    kind: str
    """Of the incident that it is about; empty where there need not be one."""
    network: str
    """Empty where it is not about one."""


class Alerts:
    """Asks an Alertmanager which alerts fire."""

    def __init__(self, address: str) -> None:
        # Kept: a client that is made anew for each look costs more than all that a look is for.
        self._client = httpx.Client(base_url=address, timeout=HTTP_SECONDS)

    def firing(self) -> set[Firing]:
        """Return the alerts that fire; inhibited ones too."""
        answer = self._client.get("/api/v2/alerts").raise_for_status()
        labels = [alert["labels"] for alert in answer.json()]
        return {Firing(of["alertname"], *(of.get(name, "") for name in Firing._fields[1:])) for of in labels}

    def close(self) -> None:
        self._client.close()


@dataclass(frozen=True, slots=True)
class Delivery:
    """One request that came."""

    at_seconds: float
    """By the monotonic clock."""
    headers: Mapping[str, str]
    """By their names in lower case."""
    body: Any
    genuine: bool
    """Whether it was signed with the partner's secret."""


@dataclass(slots=True)
class Webhook:
    """A partner's address; leaving it closes it."""

    secret: str = ""
    deliveries: list[Delivery] = field(default_factory=list)
    _server: ThreadingHTTPServer = field(init=False)

    def __post_init__(self) -> None:
        deliveries, secret = self.deliveries, self.secret

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                genuine = is_genuine(headers, body, secret)
                deliveries.append(Delivery(time.monotonic(), headers, json.loads(body), genuine))
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


def is_genuine(headers: Mapping[str, str], body: bytes, secret: str) -> bool:
    """Return whether a delivery was signed with this secret, as `docs/partners.md` tells partners to look."""
    signed = f"{headers.get('webhook-id')}.{headers.get('webhook-timestamp')}.".encode() + body
    right = base64.b64encode(hmac.digest(secret.encode(), signed, hashlib.sha256)).decode()
    return f"v1,{right}" in headers.get("webhook-signature", "").split()
