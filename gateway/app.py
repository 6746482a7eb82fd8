"""The gateway's web application: its routes, and how it answers what goes wrong."""

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from gateway import problems
from gateway.api import scores
from gateway.context import Context
from gateway.middleware.callers import Callers


def make_app(context: Context) -> Starlette:
    """Return the application of one gateway."""
    return Starlette(
        routes=[*scores.routes(context)],
        middleware=[Middleware(Callers, access=context.access)],
        exception_handlers={
            problems.ProblemError: problems.on_problem,
            HTTPException: problems.on_http,
            Exception: problems.on_failure,
        },
    )
