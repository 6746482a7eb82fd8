"""Carries out what is ordered of feeds: stands between their events and the topics, and changes nothing otherwise.

Each network has one fault at a time, whoever ordered it; an order for a network that has one is refused.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from clout.demo.faults import FEED_FAULTS, FeedFault, Scene
from clout.demo.orders import Mailbox, Order, Report
from clout.demo.population import Event

LOOK_SECONDS: Final = 0.1
TELL_SECONDS: Final = 0.5
RECENT_EVENTS: Final = 5_000
"""Events of each network that a storm can draw on."""


@dataclass(slots=True)
class _UnderWay:
    """A network's fault, and what has come of it."""

    order: Order
    fault: FeedFault
    scene: Scene
    told_at: float = 0.0
    events: int = 0
    sent: int = 0


class Interference:
    """The faults that feeds have right now, if they have any."""

    def __init__(
        self, mailbox: Mailbox | None, networks: Sequence[str], wall_clock: Callable[[], float] = time.time
    ) -> None:
        """Look for orders in a mailbox; without one there are none."""
        self._mailbox = mailbox
        self._networks = networks
        self._wall_clock = wall_clock
        self._recent: list[deque[Event]] = [deque(maxlen=RECENT_EVENTS) for _ in networks]
        self._under_way: dict[int, _UnderWay] = {}
        self._looked_at = 0.0

    def look(self) -> Sequence[Event]:
        """Look for orders, if it is time; return what faults held back that are over now."""
        now = self._wall_clock()
        if self._mailbox is None or 0 <= now - self._looked_at < LOOK_SECONDS:
            return ()
        self._looked_at = now
        orders = self._standing(self._mailbox, now)
        ids = {order.id for order in orders}
        over = [network for network, of in self._under_way.items() if of.order.id not in ids]
        held = [event for network in over for event in self._end(network)]
        for order in orders:
            network = self._networks.index(order.network)
            under_way = self._under_way.get(network)
            if under_way is None:
                self._begin(network, order)
            elif under_way.order.id != order.id:
                self._mailbox.tell(Report(id=order.id, ended=True, behind=under_way.order))
                # Or it would begin when the other is over, with nobody to wait for it.
                self._mailbox.withdraw(order)
            elif now - under_way.told_at >= TELL_SECONDS:
                self._tell(under_way, ended=False)
        return held

    def instead(self, event: Event) -> Sequence[Event]:
        """Return what is sent instead of an event: mostly itself."""
        under_way = self._under_way.get(event.network)
        if under_way is None:
            self._recent[event.network].append(event)
            return (event,)
        sent = under_way.fault.instead(event, under_way.scene)
        under_way.events += 1
        under_way.sent += len(sent)
        return sent

    def is_mute(self, network: int, collector: int) -> bool:
        """Return whether a collector sends no heartbeats."""
        under_way = self._under_way.get(network)
        return under_way is not None and collector in under_way.fault.mute

    def end(self) -> Sequence[Event]:
        """End all faults, and return what they held back."""
        return [event for network in list(self._under_way) for event in self._end(network)]

    def _standing(self, mailbox: Mailbox, now: float) -> list[Order]:
        """Return the orders that can be carried out and whose time is not over."""
        standing = []
        for order in mailbox.orders():
            if now >= order.until_seconds:
                # Whoever gave it may be gone.
                mailbox.withdraw(order)
            elif order.fault in FEED_FAULTS and order.network in self._networks:
                standing.append(order)
        return standing

    def _begin(self, network: int, order: Order) -> None:
        fault = FEED_FAULTS[order.fault]
        scene = Scene(
            seed=order.seed,
            share=fault.share if order.share is None else order.share,
            recent=tuple(self._recent[network]),
            now_ms=lambda: int(self._wall_clock() * 1000),
        )
        self._under_way[network] = under_way = _UnderWay(order, fault, scene)
        self._tell(under_way, ended=False)

    def _end(self, network: int) -> list[Event]:
        under_way = self._under_way.pop(network)
        held = under_way.scene.held
        under_way.sent += len(held)
        self._tell(under_way, ended=True)
        return held

    def _tell(self, of: _UnderWay, *, ended: bool) -> None:
        if self._mailbox is not None:
            of.told_at = self._wall_clock()
            self._mailbox.tell(Report(id=of.order.id, events=of.events, sent=of.sent, ended=ended))
