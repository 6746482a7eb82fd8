"""Scores as they are: of one user, or of up to a hundred."""

import hashlib
from typing import Annotated, Any, Final

from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.api.parameters import USERS_MAX, checked_user, user_of
from gateway.context import Context, caller_of
from gateway.operations import Operation, Query
from gateway.problems import ProblemError
from schemas.gateway import NotFound, ScoreAnswer, ScoresAnswer, encode
from schemas.interaction import UserId

CACHE_CONTROL: Final = "private, no-cache"
"""Caches may keep an answer and must ask each time whether it still holds: then only its ETag goes over the wire."""

SEEN_MAX: Final = 2**63 - 1
"""Largest sequence that an asker can have seen; nobody's score changes so often."""


class ScoreQuery(Query, frozen=True, kw_only=True):
    """Parameters of one score."""

    min_sequence: Annotated[
        int, Meta(ge=0, le=SEEN_MAX, description="What you have seen already: an older answer is refused.")
    ] = 0


class ScoresQuery(Query, frozen=True, kw_only=True):
    """Parameters of several scores."""

    user: Annotated[
        list[UserId], Meta(min_length=1, max_length=USERS_MAX, description="Whom, as user=…&user=…; each counts once.")
    ]


SCORE: Final = Operation(
    path="/v1/scores/{user}",
    name="getScore",
    summary="A user's score as it was last published, and what it means",
    query=ScoreQuery,
    answer=ScoreAnswer,
    problems=("unknown-user", "no-score", "older-than-seen"),
)
SCORES: Final = Operation(
    path="/v1/scores",
    name="getScores",
    summary=f"The scores of up to {USERS_MAX} users",
    query=ScoresQuery,
    answer=ScoresAnswer,
)


def routes(context: Context) -> list[Route]:
    """Return the routes."""

    async def one(request: Request, query: ScoreQuery) -> Response:
        change = context.newest(user_of(request), caller_of(request), query.min_sequence)
        return respond(request, context.answer(change))

    async def several(request: Request, query: ScoresQuery) -> Response:
        caller, found, unknown = caller_of(request), [], []
        for user in dict.fromkeys(map(checked_user, query.user)):
            try:
                found.append(context.answer(context.newest(user, caller)))
            except ProblemError as problem:
                unknown.append(NotFound(user, problem.name))
        return respond(request, ScoresAnswer(scores=found, unknown=unknown))

    return [SCORES.route(several), SCORE.route(one)]


def respond(request: Request, answer: Any, *, for_seconds: int = 0) -> Response:
    """Return an answer as JSON with its ETag, or that the asker has it already.

    One that is made anew only so often need not be asked for again before.
    """
    body = encode(answer)
    cache = f"private, max-age={for_seconds}" if for_seconds else CACHE_CONTROL
    headers = {"ETag": f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"', "Cache-Control": cache}
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type="application/json")
