"""The hub in an event loop of its own: what comes at once, and who is too slow for it."""

import asyncio
from collections.abc import Sequence

from gateway.access import Access, Caller
from gateway.live.hub import QUEUE_CHANGES_MAX, Hub, Subscription
from gateway.live.wants import Asked, Wants
from gateway.metrics import GatewayMetrics
from gateway.read_model import Seen
from schemas.change import ScoreChange
from streams.settings import VisibilitySettings

MANY = 5 * QUEUE_CHANGES_MAX
PARTITIONS = 2


def seen(count: int) -> list[Seen]:
    change = ScoreChange("t:1", 1, 2.0, None, None, {}, "", "interaction", "1")
    return [Seen(at % PARTITIONS, at // PARTITIONS, b"t:1", b"%d" % at, change, 0) for at in range(count)]


def a_hub() -> Hub:
    hub = Hub("3f9a1c", [0] * PARTITIONS, Access(VisibilitySettings()), GatewayMetrics())
    hub.begin()
    return hub


def everybody(hub: Hub) -> Subscription:
    return hub.add(Asked(Wants(), Caller("", frozenset())))


async def take_all(subscription: Subscription, count: int) -> bytes:
    taken, pieces = 0, []
    while taken < count:
        piece, events = await subscription.take()
        assert not subscription.closed
        pieces.append(piece)
        taken += events
    return b"".join(pieces)


def told(stream: bytes) -> Sequence[bytes]:
    return [line for line in stream.split(b"\n") if line.startswith(b"data: ")]


def test_a_reader_that_takes_what_is_there_gets_all_of_it_however_much_comes_at_once() -> None:
    async def run() -> bytes:
        hub = a_hub()
        subscription = everybody(hub)
        taking = asyncio.create_task(take_all(subscription, MANY))
        await asyncio.to_thread(hub.offer, seen(MANY))
        return await asyncio.wait_for(taking, 10)

    assert told(asyncio.run(run())) == [b"data: %d" % at for at in range(MANY)]


def test_nor_does_it_miss_any_of_many_small_batches_that_came_while_the_loop_was_busy() -> None:
    async def run() -> bytes:
        hub, changes = a_hub(), seen(MANY)
        taking = asyncio.create_task(take_all(everybody(hub), MANY))
        for first in range(0, MANY, 50):
            hub.offer(changes[first : first + 50])
        return await asyncio.wait_for(taking, 10)

    assert told(asyncio.run(run())) == [b"data: %d" % at for at in range(MANY)]


def test_a_reader_that_takes_nothing_is_closed_and_keeps_nothing() -> None:
    async def run() -> tuple[bytes, int]:
        hub = a_hub()
        subscription = everybody(hub)
        await asyncio.to_thread(hub.offer, seen(MANY))
        assert await hub.reached([MANY // PARTITIONS] * PARTITIONS, 10)
        assert subscription.closed == "slow"
        return await subscription.take()

    assert asyncio.run(run()) == (b"", 0)
