"""Hands changes as they come to all who want them: each is written out once, and its bytes are shared.

Everything here runs in the server's event loop; only `offer` and `end` may be called from elsewhere.
"""

import asyncio
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import numpy as np
from anyio import CapacityLimiter

from gateway.access import Access, Caller
from gateway.live.cursor import encode_cursor
from gateway.live.wants import Asked, takes_away
from gateway.metrics import GatewayMetrics
from gateway.read_model import Seen
from schemas.change import ScoreChange
from schemas.gateway import encode

QUEUE_CHANGES_MAX: Final = 1_000
"""Changes that may wait for one reader; with one more it is told to come back."""
QUEUE_BYTES_MAX: Final = 4 << 20
AT_ONCE_CHANGES: Final = QUEUE_CHANGES_MAX // 2
"""Changes handed over before streams get their turn: a batch of the reader may be more than one may have waiting.

Where small batches wait, so many of them are handed over together: a stream then sends several changes in one write.
"""
PACE_SECONDS_A_STREAM: Final = 50e-6
"""Between two times that changes are handed over, for each stream that is open: about what it takes to send to it.

With thousands of streams those that get several changes meanwhile get them in one sending.
"""
PACE_SECONDS_MAX: Final = 0.1
COMING_CHANGES_MAX: Final = 20_000
"""Changes that wait to be handed over; with more, who brings them waits too."""
_WAIT_SECONDS: Final = 0.005
SEND_SECONDS: Final = 5.0
"""A reader that takes nothing for so long is cut off."""
_WATCH_SECONDS: Final = 0.5
READERS_MAX: Final = 4
"""Streams that read what they missed at the same time; threads beside those of other requests."""


class Subscription:
    """What waits for one reader."""

    __slots__ = ("_arrived", "_bytes", "_waiting", "asked", "closed")

    def __init__(self, asked: Asked) -> None:
        """Begin with nothing waiting."""
        self.asked = asked
        self.closed = ""
        """Why nothing more comes: `slow` or `ending`."""
        self._waiting: list[bytes] = []
        self._bytes = 0
        self._arrived = asyncio.Event()

    def put(self, event: bytes) -> None:
        """Let an event wait; where there is no room for it the subscription is over."""
        self._bytes += len(event)
        if len(self._waiting) >= QUEUE_CHANGES_MAX or self._bytes > QUEUE_BYTES_MAX:
            self.close("slow")
            return
        self._waiting.append(event)
        self._arrived.set()

    def close(self, why: str) -> None:
        """Let nothing wait any more."""
        self.closed = why
        self._waiting, self._bytes = [], 0
        self._arrived.set()

    async def take(self) -> tuple[bytes, int]:
        """Return all that waits as one piece, and how many events it is, as soon as there is any; none once closed."""
        await self._arrived.wait()
        self._arrived.clear()
        piece, count = b"".join(self._waiting), len(self._waiting)
        self._waiting, self._bytes = [], 0
        return piece, count


