"""Sends traffic at its pace, in a thread, whatever happens to the broker meanwhile."""

import threading
import time
from typing import Final, Self

from confluent_kafka import KafkaError, Message

from clout.sender import RAW_PRODUCER_OPTIONS
from streams import clients
from tests.drills.traffic import NETWORK, SLICE_ROWS, Traffic
from tests.roles import Installation

RAW_PARTITIONS: Final = 4
_LOG_CRITICAL: Final = 2
_FOR_EVER: Final = {"message.timeout.ms": 0, "log_level": _LOG_CRITICAL}
"""What cannot be delivered now will be later: the broker comes back, and till then it need not be said."""


class Feed:
    """A collector; leaving it ends it, wherever it is."""

    def __init__(self, installation: Installation, traffic: Traffic, *, events_per_second: int) -> None:
        """Prepare; nothing is sent yet."""
        self.failures: list[KafkaError] = []
        self._traffic = traffic
        self._slice_seconds = SLICE_ROWS / events_per_second
        self._topic = installation.names.interactions(NETWORK)
        self._producer = clients.producer(installation.settings.kafka, RAW_PRODUCER_OPTIONS | _FOR_EVER)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Send no more."""
        self._stop.set()
        self._thread.join()
        if self.failures:
            raise AssertionError(f"events were not delivered: {self.failures[0]}")

    @property
    def done(self) -> bool:
        """Whether the broker has everything."""
        return not self._thread.is_alive()

    def _run(self) -> None:
        begun = time.monotonic()
        for number, records in enumerate(self._traffic.slices(RAW_PARTITIONS), 1):
            for partition, value in records:
                self._produce(partition, value)
            self._producer.poll(0)
            if self._stop.wait(max(0.0, begun + number * self._slice_seconds - time.monotonic())):
                return
        while self._producer.flush(1.0) and not self._stop.is_set():
            pass

    def _produce(self, partition: int, value: bytes) -> None:
        while not self._stop.is_set():
            try:
                self._producer.produce(self._topic, value, partition=partition, on_delivery=self._delivered)
            except BufferError:
                self._producer.poll(0.1)
            else:
                return

    def _delivered(self, error: KafkaError | None, _message: Message | None) -> None:
        if error is not None:
            self.failures.append(error)
