"""Score changes as server-sent events."""

from typing import Final

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.api.parameters import USERS_MAX, checked_user, number, only, single
from gateway.context import Context, caller_of
from gateway.live.cursor import CursorError, decode_cursor
from gateway.live.hub import Hub
from gateway.live.stream import Stream
from gateway.live.wants import Asked, Wants
from gateway.problems import ProblemError

SEND_SECONDS: Final = 10.0
"""A reader that takes nothing for so long is dropped."""
_HEADERS: Final = {"Cache-Control": "no-store, no-transform"}


def routes(context: Context, hub: Hub) -> list[Route]:
    """Return the route."""

    async def stream(request: Request) -> Response:
        only(request, "user", "network", "above", "last_event_id")
        settings = context.settings
        if hub.count >= settings.streams_max:
            raise ProblemError(
                "too-many-streams",
                f"{settings.streams_max} streams are open",
                "close some, or ask another gateway",
                {"Retry-After": "5"},
            )
        asked = Asked(_wants(request, context), caller_of(request))
        cursor, lost = _cursor(request, context, hub)
        return EventSourceResponse(
            Stream(context, hub, asked, cursor, lost=lost).events(),
            headers=_HEADERS,
            ping=settings.heartbeat_seconds,
            ping_message_factory=lambda: ServerSentEvent(comment="still here", sep="\n"),
            send_timeout=SEND_SECONDS,
            sep="\n",
        )

    return [Route("/v1/scores/stream", stream)]


def _wants(request: Request, context: Context) -> Wants:
    users = frozenset(map(checked_user, request.query_params.getlist("user")))
    if len(users) > USERS_MAX:
        raise ProblemError("bad-request", f"a stream is about {USERS_MAX} users at most; these are {len(users)}")
    network = single(request, "network")
    if network is not None and network not in context.columns.networks:
        raise ProblemError("bad-request", f"there is no network {network[:40]!r}")
    return Wants(users, network, number(request, "above", 1.0, 100.0))


def _cursor(request: Request, context: Context, hub: Hub) -> tuple[list[int] | None, bool]:
    """Return where the client has come to; and whether that is nowhere that can be gone on from."""
    text = request.headers.get("last-event-id") or single(request, "last_event_id")
    if not text:
        return None, False
    try:
        cursor = decode_cursor(text, hub.tag, context.partitions)
    except CursorError as error:
        raise ProblemError("bad-request", f"Last-Event-ID is none of a stream's: {error}") from error
    return cursor, cursor is None
