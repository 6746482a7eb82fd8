"""How a user's score moved, with what there is to know about it."""

from collections.abc import Iterator
from typing import Annotated, Final

from msgspec import Meta, field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.api.parameters import user_of
from gateway.api.scores import respond
from gateway.context import Context, caller_of
from gateway.history import POINTS_MIN, Timed, models, thinned
from gateway.operations import Operation, Query
from gateway.problems import ProblemError
from schemas.gateway import HistoryAnswer, Mark, decode_point
from schemas.incident import Incident
from schemas.limits import TIME_MS_MAX
from schemas.times import DAY_MS, MOMENT_PATTERN, format_ms, parse_ms
from schemas.users import partition_of
from streams.incident_facts import facts
from streams.touched import touching

POINTS_MAX: Final = 5_000
CHANGES_MAX: Final = 200_000
"""Changes that are looked through for one answer: more take longer than anybody should wait."""

Moment = Annotated[str, Meta(pattern=rf"^([0-9]{{1,13}}|{MOMENT_PATTERN})$", max_length=40)]
"""A time as a parameter: RFC 3339 of 1970 to 2099, or milliseconds since 1970."""


class HistoryQuery(Query, frozen=True, kw_only=True):
    """Parameters of a history."""

    from_: Annotated[Moment, Meta(description="Since when: RFC 3339 or milliseconds.")] = field(
        default="0", name="from"
    )
    to: Annotated[Moment, Meta(description="Until when: RFC 3339 or milliseconds.")] = str(TIME_MS_MAX)
    points: Annotated[
        int,
        Meta(ge=POINTS_MIN, le=POINTS_MAX, description="So many at most: of more, some are left out."),
    ] = 500


HISTORY: Final = Operation(
    path="/v1/scores/{user}/history",
    name="getHistory",
    summary="How a user's score moved: every change of the last 90 days, before that the last one of each day",
    query=HistoryQuery,
    answer=HistoryAnswer,
    problems=("unknown-user", "too-many-changes"),
)


def routes(context: Context) -> list[Route]:
    """Return the routes."""

    def history(request: Request, query: HistoryQuery) -> Response:
        user = user_of(request)
        context.newest(user, caller_of(request))
        first_ms, last_ms = _moment(query.from_), _moment(query.to)
        if first_ms > last_ms:
            raise ProblemError("bad-request", "from is after to", "give the earlier moment as from")
        found = list(_changes(context, user, first_ms, last_ms))
        points = thinned(found, query.points)
        partition = partition_of(user.encode(), context.partitions)
        answer = HistoryAnswer(
            user=user,
            first=format_ms(first_ms),
            last=format_ms(last_ms),
            full_since=format_ms(context.model.full_since_ms),
            changes=len(found),
            thinned=len(points) < len(found),
            points=points,
            marks=_marks(context, user, found, first_ms, last_ms),
            age_seconds=round(context.age_seconds(partition), 3),
            stale=context.is_stale(partition),
        )
        return respond(request, answer)

    return [HISTORY.route(history)]


def incidents_of(context: Context, user: str) -> list[Incident]:
    """Return the incidents that touched a user in this life, the one opened last first."""
    world = context.world
    return touching(world.incidents.values(), user, context.model.reborn_ms(user.encode()), world.listed.naming(user))


def _changes(context: Context, user: str, first_ms: int, last_ms: int) -> Iterator[Timed]:
    """Yield the changes of a span, each once; what is kept by the day may be there in full too."""
    sequence = 0
    for seen, kept in enumerate(context.model.history(user.encode(), first_ms, last_ms)):
        point = decode_point(kept.value)
        if seen >= CHANGES_MAX:
            raise ProblemError(
                "too-many-changes", f"there are more than {CHANGES_MAX:,} of {user!r}", "ask for a shorter span"
            )
        at_ms = parse_ms(point.as_of)
        if point.sequence > sequence and first_ms <= at_ms <= last_ms:
            sequence = point.sequence
            yield Timed(at_ms, point)


def _marks(context: Context, user: str, found: list[Timed], first_ms: int, last_ms: int) -> list[Mark]:
    marks = [
        Mark(kind="model", at=point.as_of, until=point.as_of, title=f"model {point.model} computes the score")
        for point in models(found)
    ]
    for incident in incidents_of(context, user):
        known = facts(incident)
        at = known.since or known.opened
        # Where event time is not the time of day, as in a replay, it is not known when in event time it ended.
        is_live = abs(parse_ms(known.opened) - parse_ms(at)) < DAY_MS
        until = known.updated if known.status == "resolved" and is_live else None
        if parse_ms(at) <= last_ms and (until is None or parse_ms(until) >= first_ms):
            marks.append(
                Mark(
                    kind="incident",
                    at=at,
                    until=until,
                    title=known.title,
                    incident=known.id,
                    severity=known.severity,
                    status=known.status,
                )
            )
    return sorted(marks, key=lambda mark: mark.at)


def _moment(text: str) -> int:
    return int(text) if text.isdigit() else parse_ms(text)
