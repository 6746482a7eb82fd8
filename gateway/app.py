"""The gateway's web application: its routes, and how it answers what goes wrong."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from gateway import problems
from gateway.api import scores, stream
from gateway.context import Context
from gateway.live.hub import Hub
from gateway.middleware.callers import Callers
from gateway.middleware.measures import Measures


def make_app(context: Context, hub: Hub) -> Starlette:
    """Return the application of one gateway."""

    @asynccontextmanager
    async def living(_: Starlette) -> AsyncIterator[None]:
        hub.begin()
        yield

    return Starlette(
        # The first that fits is taken: what is about a user comes last.
        routes=[*stream.routes(context, hub), *scores.routes(context)],
        middleware=[
            Middleware(Measures, metrics=context.metrics),
            Middleware(Callers, access=context.access),
        ],
        lifespan=living,
        exception_handlers={
            problems.ProblemError: problems.on_problem,
            HTTPException: problems.on_http,
            Exception: problems.on_failure,
        },
    )
