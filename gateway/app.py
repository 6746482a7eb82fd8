"""The gateway's web application: its routes, and how it answers what goes wrong."""

from starlette.applications import Starlette
from starlette.exceptions import HTTPException

from gateway import problems
from gateway.api import scores
from gateway.context import Context


def make_app(context: Context) -> Starlette:
    """Return the application of one gateway."""
    return Starlette(
        routes=[*scores.routes(context)],
        exception_handlers={
            problems.ProblemError: problems.on_problem,
            HTTPException: problems.on_http,
            Exception: problems.on_failure,
        },
    )
