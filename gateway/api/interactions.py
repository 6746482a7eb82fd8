"""Takes interactions in: one event or an array of them becomes one record of its network's topic."""

import asyncio
import time
from typing import Annotated, Final

from msgspec import Meta
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.context import Context
from gateway.interactions import ERRORS_SHOWN_MAX, EVENTS_MAX, Looked, looked_at
from gateway.operations import Operation, Query
from gateway.problems import ProblemError
from gateway.sender import ACKNOWLEDGED_SECONDS_MAX, NotTakenError, Record
from schemas.gateway import Accepted, encode
from schemas.interaction import Interaction
from schemas.limits import NETWORK_BYTES_MAX, RECORD_BYTES_MAX
from streams.decoders import Decoder, decoder

BODY_SECONDS_MAX: Final = 10.0
"""A body that takes longer to come is refused."""
AT_A_TIME_MAX: Final = 64
"""Requests whose events are in hand: each may hold 900 kB."""

_JSON: Final = "application/json"


class InteractionsQuery(Query, frozen=True, kw_only=True):
    """Parameters of interactions that come in."""

    network: Annotated[str, Meta(max_length=NETWORK_BYTES_MAX, description="The network that they are of.")]


INTERACTIONS: Final = Operation(
    path="/v1/interactions",
    name="postInteractions",
    summary=f"Take in one interaction, or up to {EVENTS_MAX:,}: all of them or none, once Kafka has them",
    method="POST",
    status=202,
    query=InteractionsQuery,
    body=Interaction | Annotated[list[Interaction], Meta(min_length=1, max_length=EVENTS_MAX)],
    answer=Accepted,
    problems=("invalid-events", "too-slow", "too-large", "not-json", "busy", "kafka-away"),
)


def routes(context: Context) -> list[Route]:
    """Return the routes."""
    decoders: dict[str, Decoder] = {name: decoder(settings.format) for name, settings in context.networks.items()}
    free = asyncio.Semaphore(AT_A_TIME_MAX)

    async def interactions(request: Request, query: InteractionsQuery) -> Response:
        context.require_network(query.network)
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _JSON:
            raise ProblemError("not-json", "its content type is another", f"send Content-Type: {_JSON}")
        if free.locked():
            raise ProblemError("busy", "many requests bring events", "try again in a moment", {"Retry-After": "1"})
        async with free:
            body = await _body(request)
            found = await run_in_threadpool(looked_at, decoders[query.network], body, int(time.time() * 1000))
            _require_valid(found)
            try:
                await context.sender.send(query.network, await _records(context, query.network, body, found))
            except NotTakenError as error:
                raise ProblemError(
                    "kafka-away",
                    f"within {ACKNOWLEDGED_SECONDS_MAX:g} seconds: {error}",
                    "send the same events again: those that were taken count once",
                    {"Retry-After": "5"},
                ) from error
        answer = encode(Accepted(network=query.network, accepted=found.events))
        return Response(answer, INTERACTIONS.status, {"Cache-Control": "no-store"}, _JSON)

    return [INTERACTIONS.route(interactions)]


async def _body(request: Request) -> bytes:
    """Return a request's body; refuse one that is too large as soon as that shows, or takes too long."""
    too_large = ProblemError("too-large", f"at most {RECORD_BYTES_MAX:,} bytes", "send the events in several requests")
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length[:20]) > RECORD_BYTES_MAX:
        raise too_large
    pieces, size = list[bytes](), 0
    try:
        async with asyncio.timeout(BODY_SECONDS_MAX):
            async for piece in request.stream():
                size += len(piece)
                if size > RECORD_BYTES_MAX:
                    raise too_large
                pieces.append(piece)
    except TimeoutError as error:
        raise ProblemError("too-slow", f"a body has {BODY_SECONDS_MAX:g} seconds to come") from error
    except ClientDisconnect as error:
        raise ProblemError("too-slow", "the connection was closed before the body had come") from error
    return b"".join(pieces)


def _require_valid(found: Looked) -> None:
    if found.errors:
        wrong = len(found.errors)
        raise ProblemError(
            "invalid-events",
            f"{wrong:,} of {found.events:,}" + (f", the first {ERRORS_SHOWN_MAX}:" if wrong > ERRORS_SHOWN_MAX else ""),
            "correct them, or leave them out, and send the rest",
            errors=found.errors[:ERRORS_SHOWN_MAX],
        )


async def _records(context: Context, network: str, body: bytes, found: Looked) -> list[Record]:
    """Return the record, and its heartbeats for each other partition: whoever sends over HTTP cannot choose one."""
    if not found.heartbeats:
        return [Record(body)]
    first, *others = await run_in_threadpool(context.sender.partitions, network)
    return [Record(body, first), *(Record(found.heartbeats, partition) for partition in others)]
