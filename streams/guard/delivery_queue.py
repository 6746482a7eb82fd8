"""What one partner is still to be told: deliveries in order of incident, each with the time of its next attempt.

Pure: time and chance are arguments. Deliveries about one incident keep their order; one that fails holds up only those
about the same incident.
"""

import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

DELIVERIES_WAITING_MAX: Final = 1_000
"""Deliveries to one partner that wait, or are tried again."""


class Delivery(NamedTuple):
    """What is to be delivered, in whatever many attempts."""

    id: str
    incident: str
    body: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class BackOff:
    """How long to wait after an attempt that failed: doubled each time, and at random at most halved."""

    first_seconds: float = 2.0
    seconds_max: float = 300.0
    attempts_max: int = 12
    """About 12 to 24 minutes in all."""

    def seconds(self, attempts: int, chance: float) -> float:
        """Return the wait after so many attempts; `chance` is from 0 to 1.

        >>> [BackOff().seconds(attempts, 1.0) for attempts in (1, 2, 3, 12)]
        [2.0, 4.0, 8.0, 300.0]
        >>> BackOff().seconds(1, 0.0)
        1.0
        """
        return min(self.seconds_max, self.first_seconds * 2.0 ** (attempts - 1)) * (1 + chance) / 2


@dataclass(slots=True)
class Waiting:
    """A delivery that has not arrived yet."""

    delivery: Delivery
    due_s: float
    attempts: int = 0


class DeliveryQueue:
    """Deliveries to one partner that have not arrived.

    >>> queue = DeliveryQueue(limit=2, back_off=BackOff(), random=lambda: 1.0)
    >>> [queue.put(Delivery(name, "incident", b""), now_s=0.0) for name in ("a", "b", "c")]
    [True, True, False]
    >>> first = queue.due(now_s=0.0)
    >>> first.delivery.id, queue.failed(first, now_s=0.0), queue.next_due_s(), queue.due(now_s=1.0)
    ('a', True, 2.0, None)
    """

    def __init__(self, *, limit: int, back_off: BackOff, random: Callable[[], float]) -> None:
        self._limit, self._back_off, self._random = limit, back_off, random
        self._of_incident: dict[str, deque[Waiting]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def put(self, delivery: Delivery, now_s: float) -> bool:
        """Add a delivery; return whether there was room."""
        if self._count >= self._limit:
            return False
        self._of_incident.setdefault(delivery.incident, deque()).append(Waiting(delivery, now_s))
        self._count += 1
        return True

    def next_due_s(self) -> float:
        """Return when the next attempt is due; infinite when nothing waits."""
        return min((waiting[0].due_s for waiting in self._of_incident.values()), default=math.inf)

    def due(self, now_s: float) -> Waiting | None:
        """Return a delivery whose attempt is due, the longest overdue first; it stays until `end`."""
        heads = [waiting[0] for waiting in self._of_incident.values() if waiting[0].due_s <= now_s]
        return min(heads, key=lambda head: head.due_s, default=None)

    def failed(self, waiting: Waiting, now_s: float) -> bool:
        """Take note that an attempt failed; return whether there will be another one."""
        waiting.attempts += 1
        if waiting.attempts >= self._back_off.attempts_max:
            return False
        waiting.due_s = now_s + self._back_off.seconds(waiting.attempts, self._random())
        return True

    def end(self, waiting: Waiting) -> None:
        """Take out a delivery that `due` returned."""
        of_incident = self._of_incident[waiting.delivery.incident]
        of_incident.popleft()
        self._count -= 1
        if not of_incident:
            del self._of_incident[waiting.delivery.incident]

    def drain(self) -> Iterator[Waiting]:
        """Take out everything."""
        for of_incident in self._of_incident.values():
            yield from of_incident
        self._of_incident.clear()
        self._count = 0
