"""The gateway's web application: its routes, and how it answers what goes wrong."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from gateway import openapi, problems
from gateway.api import (
    explanations,
    history,
    incidents,
    interactions,
    networks,
    operate,
    partitions,
    population,
    problem_list,
    ranking,
    scores,
    search,
    stream,
)
from gateway.context import Context
from gateway.encoded_paths import EncodedPaths
from gateway.live.hub import Hub
from gateway.middleware.callers import Callers
from gateway.middleware.measures import Measures
from gateway.pages import routes as pages
from gateway.pages.assets import Assets

_API: Final = (
    scores,
    history,
    explanations,
    ranking,
    population,
    incidents,
    networks,
    partitions,
    interactions,
    operate,
    problem_list,
    search,
)


def make_app(context: Context, hub: Hub, version: str) -> Starlette:
    """Return the application of one gateway."""

    @asynccontextmanager
    async def living(_: Starlette) -> AsyncIterator[None]:
        hub.begin()
        yield

    assets = Assets()
    # The first that fits is taken: what is about a user comes last.
    routes = [*stream.routes(context, hub), *(route for module in _API for route in module.routes(context))]
    app = Starlette(
        routes=[*routes, *openapi.routes(routes, context.networks, version), *pages.routes(context, assets)],
        middleware=[
            # The outermost: whoever looks at a path must see the same one as the router.
            Middleware(EncodedPaths),
            Middleware(Measures, metrics=context.metrics),
            Middleware(Callers, access=context.access),
        ],
        lifespan=living,
        exception_handlers={
            problems.ProblemError: problems.on_problem,
            HTTPException: pages.refuse(assets),
            Exception: problems.on_failure,
        },
    )
    app.router.redirect_slashes = False
    return app
