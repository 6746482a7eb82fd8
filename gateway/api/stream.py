"""Score changes as server-sent events."""

import time
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any, Final

from msgspec import Meta, field
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.api.parameters import USERS_MAX, checked_user
from gateway.context import Context, caller_of
from gateway.live.cursor import CURSOR_LENGTH_MAX, CursorError, decode_cursor
from gateway.live.hub import Hub
from gateway.live.stream import Stream
from gateway.live.wants import Asked, Wants
from gateway.operations import Operation, Query
from gateway.problems import ProblemError
from schemas.interaction import UserId
from schemas.limits import NETWORK_BYTES_MAX

_ABORT: Final = "clout.abort"
_HEADERS: Final = {"Cache-Control": "no-store, no-transform"}


class StreamQuery(Query, frozen=True, kw_only=True):
    """Parameters of a stream: changes that meet all that is given."""

    user: Annotated[list[UserId], Meta(max_length=USERS_MAX, description="Of these users, as user=…&user=….")] = field(
        default_factory=list
    )
    network: Annotated[
        Annotated[str, Meta(max_length=NETWORK_BYTES_MAX)] | None,
        Meta(description="Of who has a score on this network."),
    ] = None
    above: Annotated[
        Annotated[float, Meta(ge=1, le=100)] | None,
        Meta(description="Of who is at this score or above, or was before."),
    ] = None
    last_event_id: Annotated[
        Annotated[str, Meta(max_length=CURSOR_LENGTH_MAX)] | None,
        Meta(description="Where to go on, as Last-Event-ID says it: for who cannot send that header."),
    ] = None


STREAM: Final = Operation(
    path="/v1/scores/stream",
    name="streamScores",
    summary="Score changes as server-sent events, as they come",
    query=StreamQuery,
    answer=str,
    media_type="text/event-stream",
    problems=("too-many-streams",),
)


def routes(context: Context, hub: Hub) -> list[Route]:
    """Return the route."""

    async def stream(request: Request, query: StreamQuery) -> Response:
        settings = context.settings
        caller = caller_of(request)
        whose = caller.key or (request.client.host if request.client else "")
        if hub.callers[whose] >= settings.streams_per_caller_max:
            raise ProblemError(
                "too-many-streams", f"you have {hub.callers[whose]} open", f"one may be about {USERS_MAX} users"
            )
        if hub.callers.total() >= settings.streams_max:
            raise ProblemError(
                "too-many-streams",
                f"{settings.streams_max} streams are open",
                "close some, or ask another gateway",
                {"Retry-After": "5"},
            )
        asked = Asked(_wants(query, context), caller)
        cursor, lost = _cursor(request, query, context, hub)
        return _Answer(
            hub,
            whose,
            Stream(context, hub, asked, cursor, lost=lost).events(),
            headers=_HEADERS,
            ping=settings.heartbeat_seconds,
            ping_message_factory=lambda: ServerSentEvent(comment="still here", sep="\n"),
            sep="\n",
        )

    return [STREAM.route(stream)]


class Abortable:
    """An application whose streams can cut their connection, also where the other side takes nothing any more.

    It is the outermost, where it meets what uvicorn itself sends with: closing would wait for the other side.
    """

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        transport = getattr(getattr(send, "__self__", None), "transport", None)
        if transport is not None:
            scope[_ABORT] = transport.abort
        await self._app(scope, receive, send)


class _Answer(EventSourceResponse):
    """A stream over HTTP, counted while it is open."""

    def __init__(self, hub: Hub, whose: str, events: AsyncIterator[bytes], **options: Any) -> None:
        super().__init__(events, **options)
        self._hub, self._whose = hub, whose
        self._abort: Callable[[], None] = lambda: None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._abort = scope.get(_ABORT, self._abort)
        self._hub.enter(self._whose)
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._hub.leave(self._whose)

    async def _send_with_timeout(self, send: Send, message: Message) -> None:
        """Send, within the hub's time: the library would make a timer each time, a quarter of what a delivery costs."""
        sending = self._hub.sending
        sending.setdefault(self._abort, time.monotonic())
        try:
            await send(message)
        finally:
            sending.pop(self._abort, None)


def _wants(query: StreamQuery, context: Context) -> Wants:
    if query.network is not None:
        context.require_network(query.network)
    return Wants(frozenset(map(checked_user, query.user)), query.network, query.above)


def _cursor(request: Request, query: StreamQuery, context: Context, hub: Hub) -> tuple[list[int] | None, bool]:
    """Return where the client has come to; and whether that is nowhere that can be gone on from."""
    text = request.headers.get("last-event-id") or query.last_event_id
    if not text:
        return None, False
    try:
        cursor = decode_cursor(text, hub.tag, context.partitions)
    except CursorError as error:
        raise ProblemError("bad-request", f"Last-Event-ID is none of a stream's: {error}") from error
    return cursor, cursor is None
