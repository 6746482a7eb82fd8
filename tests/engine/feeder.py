"""Sends interactions at a steady pace while a test does harm to the roles."""

import itertools
import threading
import time
from collections.abc import Iterable
from typing import Final, Self

from clout.sender import RAW_PRODUCER_OPTIONS, RawSender
from clout.snap import RawEvent
from streams import clients
from tests.roles import Installation

_SLICE_SECONDS: Final = 0.1


class Feeder:
    """A collector in a thread; leaving it waits until the broker has all that was sent."""

    def __init__(self, installation: Installation, events: Iterable[RawEvent], *, events_per_second: int) -> None:
        """Prepare to send these events to the network twitter."""
        producer = clients.producer(installation.settings.kafka, RAW_PRODUCER_OPTIONS)
        self._sender = RawSender(producer, installation.names.interactions("twitter"))
        self._events = iter(events)
        self._slice = round(events_per_second * _SLICE_SECONDS)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    @property
    def sent(self) -> int:
        """How many events were sent."""
        return self._sender.sent_records

    @property
    def done(self) -> bool:
        """Whether there is no event left."""
        return not self._thread.is_alive()

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Send no more."""
        self._stop.set()
        self._thread.join()
        self._sender.close()

    def finish(self) -> None:
        """Wait until all events are sent."""
        self._thread.join()

    def _run(self) -> None:
        begun = time.monotonic()
        for number in itertools.count(1):
            chosen = list(itertools.islice(self._events, self._slice))
            for key, value, _ in chosen:
                self._sender.send(key, value)
            self._sender.poll()
            if not chosen or self._stop.wait(max(0.0, begun + number * _SLICE_SECONDS - time.monotonic())):
                return
