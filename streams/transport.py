"""Faust's Kafka transport with what a partition task needs of its consumer.

Faust reads uncommitted records unless its own exactly-once mode is on (which has open defects), and it seeks to the
group's committed offsets, where the truth lies in each task's state.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import faust
from faust.exceptions import ConsumerNotStarted
from faust.transport.drivers import aiokafka as driver
from faust.types import TP


class Positions(Protocol):
    """What the consumer asks of the partitions it reads for."""

    revocations: int
    """How many revokes there were."""

    def is_ready(self, tp: TP) -> bool:
        """Return whether the partition is restored and may flow."""

    def next_offsets(self, assignment: Iterable[TP]) -> Mapping[TP, int]:
        """Return where to read on, for the partitions that are ready."""

    def opened(self, partitions: Iterable[int], generation: int) -> None:
        """Hear that the consumer stands at those offsets in this generation."""


def make_transport(positions: Callable[[], Positions]) -> type[driver.Transport]:
    """Return a transport class whose consumer serves these positions."""

    class ReadCommittedThread(driver.AIOKafkaConsumerThread):
        def _create_worker_consumer(self, transport: Any) -> Any:
            consumer = super()._create_worker_consumer(transport)
            consumer._isolation_level = "read_committed"  # noqa: SLF001  no setting reaches it
            return consumer

    class Consumer(driver.Consumer):
        def _new_consumer_thread(self) -> Any:
            return ReadCommittedThread(self, loop=self.loop, beacon=self.beacon)

        def assignment(self) -> set[TP]:
            """Return what is assigned: nothing while the consumer's thread is not up, where Faust would crash."""
            try:
                return set(super().assignment())
            except ConsumerNotStarted:
                return set()

        def resume_partitions(self, tps: Iterable[TP]) -> None:
            """Resume those that are restored; the others are resumed when they are."""
            super().resume_partitions({tp for tp in tps if positions().is_ready(tp)})

        async def perform_seek(self) -> None:
            """Seek to the tasks' own positions, and only then let them accept.

            Faust may call it twice in a generation, and the second time may last beyond a revoke, after which nothing
            is accepted before the next generation's own seek.
            """
            begun = positions().revocations
            await super().perform_seek()
            offsets = dict(positions().next_offsets(self.assignment()))
            if offsets:
                await self.seek_wait(offsets)
            if positions().revocations == begun:
                positions().opened({tp.partition for tp in offsets}, self.app.consumer_generation_id)

    transport: type[driver.Transport] = type("Transport", (driver.Transport,), {"Consumer": Consumer})
    return transport


class App(faust.App):
    """A Faust app that reads through `transport_class`."""

    transport_class: type[driver.Transport]

    def _new_transport(self) -> Any:
        return self.transport_class(self.conf.broker_consumer, self, loop=self.loop)


class Process(faust.Worker):
    """Faust's process runner, which leaves logging as it is set up and shows no spinner."""

    def __init__(self, app: App) -> None:
        """Run this app."""
        super().__init__(app, redirect_stdouts=False, quiet=True)
        self.spinner = None

    def _setup_logging(self) -> None:
        """Nothing: log lines of all libraries go one way already."""
