"""Finds users by the beginning of their id."""

from typing import Annotated, Final

from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.access import Caller
from gateway.api.parameters import checked_user
from gateway.api.scores import respond
from gateway.context import Context, caller_of
from gateway.operations import Operation, Query
from schemas.change import decode_change
from schemas.gateway import Found, SearchAnswer
from schemas.interaction import UserId

FOUND_MAX: Final = 50
"""Users that one search may return."""
LOOKED_AT_MAX: Final = 1_000
"""Users that one search looks at; those without a score, and those who are not visible, are among them."""


class SearchQuery(Query, frozen=True, kw_only=True):
    """Parameters of a search."""

    prefix: Annotated[UserId, Meta(description="What their ids begin with, in the same case.")]
    limit: Annotated[int, Meta(ge=1, le=FOUND_MAX, description="How many.")] = 10


SEARCH: Final = Operation(
    path="/v1/search",
    name="search",
    summary="Users whose id begins so, in the order of their ids",
    query=SearchQuery,
    answer=SearchAnswer,
)


def routes(context: Context) -> list[Route]:
    """Return the routes."""

    def search(request: Request, query: SearchQuery) -> Response:
        return respond(request, find(context, caller_of(request), checked_user(query.prefix), query.limit))

    return [SEARCH.route(search)]


def find(context: Context, caller: Caller, prefix: str, limit: int) -> SearchAnswer:
    """Return users whose id begins with a prefix, up to `limit` of them in the order of their ids."""
    found: list[Found] = []
    for looked_at, (name, point) in enumerate(context.model.beginning_with(prefix.encode())):
        if looked_at == LOOKED_AT_MAX or len(found) == limit:
            return SearchAnswer(users=found, more=True)
        user, change = name.decode(), decode_change(point.value)
        if change.score is not None and context.visible(user, caller):
            found.append(Found(user=user, score=change.score))
    return SearchAnswer(users=found, more=False)
