"""Counts requests and takes their time."""

import time
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.metrics import GatewayMetrics

_NONE: Final = "none"
"""Route of requests that go nowhere: their paths are anybody's choice, and must not become labels."""


class Measures:
    """Middleware that measures each request until its answer begins; the outermost one."""

    def __init__(self, app: ASGIApp, metrics: GatewayMetrics) -> None:
        """Wrap an application."""
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, metrics = time.perf_counter(), self._metrics

        async def measured(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", _NONE)
                metrics.requests.labels(route, str(message["status"])).inc()
                metrics.request_seconds.labels(route).observe(time.perf_counter() - begun)
            await send(message)

        await self._app(scope, receive, measured)
