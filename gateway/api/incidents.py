"""What went wrong, or seems to: what everybody may know of it."""

from typing import Annotated, Final

from msgspec import Meta
from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.api.scores import respond
from gateway.context import Context
from gateway.incidents import in_order
from gateway.operations import Operation, Query
from schemas.gateway import IncidentsAnswer
from schemas.incident import Incident, IncidentFacts
from streams.incident_facts import facts

INCIDENTS_MAX: Final = 500


class IncidentsQuery(Query, frozen=True, kw_only=True):
    """Parameters of the list of incidents."""

    limit: Annotated[int, Meta(ge=1, le=INCIDENTS_MAX, description="How many.")] = 50


INCIDENTS: Final = Operation(
    path="/v1/incidents",
    name="getIncidents",
    summary="Incidents, the open ones first; nobody whom they touch is named",
    query=IncidentsQuery,
    answer=IncidentsAnswer,
)


def routes(context: Context) -> list[Route]:
    """Return the routes."""

    def incidents(request: Request, query: IncidentsQuery) -> Response:
        found, listed = in_order(context.world.incidents.values()), context.world.listed.counts()
        answer = IncidentsAnswer(
            incidents=[_told(incident, listed[incident.id]) for incident in found[: query.limit]],
            open=sum(incident.status != "resolved" for incident in found),
            count=len(found),
        )
        return respond(request, answer)

    return [INCIDENTS.route(incidents)]


def _told(incident: Incident, listed_users: int) -> IncidentFacts:
    """Return what everybody may know; lists grow while it lasts, its record is written seldom."""
    known = facts(incident)
    return replace(known, affected_users=max(known.affected_users, listed_users))
