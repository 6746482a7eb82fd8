"""What `type` of a problem leads to: all problems, by name."""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.api.scores import respond
from gateway.context import Context
from gateway.operations import Operation
from gateway.problems import TITLES
from schemas.gateway import ProblemKind, ProblemsAnswer

PROBLEMS: Final = Operation(
    path="/problems", name="getProblems", summary="Every problem that an answer can name", answer=ProblemsAnswer
)


def routes(_: Context) -> list[Route]:
    """Return the route."""
    found = [ProblemKind(name=name, status=status, title=title) for name, (status, title) in TITLES.items()]

    async def listed(request: Request, _: object) -> Response:
        return respond(request, ProblemsAnswer(problems=found))

    return [PROBLEMS.route(listed)]
