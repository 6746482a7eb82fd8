"""Who stands highest, and whose score moved furthest."""

from typing import Annotated, Any, Final

from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.access import Caller
from gateway.api.scores import respond
from gateway.columns import By
from gateway.context import Context, caller_of
from gateway.operations import Operation, Query
from gateway.ranking import LISTED_MAX, Kept, Placed, movers, top
from schemas.gateway import Mover, MoversAnswer, Ranked, TopAnswer
from schemas.limits import NETWORK_BYTES_MAX
from schemas.times import HOUR_MS, format_ms

Limit = Annotated[int, Meta(ge=1, le=LISTED_MAX, description="How many.")]


class TopQuery(Query, frozen=True, kw_only=True):
    """Parameters of those who stand highest."""

    by: Annotated[By, Meta(description="The score, or a sub-score, that the list is ordered by.")] = "score"
    network: Annotated[
        Annotated[str, Meta(max_length=NETWORK_BYTES_MAX)] | None,
        Meta(
            description="Only people with a score on this network; by `score`, it is their score there that counts.",
        ),
    ] = None
    limit: Limit = 10


class MoversQuery(Query, frozen=True, kw_only=True):
    """Parameters of those who moved furthest."""

    limit: Limit = 10


TOP: Final = Operation(
    path="/v1/top",
    name="getTop",
    summary="Who stands highest; made anew once a second",
    query=TopQuery,
    answer=TopAnswer,
)
MOVERS: Final = Operation(
    path="/v1/movers",
    name="getMovers",
    summary="Whose score moved furthest since the last full hour of event time began; made anew once a second",
    query=MoversQuery,
    answer=MoversAnswer,
)


def routes(context: Context) -> list[Route]:
    """Return the routes."""
    kept = Kept()

    def highest(request: Request, query: TopQuery) -> Response:
        if query.network is not None:
            context.require_network(query.network)
        caller = caller_of(request)

        def make() -> tuple[Any, ...]:
            found = top(context.columns, query.by, query.network, lambda user: context.visible(user, caller))
            return found, _freshness(context)

        placed, freshness = kept.get(("top", query.by, query.network, caller.may_see_private), make)
        users = [
            Ranked(rank=rank, user=of.user, value=of.value, score=of.score)
            for rank, of in enumerate(_still(context, caller, placed)[: query.limit], 1)
        ]
        return respond(request, TopAnswer(by=query.by, network=query.network, users=users, **freshness), for_seconds=1)

    def furthest(request: Request, query: MoversQuery) -> Response:
        caller = caller_of(request)

        def make() -> tuple[Any, ...]:
            hour = context.columns.hour
            since = format_ms((hour - 1) * HOUR_MS) if hour > 0 else None
            return movers(context.columns, lambda user: context.visible(user, caller)), since, _freshness(context)

        placed, since, freshness = kept.get(("movers", caller.may_see_private), make)
        shown = _still(context, caller, placed)[: query.limit]
        users = [Mover(user=of.user, score=of.score, moved=of.value) for of in shown]
        return respond(request, MoversAnswer(users=users, since=since, **freshness), for_seconds=1)

    return [TOP.route(highest), MOVERS.route(furthest)]


def _still(context: Context, caller: Caller, placed: list[Placed]) -> list[Placed]:
    """Return those whom the caller may see still: a list is kept for a while, who was forgotten is gone at once."""
    slots = context.columns.slots
    return [of for of in placed if of.user.encode() in slots and context.visible(of.user, caller)]


def _freshness(context: Context) -> dict[str, Any]:
    return {
        "as_of": context.as_of(),
        "age_seconds": context.age_of_all_seconds(),
        "stale": context.is_any_stale(),
    }
