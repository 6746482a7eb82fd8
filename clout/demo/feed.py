"""Plays the made-up population into the networks' topics, at its pace, in a thread of its own."""

import threading
import time
from typing import Final

from confluent_kafka import Producer

from clout.demo.population import Population, encoded
from clout.heartbeats import Heartbeats
from clout.replay import Pace
from clout.sender import RawSender
from streams.errors import CloutError
from streams.names import Names

HEARTBEAT_SOURCE: Final = "demo"
NAP_SECONDS_MAX: Final = 0.1
TIMES_CHECKED_EVERY_EVENTS: Final = 16
"""Only every so many events wait for their turn: they come by the thousand a second."""


class Feed:
    """Sends the population's interactions until all are sent or it is stopped."""

    def __init__(self, population: Population, producer: Producer, names: Names, *, factor: float) -> None:
        """Prepare to play `factor` times as fast as life."""
        self._population = population
        networks = population.settings.networks
        self._senders = [RawSender(producer, names.interactions(network)) for network in networks]
        began = time.monotonic()
        self._heartbeats = [
            Heartbeats(sender.send_to_all_partitions, HEARTBEAT_SOURCE, began) for sender in self._senders
        ]
        self._pace = Pace(factor)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
        self.time_ms = population.settings.start_ms
        """Event time reached."""
        self.failure: CloutError | None = None

    @property
    def sent_events(self) -> int:
        """Events given to the producer so far."""
        return sum(sender.sent_records for sender in self._senders)

    @property
    def running(self) -> bool:
        """Whether more is to come."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin; the first event is sent now."""
        self._thread.start()

    def stop(self) -> None:
        """Send nothing more, and return when the broker has what was sent."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._play()
            for heartbeats in self._heartbeats:
                heartbeats.end()
            for sender in self._senders:
                sender.close()
        except CloutError as error:
            self.failure = error

    def _play(self) -> None:
        number = 0
        # The clock starts with the first hour, however empty it is.
        self._pace.wait_seconds(self.time_ms, time.monotonic())
        for rows in self._population.interactions():
            for time_ms, network, key, value in encoded(self._population, rows, number):
                number += 1
                if number % TIMES_CHECKED_EVERY_EVENTS == 0:
                    self._reach(time_ms)
                    self._wait(time_ms)
                    if self._stopped.is_set():
                        return
                self._senders[network].send(key, value)
            if len(rows):
                self._reach(int(rows.time_ms[-1]))

    def _reach(self, time_ms: int) -> None:
        """Take in that all events before this time were sent: each network's heartbeats say so, however quiet it is."""
        self.time_ms = time_ms
        now = time.monotonic()
        for heartbeats in self._heartbeats:
            heartbeats.reached(time_ms)
            heartbeats.beat(now)

    def _wait(self, time_ms: int) -> None:
        while (nap := self._pace.wait_seconds(time_ms, time.monotonic())) > 0 and not self._stopped.is_set():
            self._senders[0].poll()
            self._stopped.wait(min(nap, NAP_SECONDS_MAX))
