"""Routes and document are one table."""

from types import SimpleNamespace
from typing import Any, cast

from starlette.routing import Route

from gateway.app import make_app
from gateway.context import Context
from gateway.live.hub import Hub
from gateway.openapi import document
from gateway.operations import OperationRoute
from streams.settings import NetworkSettings


def test_every_route_is_in_the_document() -> None:
    networks = {"twitter": NetworkSettings(), "mastodon": NetworkSettings()}
    parts: dict[str, Any] = {"networks": networks, "world": None, "partitions": 1, "metrics": None, "access": None}
    app = make_app(cast("Context", SimpleNamespace(**parts)), cast("Hub", None), "7")
    described = document(app.routes, networks, "7")
    assert [route.path for route in app.routes if isinstance(route, Route)] == list(described["paths"])
    assert all(isinstance(route, OperationRoute) for route in app.routes)
    assert len({of["operationId"] for each in described["paths"].values() for of in each.values()}) == len(app.routes)
