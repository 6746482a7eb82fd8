"""All users in numbers."""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.api.scores import respond
from gateway.context import Context
from gateway.operations import Operation
from gateway.population import changes_by_cause, furthest_clock, network_clock, shifts
from schemas.gateway import PopulationAnswer, PopulationPart
from schemas.times import format_ms
from scorer.standing import histogram_of

POPULATION: Final = Operation(
    path="/v1/population",
    name="getPopulation",
    summary="All users who have a score, in numbers, and how their scores moved",
    answer=PopulationAnswer,
)


def routes(context: Context) -> list[Route]:
    """Return the routes."""

    def population(request: Request, _: object) -> Response:
        return respond(request, _answer(context), for_seconds=1)

    return [POPULATION.route(population)]


def _answer(context: Context) -> PopulationAnswer:
    world = context.world
    told = list(world.populations.values())
    histogram, before = histogram_of(told), world.hours.before()
    networks = {}
    for name in dict.fromkeys([*context.networks, *(name for of in told for name in of.networks)]):
        there = histogram_of(told, name)
        networks[name] = PopulationPart(users=sum(there), histogram=there, clock=network_clock(told, name))
    shift, shift_before = shifts(told)
    return PopulationAnswer(
        users=sum(histogram),
        histogram=histogram,
        histogram_before=None if before is None else before[1],
        before_as_of=None if before is None else format_ms(before[0]),
        networks=networks,
        shift=shift,
        shift_before=shift_before,
        changes=changes_by_cause(told),
        partitions=context.partitions,
        partitions_told=len(told),
        written=max((of.written for of in told), default=None),
        as_of=furthest_clock(told),
        stale=context.is_any_stale(),
    )
