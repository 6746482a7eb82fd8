"""A collector that has nothing to report but that it is alive, once a second."""

import threading
import time
from typing import Final, Self

from bench.load import NETWORK, RAW_PARTITIONS
from bench.site import Installation
from clout.heartbeats import heartbeat
from clout.sender import RAW_PRODUCER_OPTIONS
from streams import clients

_EVERY_SECONDS: Final = 1.0


class Heart:
    """Beats in a thread while it is entered."""

    def __init__(self, installation: Installation) -> None:
        self.sent = 0
        self._producer = clients.producer(installation.kafka, RAW_PRODUCER_OPTIONS)
        self._topic = installation.names.interactions(NETWORK)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(_EVERY_SECONDS):
            value = heartbeat("bench", int(time.time() * 1000))
            for partition in range(RAW_PARTITIONS):
                self._producer.produce(self._topic, value, partition=partition)
            self.sent += RAW_PARTITIONS
            self._producer.flush(10)
