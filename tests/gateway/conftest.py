"""A gateway as the process it is, on a change topic that a test writes."""

import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from confluent_kafka import KafkaError, Message

from clout.config import Settings
from clout.loopback import http
from schemas.access import SCOPES
from schemas.change import Cause, Subscores, change_headers, encode_change
from schemas.users import partition_of
from streams import clients
from streams.settings import GatewaySettings, KafkaSettings, NetworkSettings
from tests.roles import Installation, Role, eventually

BEGIN_MS: Final = 1_750_000_000_000
_DEFAULT_PARTS: Final = Subscores(30.0, 25.0, 20.0)


@dataclass
class Publisher:
    """Writes score changes as the workers do, with the sequence and the score before that each user has."""

    settings: Settings

    def __post_init__(self) -> None:
        self._producer = clients.producer(self.settings.kafka)
        self._last: dict[str, tuple[int, float | None]] = {}
        self.ends: dict[int, int] = {}
        """Offset after the last change written, by partition."""

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        assert error is None, error
        partition, offset = message.partition(), message.offset()
        assert partition is not None
        assert offset is not None
        self.ends[partition] = max(self.ends.get(partition, 0), offset + 1)

    def change(
        self,
        user: str,
        score: float | None,
        *,
        at_ms: int = BEGIN_MS,
        cause: Cause = "interaction",
        networks: dict[str, float] | None = None,
        **more: Any,
    ) -> int:
        """Write a change and return its sequence; `flush` makes sure that Kafka has it."""
        sequence, previous = self._last.get(user, (0, None))
        sequence += 1
        self._last[user] = (sequence, score)
        parts = None if score is None else _DEFAULT_PARTS
        if networks is None:
            networks = {} if score is None else {"twitter": score}
        value = encode_change(user, sequence, score, previous, parts, networks, at_ms, cause, "1", **more)
        names = self.settings.names
        while True:
            try:
                self._producer.produce(
                    names.changes,
                    value,
                    user.encode(),
                    partition=partition_of(user.encode(), self.settings.lanes.partitions),
                    headers=change_headers(user, sequence, b"/clout/1"),
                    on_delivery=self._delivered,
                )
            except BufferError:
                self._producer.poll(0.1)
            else:
                return sequence

    def flush(self) -> None:
        """Return when Kafka has all."""
        assert self._producer.flush(20) == 0


@dataclass
class Served:
    """A running gateway."""

    installation: Installation
    role: Role
    publisher: Publisher

    @property
    def url(self) -> str:
        """Where it is asked."""
        return f"http://{self.role.status()['public_address']}"

    def get(self, path: str, **options: Any) -> httpx.Response:
        """Ask it."""
        return http().get(f"{self.url}{path}", timeout=10, **options)

    def publish(self, changes: Iterable[tuple[str, float | None]]) -> None:
        """Write changes, and return when the gateway has them."""
        for user, score in changes:
            self.publisher.change(user, score)
        self.catch_up()

    def catch_up(self) -> None:
        """Return when the gateway has all that was written."""
        self.publisher.flush()
        ends = self.publisher.ends

        def has_all() -> bool:
            positions = self.role.status()["positions"]
            return all(positions.get(str(partition), 0) >= end for partition, end in ends.items())

        eventually(has_all, otherwise=self.role.log)


Serve = Callable[..., Served]


@pytest.fixture(scope="module")
def serve(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Starts gateways that end with the module: `serve(gateway=GatewaySettings(…))`."""
    with ExitStack() as stack:

        def make(*, directory: Path | None = None, **settings: Any) -> Served:
            kafka = KafkaSettings(broker=broker, prefix=f"t{secrets.token_hex(4)}-")
            given: dict[str, Any] = {
                "kafka": kafka,
                "networks": {"twitter": NetworkSettings()},
                "gateway": GatewaySettings(port=0, anonymous_scopes=SCOPES),
            }
            made = Settings(data_dir=directory or tmp_path_factory.mktemp("gateway"), **(given | settings))
            installation = stack.enter_context(Installation(made))
            role = installation.role("gateway-0", ["serve"]).start().wait_until_ready()
            return Served(installation, role, Publisher(made))

        yield make
