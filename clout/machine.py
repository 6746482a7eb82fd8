"""Everything on one machine: the broker if there is none, the topics, the roles, and signals that end it all."""

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import FrameType, TracebackType
from typing import Final, Self

from clout.broker import LocalBroker
from clout.leash import leash
from clout.ports import free_port, is_taken
from clout.supervisor import RoleSpec
from streams.settings import GatewaySettings, KafkaSettings

ENDING_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopSignals:
    """Notes the first signal that asks this process to end, instead of ending in the middle of something."""

    def __init__(self, then: Callable[[], None] | None = None) -> None:
        """Take over the signals when entered; `then` is called with the first."""
        self._then = then
        self.received: signal.Signals | None = None
        self._former: dict[signal.Signals, object] = {}

    def __enter__(self) -> Self:
        """Take over the signals."""
        for number in ENDING_SIGNALS:
            self._former[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the signals back."""
        for number, former in self._former.items():
            signal.signal(number, former)  # type: ignore[arg-type]

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.received = self.received or signal.Signals(number)
        if self._then is not None:
            self._then()

    @property
    def exit_code(self) -> int:
        """Exit code that the signal asks for: 130 after Ctrl-C, else 0."""
        return 130 if self.received == signal.SIGINT else 0


@contextlib.contextmanager
def broker_at_hand(kafka: KafkaSettings, broker: LocalBroker) -> Iterator[KafkaSettings]:
    """Give settings with a broker's address: the one set, the local one that runs, or one started for the time being.

    A broker that was started here is stopped at the end, even if this process is killed.
    """
    if kafka.broker:
        yield kafka
        return
    running = broker.running()
    if running is not None:
        yield replace(kafka, broker=running.address)
        return
    rope = leash(broker)
    try:
        yield replace(kafka, broker=broker.up().address)
    finally:
        broker.down()
        rope.communicate()


def role_specs(
    arguments: Sequence[str],
    *,
    ingests: int,
    workers: int,
    guards: Sequence[int],
    environment: Mapping[str, str],
    gateways: Sequence[int] = (),
) -> list[RoleSpec]:
    """Make the roles of one machine; `arguments` are global options of the command, `guards`, `gateways` their ports.

    Those come back at the same address when they are started again: pages and streams wait for them there.
    """
    # Roles of one machine cannot share a port; where none is given, each takes a free one and announces it.
    free = {"CLOUT_HTTP__PORT": "0"}
    roles = (
        ("ingest", "ingest", [free] * ingests),
        ("score", "score", [free] * workers),
        ("guard", "guard", [{"CLOUT_HTTP__PORT": str(port)} for port in guards]),
        ("gateway", "serve", [{**free, "CLOUT_GATEWAY__PORT": str(port)} for port in gateways]),
    )
    return [
        RoleSpec(
            f"{role}-{slot}",
            role,
            [sys.executable, "-m", "clout", *arguments, command, "--slot", str(slot)],
            {**environment, **ports},
        )
        for role, command, slots in roles
        for slot, ports in enumerate(slots)
    ]


def gateway_ports(settings: GatewaySettings, count: int, *, or_free: bool = False) -> list[int]:
    """Return a port for each gateway: the configured one and those after it, or free ones where that is 0.

    With `or_free`, one that is taken is replaced by a free one too.
    """
    configured = [settings.port + slot if settings.port else 0 for slot in range(count)]
    return [
        port if port and not (or_free and is_taken(settings.host, port)) else free_port(settings.host)
        for port in configured
    ]
