"""The networks: how far each is, what holds it, and what comes."""

from collections import Counter
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.api.scores import respond
from gateway.context import Context
from gateway.feeds import holders
from gateway.operations import Operation
from gateway.population import network_clock
from schemas.gateway import Freeze, NetworkAnswer, NetworksAnswer
from schemas.times import parse_ms

NETWORKS: Final = Operation(
    path="/v1/networks",
    name="getNetworks",
    summary="The networks: how far each clock is and what holds it, volumes, lag, and what is frozen",
    answer=NetworksAnswer,
)


def routes(context: Context) -> list[Route]:
    """Return the routes."""

    def networks(request: Request, _: object) -> Response:
        return respond(request, NetworksAnswer(networks=[_network(context, name) for name in context.networks]))

    return [NETWORKS.route(networks)]


def _network(context: Context, name: str) -> NetworkAnswer:
    world, settings = context.world, context.networks[name]
    told, reports, frozen = list(world.populations.values()), world.feeds.of(name), world.feeds.orders.frozen.get(name)
    events: Counter[str] = Counter()
    for report in reports:
        events.update(report.counters)
    clock = network_clock(told, name)
    furthest = max((report.time for report in reports if report.time), default=None)
    behind_ms = None if clock is None or furthest is None else max(0, parse_ms(furthest) - parse_ms(clock))
    return NetworkAnswer(
        network=name,
        format=settings.format,
        users=sum(of.networks[name].users for of in told if name in of.networks),
        clock=clock,
        furthest=furthest,
        behind_seconds=None if behind_ms is None else behind_ms / 1000,
        held_by=holders(name, world.feeds, settings, world.populations, world.still),
        frozen=None if frozen is None else Freeze(since=frozen.since, incident=frozen.incident),
        lag_records=sum(report.lag_records for report in reports),
        raw_partitions=max((report.raw_partitions for report in reports), default=0),
        events=dict(events),
        last_arrival=max((report.arrival for report in reports if report.arrival), default=None),
        volumes=world.feeds.volumes(name),
    )
