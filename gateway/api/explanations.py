"""Why a score is what it is: asked of the worker that keeps the user."""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.api.history import incidents_of
from gateway.api.parameters import user_of
from gateway.api.scores import respond
from gateway.context import Context, caller_of
from gateway.operations import Operation
from gateway.owners import Owners
from gateway.problems import ProblemError
from gateway.standing import meaning
from schemas.change import decode_change
from schemas.explanation import Explanation, Standing
from schemas.gateway import ExplanationAnswer
from scorer.standing import histogram_of, percentile
from streams.incident_facts import facts
from streams.masking import change_without, explanation_without

CHANGES_SHOWN: Final = 20

EXPLANATION: Final = Operation(
    path="/v1/scores/{user}/explain",
    name="explainScore",
    summary="Why a user's score is what it is, in numbers that add up",
    answer=ExplanationAnswer,
    problems=("unknown-user", "busy", "worker-away"),
)


def routes(context: Context) -> list[Route]:
    """Return the routes."""
    owners = Owners(context.world, context.partitions)

    def explain(request: Request, _: object) -> Response:
        user, caller = user_of(request), caller_of(request)
        newest = context.newest(user, caller)
        explanation = owners.explanation(user)
        if explanation is None:
            raise ProblemError("unknown-user", f"nobody has engaged with {user!r} yet, or they were forgotten")

        points = context.model.latest(user.encode(), CHANGES_SHOWN)
        changes = [decode_change(point.value) for point in points] or [newest]
        named = {reason.actor for change in changes for reason in change.reasons or () if reason.actor is not None}
        hidden = {actor for actor in named if not context.visible(actor, caller)}
        hidden |= owners.forgotten(named - hidden)
        answer = ExplanationAnswer(
            explanation=explanation_without(explanation, lambda actor: not context.visible(actor, caller)),
            standing=_standing(context, explanation),
            meaning=_meaning(context, explanation),
            changes=[change_without(change, hidden.__contains__) for change in changes],
            incidents=[facts(incident) for incident in incidents_of(context, user)],
        )
        return respond(request, answer)

    return [EXPLANATION.route(explain)]


def _standing(context: Context, explanation: Explanation) -> Standing | None:
    histogram = histogram_of(context.world.populations.values())
    users = sum(histogram)
    if explanation.score is None or not users:
        return None
    return Standing(users=users, lower=percentile(histogram, explanation.score))


def _meaning(context: Context, explanation: Explanation) -> str:
    if explanation.score is None:
        return "everything that had been counted was taken back"
    return meaning(context.world.percentile(explanation.score), context.world.users)
