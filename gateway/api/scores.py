"""Scores as they are: of one user, or of up to a hundred."""

import hashlib
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.api.parameters import min_sequence, only, user_of, users_of
from gateway.context import Context, caller_of
from gateway.problems import ProblemError
from schemas.gateway import encode

_CACHE_CONTROL = "private, no-cache"
"""Caches may keep an answer and must ask each time whether it still holds: then only its ETag goes over the wire."""


def routes(context: Context) -> list[Route]:
    """Return the routes."""

    async def one(request: Request) -> Response:
        only(request, "min_sequence")
        change = context.newest(user_of(request), caller_of(request), min_sequence(request))
        return respond(request, context.answer(change))

    async def several(request: Request) -> Response:
        only(request, "user")
        caller, found, unknown = caller_of(request), [], []
        for user in users_of(request):
            try:
                found.append(context.answer(context.newest(user, caller)))
            except ProblemError as problem:
                unknown.append({"user": user, "problem": problem.name})
        return respond(request, {"scores": found, "unknown": unknown})

    return [Route("/v1/scores", several), Route("/v1/scores/{user}", one)]


def respond(request: Request, answer: Any) -> Response:
    """Return an answer as JSON with its ETag, or that the asker has it already."""
    body = encode(answer)
    headers = {"ETag": f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"', "Cache-Control": _CACHE_CONTROL}
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type="application/json")
