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
    operations = [route for route in app.routes if isinstance(route, OperationRoute)]
    assert [route.path for route in operations] == list(described["paths"])
    others = {route.path for route in app.routes if isinstance(route, Route)} - {route.path for route in operations}
    assert not [path for path in others if path.startswith("/v1")], "only pages are not described"
    assert len({of["operationId"] for each in described["paths"].values() for of in each.values()}) == len(operations)
