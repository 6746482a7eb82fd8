"""Says who asks, and refuses what they may not: routes find the caller in the request's scope."""

from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from gateway import problems
from gateway.access import Access
from gateway.context import CALLER
from gateway.problems import ProblemError

_AUTHORIZATION: Final = b"authorization"


class Callers:
    """Middleware that puts the caller into each request's scope."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        """Wrap an application."""
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == _AUTHORIZATION), b"")
        try:
            scope[CALLER] = self._access.caller(given.decode("latin-1"))
        except ProblemError as error:
            await problems.response(error.name, error.detail, error.hint, error.headers)(scope, receive, send)
            return
        await self._app(scope, receive, send)