class Hub:
    """All who listen to one gateway."""

    def __init__(self, tag: str, place: Sequence[int], access: Access, metrics: GatewayMetrics) -> None:
        """Begin at a place: the next offset of each partition."""
        self.tag = tag
        self.place = list(place)
        self._access, self._metrics = access, metrics
        self._by_user: defaultdict[str, set[Subscription]] = defaultdict(set)
        self._by_network: defaultdict[str, set[Subscription]] = defaultdict(set)
        self._others: set[Subscription] = set()
        self._moved = asyncio.Event()
        self._coming: deque[Seen] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.callers: Counter[str] = Counter()
        """Streams that are open, by whose they are; also those that are not live yet."""
        self.readers = CapacityLimiter(READERS_MAX)
        self.sending: dict[Callable[[], None], float] = {}
        """How to cut those off that are being sent something, and since when (`time.monotonic`)."""
        self._watch: asyncio.Task[None] | None = None
        self._published_at = 0.0

    def begin(self) -> None:
        """Run in this loop from now on."""
        self._loop = asyncio.get_running_loop()
        self._watch = self._loop.create_task(self._cut_off())

    def offer(self, changes: Sequence[Seen]) -> None:
        """Take changes that are in the read model, in their order, from a thread beside the loop's.

        It returns when few enough wait: a loop that has much to send holds up who reads, instead of filling memory.
        """
        loop = self._loop
        while loop is not None and loop.is_running() and len(self._coming) > COMING_CHANGES_MAX:
            time.sleep(_WAIT_SECONDS)
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._take, changes)

    def cursor(self) -> str:
        """Return the place as an id of an event."""
        return encode_cursor(self.tag, self.place)

    def enter(self, caller: str) -> None:
        """Count a stream that is open from now on."""
        self.callers[caller] += 1
        self._metrics.streams.inc()

    def leave(self, caller: str) -> None:
        """Count a stream no more."""
        self._metrics.streams.dec()
        self.callers[caller] -= 1
        if not self.callers[caller]:
            del self.callers[caller]

    def add(self, asked: Asked) -> Subscription:
        """Let somebody listen from the present place on."""
        subscription = Subscription(asked)
        for group in self._groups(asked):
            group.add(subscription)
        return subscription

    def drop(self, subscription: Subscription) -> None:
        """Let somebody listen no more."""
        for group in self._groups(subscription.asked):
            group.discard(subscription)
        for user in subscription.asked.wants.users:
            if not self._by_user[user]:
                del self._by_user[user]

    def end(self) -> None:
        """Tell all that this gateway ends; any thread may."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        for group in (*self._by_user.values(), *self._by_network.values(), self._others):
            for subscription in group:
                subscription.close("ending")

    async def _cut_off(self) -> None:
        """Cut readers off that take nothing: one look at all of them costs less than a timer for each sending."""
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            too_long = time.monotonic() - SEND_SECONDS
            for abort in [abort for abort, since in self.sending.items() if since < too_long]:
                del self.sending[abort]
                self._metrics.slow.inc()
                abort()

    async def reached(self, place: Sequence[int], seconds: float) -> bool:
        """Return whether the hub comes to a place within a time."""
        try:
            async with asyncio.timeout(seconds):
                while any(mine < theirs for mine, theirs in zip(self.place, place, strict=True)):
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            return False
        return True

    def _take(self, changes: Sequence[Seen]) -> None:
        """Let changes be handed over, some at once and the streams' own turns in between.

        Not here: while the loop was busy many batches may have come, all of which are taken before any stream's turn.
        """
        if not self._coming and changes:
            loop = asyncio.get_running_loop()
            pace = min(PACE_SECONDS_MAX, self.callers.total() * PACE_SECONDS_A_STREAM)
            loop.call_at(max(loop.time(), self._published_at + pace), self._go_on)
        self._coming += changes

    def _go_on(self) -> None:
        self._published_at = asyncio.get_running_loop().time()
        changes = [self._coming.popleft() for _ in range(min(AT_ONCE_CHANGES, len(self._coming)))]
        self.publish(changes)
        written = np.array([seen.written_ms for seen in changes]) / 1000
        self._metrics.change_to_streams.observe(np.maximum(time.time() - written, 0.0))
        if self._coming:
            asyncio.get_running_loop().call_soon(self._go_on)

    def publish(self, changes: Sequence[Seen]) -> None:
        """Hand changes over, in their order."""
        place, offsets = self.place, [str(offset) for offset in self.place]
        begin = f"id: {self.tag}-"
        for seen in changes:
            place[seen.partition] = seen.offset + 1
            offsets[seen.partition] = str(seen.offset + 1)
            heard = self._listeners(seen.change)
            if heard:
                self._hand_over(seen, f"{begin}{'.'.join(offsets)}\n", heard)
        self._moved.set()

    def _listeners(self, change: ScoreChange) -> list[Subscription]:
        found: list[Subscription] = list(self._by_user.get(change.user, ()))
        if self._by_network:
            names: Iterable[str] = self._by_network if takes_away(change) else change.networks
            for name in names:
                found += self._by_network.get(name, ())
        return [*found, *self._others] if self._others else found

    def _hand_over(self, seen: Seen, head: str, heard: Iterable[Subscription]) -> None:
        written: dict[bool, bytes | None] = {}
        for subscription in heard:
            asked = subscription.asked
            if subscription.closed or not asked.wants.meets(seen.change):
                continue
            # What callers are told differs only by whether they see private users.
            kind = asked.caller.may_see_private
            if kind not in written:
                written[kind] = rendered(self._access, seen.change, seen.value, head, asked.caller)
            event = written[kind]
            if event is not None:
                subscription.put(event)

    def _groups(self, asked: Asked) -> list[set[Subscription]]:
        wants = asked.wants
        if wants.users:
            return [self._by_user[user] for user in wants.users]
        return [self._others if wants.network is None else self._by_network[wants.network]]


def rendered(
    access: Access, change: ScoreChange, value: bytes, head: str, caller: Caller, name: str = "change"
) -> bytes | None:
    """Write a change as an event; None where the caller is not to hear of it. `head` is its line with the id."""
    if not access.visible(change.user, caller):
        return None
    told = access.masked(change, caller)
    data = value if told is change else encode(told)
    return b"".join((head.encode(), f"event: {name}\ndata: ".encode(), data, b"\n\n"))
