"""Plays the made-up population into the networks' topics, at its pace, in a thread of its own."""

import threading
import time
from collections.abc import Iterable
from typing import Final

from confluent_kafka import Producer

from clout.demo.interference import Interference
from clout.demo.orders import Mailbox
from clout.demo.population import COLLECTORS, Event, Population, encoded
from clout.heartbeats import Heartbeats
from clout.replay import Pace
from clout.sender import RawSender
from streams.errors import CloutError
from streams.names import Names

NAP_SECONDS_MAX: Final = 0.1
TIMES_CHECKED_EVERY_EVENTS: Final = 16
"""Only every so many events wait for their turn: they come by the thousand a second."""


class Feed:
    """Sends the population's interactions until all are sent or it is to finish; its collectors live until it stops."""

    def __init__(
        self,
        population: Population,
        producer: Producer,
        names: Names,
        *,
        factor: float,
        mailbox: Mailbox | None = None,
    ) -> None:
        """Prepare to play `factor` times as fast as life, with the faults that come by the mailbox."""
        self._population = population
        networks = population.settings.networks
        self._senders = [RawSender(producer, names.interactions(network)) for network in networks]
        began = time.monotonic()
        self._heartbeats = {
            (network, number): Heartbeats(sender.send_to_all_partitions, name, began)
            for network, sender in enumerate(self._senders)
            for number, name in enumerate(COLLECTORS)
        }
        self._interference = Interference(mailbox, networks)
        self._pace = Pace(factor)
        self._finished, self._stopped = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
        self.time_ms = population.settings.start_ms
        """Event time reached."""
        self.made_events = 0
        """Events of the population whose turn has come."""
        self.failure: CloutError | None = None

    @property
    def sent_events(self) -> int:
        """Events given to the producer so far."""
        return sum(sender.sent_records for sender in self._senders)

    @property
    def running(self) -> bool:
        """Whether more events are to come."""
        return self._thread.is_alive() and not self._finished.is_set()

    def go_at(self, factor: float) -> None:
        """Play on so many times as fast as life, from the event whose turn it is."""
        self._pace = Pace(factor)

    def start(self) -> None:
        """Begin; the first event is sent now."""
        self._thread.start()

    def finish(self) -> None:
        """Send no more events. Heartbeats go on: who falls silent altogether is a fault to the guard."""
        self._finished.set()

    def stop(self) -> None:
        """Send nothing more, and return when the broker has what was sent."""
        self._finished.set()
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._play()
            self._send(self._interference.end())
            self._finished.set()
            self._rest()
            for heartbeats in self._heartbeats.values():
                heartbeats.reached(self.time_ms)
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
            for event in encoded(self._population, rows, number):
                number += 1
                if number % TIMES_CHECKED_EVERY_EVENTS == 0:
                    self._reach(event.time_ms)
                    self._wait(event.time_ms)
                    if self._finished.is_set():
                        return
                self._send(self._interference.instead(event))
                self.made_events = number
            if len(rows):
                self._reach(int(rows.time_ms[-1]))

    def _reach(self, time_ms: int) -> None:
        """Take in that all events before this time were sent: each collector's heartbeats say so, however quiet it is.

        A mute one says so when it is back, behind what it held.
        """
        self.time_ms = time_ms
        self._send(self._interference.look())
        self._beat(time.monotonic())

    def _beat(self, now: float) -> None:
        for (network, collector), heartbeats in self._heartbeats.items():
            if not self._interference.is_mute(network, collector):
                heartbeats.reached(self.time_ms)
                heartbeats.beat(now)

    def _rest(self) -> None:
        """Let collectors say that nothing happens, while time goes on as in life."""
        began_ms, began = self.time_ms, time.monotonic()
        while not self._stopped.wait(NAP_SECONDS_MAX):
            now = time.monotonic()
            self.time_ms = began_ms + int((now - began) * 1000)
            self._beat(now)
            self._senders[0].poll()

    def _send(self, events: Iterable[Event]) -> None:
        for event in events:
            self._senders[event.network].send(event.key, event.value)

    def _wait(self, time_ms: int) -> None:
        while (nap := self._pace.wait_seconds(time_ms, time.monotonic())) > 0 and not self._finished.is_set():
            self._senders[0].poll()
            self._send(self._interference.look())
            self._finished.wait(min(nap, NAP_SECONDS_MAX))
