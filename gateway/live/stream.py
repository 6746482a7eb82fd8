"""One stream: where it begins, what it missed, and then what comes, without a gap and without a repeat.

Events: `score` is a user's newest change, at the beginning; `change` is a change as it was published. `reset` says
that what came in between is not kept any more: read scores anew, the stream goes on from now. `resume` says that this
gateway ends the stream (the reader is too slow, or it ends itself): come back with the last id. Reading the read
model's log costs time, so it is done in pieces and in threads; once nothing is left to read the stream is live.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Final, NamedTuple

from anyio.to_thread import run_sync

from gateway.context import Context
from gateway.live.cursor import encode_cursor
from gateway.live.hub import Hub, Subscription, rendered
from gateway.live.wants import Asked
from gateway.read_model import LostError
from gateway.tables import Point
from schemas.change import decode_change
from schemas.gateway import encode
from schemas.users import partition_of

RETRY_MS: Final = 1_000
"""How long a client waits before it comes back."""
PIECE_CHANGES: Final = 2_000
"""Changes that are read from the log at once."""
CATCH_UP_SECONDS: Final = 20.0
"""How long a stream waits for a gateway that is behind what the client has seen."""


class Missed(NamedTuple):
    """A change that a stream missed."""

    partition: int
    point: Point


class Stream:
    """One client's stream."""

    def __init__(self, context: Context, hub: Hub, asked: Asked, cursor: list[int] | None, *, lost: bool) -> None:
        """Go on from a cursor, or begin; `lost` says that there was one which cannot be gone on from."""
        self._context, self._hub, self._asked = context, hub, asked
        self._cursor, self._lost = cursor, lost

    async def events(self) -> AsyncIterator[bytes]:
        """Yield the stream in pieces of whole events, for ever."""
        hub = self._hub
        yield f"retry: {RETRY_MS}\n\n".encode()
        if self._cursor is not None:
            try:
                if not await self._has_come_to(self._cursor):
                    yield _said("resume", "this gateway has not caught up")
                    return
                async for piece in self._missed(self._cursor):
                    yield piece
            except LostError:
                self._cursor, self._lost = None, True
        # No await between the last look at the place and this: nothing can come in between.
        subscription = hub.add(self._asked)
        try:
            if self._cursor is None:
                yield self._beginning()
            async for piece in self._live(subscription):
                yield piece
        finally:
            hub.drop(subscription)

    async def _has_come_to(self, cursor: Sequence[int]) -> bool:
        """Wait until this gateway has read as far as the client; raise `LostError` when the topic is not so long."""
        if await self._hub.reached(cursor, CATCH_UP_SECONDS):
            return True
        if self._context.reader.is_read_to_end():
            raise LostError
        return False

    async def _live(self, subscription: Subscription) -> AsyncIterator[bytes]:
        context, caller = self._context, self._asked.caller
        while True:
            piece, count = await subscription.take()
            if subscription.closed:
                slow = subscription.closed == "slow"
                yield _said("resume", "you read too slowly" if slow else "this gateway ends")
                if slow:
                    # Whom not even that reaches is counted where the connection is cut.
                    context.metrics.slow.inc()
                return
            if not context.access.holds(caller):
                yield _said("resume", "your key holds no more")
                return
            context.metrics.deliveries.inc(count)
            yield piece

    def _beginning(self) -> bytes:
        """Return what comes first where nothing went before: each named user's newest change at the hub's place.

        The read model may be ahead of the hub: what is beyond its place comes as a change.
        """
        context, head = self._context, f"id: {self._hub.cursor()}\n"
        said = _said("reset", "what came since is not kept any more: read scores anew", self._hub.cursor())
        events: list[bytes | None] = [said] if self._lost else []
        for user in sorted(self._asked.wants.users):
            partition = partition_of(user.encode(), context.partitions)
            if (point := context.model.newest_before(user.encode(), self._hub.place[partition])) is not None:
                change = decode_change(point.value)
                events.append(rendered(context.access, change, point.value, head, self._asked.caller, "score"))
        return b"".join(event for event in events if event is not None)

    async def _missed(self, cursor: Sequence[int]) -> AsyncIterator[bytes]:
        """Yield what came between a cursor and the hub's place, until that is reached."""
        at = list(cursor)
        while at != self._hub.place:
            ends = list(self._hub.place)
            for partition, end in enumerate(ends):
                async for piece in self._missed_of(partition, at, end):
                    yield piece

    async def _missed_of(self, partition: int, at: list[int], end: int) -> AsyncIterator[bytes]:
        users = self._users_of(partition)
        if users == []:
            at[partition] = end
        while at[partition] < end:
            points, then = await run_sync(self._read, partition, at[partition], end, users, limiter=self._hub.readers)
            events = [self._event(partition, point, at) for point in points]
            at[partition] = then
            piece = b"".join(event for event in events if event is not None)
            if piece:
                self._context.metrics.deliveries.inc(len(events))
                yield piece

    def _users_of(self, partition: int) -> list[str] | None:
        """Return the users of a partition that the stream is about; None where it is about others than named ones."""
        users = self._asked.wants.users
        return (
            [of for of in users if partition_of(of.encode(), self._context.partitions) == partition] if users else None
        )

    def _read(self, partition: int, offset: int, end: int, users: Iterable[str] | None) -> tuple[list[Point], int]:
        """Return changes of a partition from an offset on, and the offset up to which these are all."""
        model = self._context.model
        if offset < model.log_begins(partition):
            raise LostError
        if users is not None:
            found = [model.after_of(user.encode(), partition, offset) for user in users]
            if all(points is not None for points in found):
                points = sorted(point for theirs in found for point in theirs or [])
                return [point for point in points if point.offset < end], end
        points = model.after(partition, offset, PIECE_CHANGES)
        if len(points) < PIECE_CHANGES:
            return [point for point in points if point.offset < end], end
        then = min(end, points[-1].offset + 1)
        return [point for point in points if point.offset < then], then

    def _event(self, partition: int, point: Point, at: list[int]) -> bytes | None:
        change = decode_change(point.value)
        if not self._asked.wants.meets(change):
            return None
        at[partition] = point.offset + 1
        head = f"id: {encode_cursor(self._hub.tag, at)}\n"
        return rendered(self._context.access, change, point.value, head, self._asked.caller)


def _said(event: str, why: str, cursor: str = "") -> bytes:
    head = f"id: {cursor}\n" if cursor else ""
    return f"{head}event: {event}\ndata: ".encode() + encode({"why": why}) + b"\n\n"
