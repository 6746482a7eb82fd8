"""Orders of operators: freeze a network, resume it, resolve an incident. They take the scope `operate`."""

from typing import Any, Final
from urllib.parse import unquote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.bodies import json_body
from gateway.context import Context, caller_of
from gateway.operations import Operation, Query
from gateway.problems import ProblemError
from schemas.control import CommandName
from schemas.gateway import IncidentOrder, NetworkOrder, Ordered, encode
from streams.guard.cases import RESOLVED, is_of_a_task

ORDER_BYTES_MAX: Final = 16_384
"""Bytes of an order's body."""

_PROBLEMS: Final = ("too-slow", "too-large", "not-json", "not-ordered")

FREEZE: Final = Operation(
    path="/v1/operate/freeze",
    name="freeze",
    summary="Read no more of a network, until it is resumed",
    method="POST",
    status=202,
    body=NetworkOrder,
    answer=Ordered,
    problems=("unknown-network", *_PROBLEMS),
)
RESUME: Final = Operation(
    path="/v1/operate/resume",
    name="resume",
    summary="Read a network that was frozen again",
    method="POST",
    status=202,
    body=NetworkOrder,
    answer=Ordered,
    problems=("unknown-network", *_PROBLEMS),
)
RESOLVE: Final = Operation(
    path="/v1/operate/incidents/{incident}/resolve",
    name="resolveIncident",
    summary="End an incident",
    method="POST",
    status=202,
    body=IncidentOrder,
    answer=Ordered,
    problems=("unknown-incident", "already-so", *_PROBLEMS),
)


def routes(context: Context) -> list[Route]:
    """Return the routes."""

    async def freeze(request: Request, _: Query) -> Response:
        return await about_network(request, "freeze")

    async def resume(request: Request, _: Query) -> Response:
        return await about_network(request, "resume")

    async def about_network(request: Request, name: CommandName) -> Response:
        order = await json_body(request, NetworkOrder, ORDER_BYTES_MAX)
        if order.network not in context.networks:
            raise ProblemError("unknown-network", f"known are {', '.join(sorted(context.networks))}")
        return await ordered(request, name, order.reason, network=order.network)

    async def resolve(request: Request, _: Query) -> Response:
        order = await json_body(request, IncidentOrder, ORDER_BYTES_MAX)
        incident = context.world.incidents.get(unquote(request.path_params["incident"]))
        if incident is None:
            raise ProblemError("unknown-incident", "", "/v1/incidents has all of them")
        if incident.status == RESOLVED:
            raise ProblemError("already-so", "it is resolved")
        if is_of_a_task(incident):
            raise ProblemError(
                "bad-request",
                "its partition resolves it, when that goes on beyond the records that the incident names",
                "`clout quarantine` sets one aside",
            )
        return await ordered(request, "resolve", order.note, incident=incident.id)

    async def ordered(request: Request, name: CommandName, reason: str, **about: Any) -> Response:
        by = caller_of(request).key
        command = await run_in_threadpool(lambda: context.operator.order(name, reason, by, **about))
        body = encode(Ordered(command=command))
        return Response(body, 202, {"Cache-Control": "no-store"}, "application/json")

    return [FREEZE.route(freeze), RESUME.route(resume), RESOLVE.route(resolve)]
