"""Lets routes see paths as they were sent: a user id may hold a slash, which comes as `%2F` and divides nothing."""

from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

PATH_BYTES_MAX: Final = 1_000
"""Bytes of a path: an id of 256 bytes, each of them escaped, and what is around it."""


class EncodedPaths:
    """An application whose routes match encoded paths; `gateway.api.parameters.user_of` decodes what they find."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] == "http":
            path = scope.get("raw_path", b"").partition(b"?")[0]
            # Too long for anything that there is: then it is not found.
            scope["path"] = path.decode("latin-1") if len(path) <= PATH_BYTES_MAX else "/too-long"
        await self._app(scope, receive, send)
