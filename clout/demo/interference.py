"""Carries out what is ordered of a feed: stands between its events and the topics, and changes nothing otherwise."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from clout.demo.faults import FEED_FAULTS, Scene
from clout.demo.orders import Mailbox, Order, Report
from clout.demo.population import Event

LOOK_SECONDS: Final = 0.1
TELL_SECONDS: Final = 0.5
RECENT_EVENTS: Final = 5_000
"""Events of each network that a storm can draw on."""


class Interference:
    """The fault that a feed has right now, if it has one."""

    def __init__(
        self, mailbox: Mailbox | None, networks: Sequence[str], wall_clock: Callable[[], float] = time.time
    ) -> None:
        """Look for orders in a mailbox; without one there are none."""
        self._mailbox = mailbox
        self._networks = networks
        self._wall_clock = wall_clock
        self._recent: list[deque[Event]] = [deque(maxlen=RECENT_EVENTS) for _ in networks]
        self._order: Order | None = None
        self._network = -1
        self._scene: Scene | None = None
        self._mute: tuple[int, ...] = ()
        self._looked_at = self._told_at = 0.0
        self._events = self._sent = 0

    def look(self) -> Sequence[Event]:
        """Look for orders, if it is time; return what a fault held back that is over now."""
        now = self._wall_clock()
        if self._mailbox is None or 0 <= now - self._looked_at < LOOK_SECONDS:
            return ()
        self._looked_at = now
        order = self._mailbox.order()
        if order is not None and (now >= order.until_seconds or not self._can(order)):
            order = None
        if order == self._order:
            if order is not None and now - self._told_at >= TELL_SECONDS:
                self._tell(ended=False)
            return ()
        held = self.end()
        if order is not None:
            self._begin(order)
        return held

    def instead(self, event: Event) -> Sequence[Event]:
        """Return what is sent instead of an event: mostly itself."""
        if event.network != self._network or self._order is None or self._scene is None:
            self._recent[event.network].append(event)
            return (event,)
        sent = FEED_FAULTS[self._order.fault].instead(event, self._scene)
        self._events += 1
        self._sent += len(sent)
        return sent

    def is_mute(self, network: int, collector: int) -> bool:
        """Return whether a collector sends no heartbeats."""
        return network == self._network and collector in self._mute

    def end(self) -> Sequence[Event]:
        """End the fault, if there is one, and return what it held back."""
        if self._scene is None:
            return ()
        held = self._scene.held
        self._sent += len(held)
        self._tell(ended=True)
        self._order, self._scene, self._network, self._mute = None, None, -1, ()
        return held

    def _can(self, order: Order) -> bool:
        return order.fault in FEED_FAULTS and order.network in self._networks

    def _begin(self, order: Order) -> None:
        fault = FEED_FAULTS[order.fault]
        self._order, self._network, self._mute = order, self._networks.index(order.network), fault.mute
        self._events = self._sent = 0
        self._scene = Scene(
            seed=order.seed,
            share=fault.share if order.share is None else order.share,
            recent=tuple(self._recent[self._network]),
            now_ms=lambda: int(self._wall_clock() * 1000),
        )
        self._tell(ended=False)

    def _tell(self, *, ended: bool) -> None:
        if self._mailbox is not None and self._order is not None:
            self._told_at = self._wall_clock()
            self._mailbox.tell(Report(id=self._order.id, events=self._events, sent=self._sent, ended=ended))
