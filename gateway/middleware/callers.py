"""Says who asks, and refuses what they may not: routes find the caller in the request's scope."""

import asyncio
import time
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as Request

from gateway import problems
from gateway.access import CHALLENGE, Access, Caller
from gateway.context import CALLER
from gateway.middleware.rates import Rates
from gateway.problems import ProblemError
from schemas.access import Scope
from schemas.webhook import is_loopback

STREAM_PATH: Final = "/v1/scores/stream"
_OPERATE: Final = "/v1/operate"
_READING: Final = frozenset({"GET", "HEAD"})
_WAIT_SECONDS: Final = 10.0
"""A stream waits so long for a gateway that has just started: a browser gives up for good at any other answer."""
SCOPES_HEADER: Final = "Clout-Scopes"
"""What the caller may do, so that pages offer nothing else."""
_LOOK_SECONDS: Final = 0.05


def is_of_api(path: str) -> bool:
    """Return whether a path is for programs, who need a key there.

    >>> is_of_api("/v1/top"), is_of_api("/v1x")
    (True, False)
    """
    return path == "/v1" or path.startswith("/v1/")


def scope_of(method: str, path: str) -> Scope | None:
    """Return what one must be allowed to do for a request, None where anybody may.

    >>> [scope_of("GET", "/v1/top"), scope_of("POST", "/v1/operate/freeze"), scope_of("GET", "/")]
    ['read', 'operate', None]
    """
    if not is_of_api(path):
        return None
    if path == _OPERATE or path.startswith(f"{_OPERATE}/"):
        return "operate"
    if method not in _READING:
        return "write"
    return "stream" if path.rstrip("/") == STREAM_PATH else "read"


class Callers:
    """Middleware that puts the caller into each request's scope."""

    def __init__(self, app: ASGIApp, access: Access, clock: Callable[[], float] = time.monotonic) -> None:
        """Wrap an application; `clock` gives seconds."""
        self._app, self._access, self._rates = app, access, Rates(clock)

    async def __call__(self, scope: Request, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        needed = scope_of(scope["method"], scope["path"])
        try:
            # Until all keys and users are known, nobody can say who may ask about whom.
            await self._wait_until_told(needed)
            caller = self._caller(scope, needed)
        except ProblemError as error:
            await problems.response(error.name, error.detail, error.hint, error.headers)(scope, receive, send)
            return
        scope[CALLER] = caller
        if needed is None or (not caller.key and needed == "stream"):
            await self._app(scope, receive, send)
            return
        told = {SCOPES_HEADER: ", ".join(sorted(caller.scopes))}
        if caller.key:
            allowed, rates = self._rates.take(caller.key, caller.rate_per_second)
            if not allowed:
                detail = f"this key may make {caller.rate_per_second:,} requests a second"
                headers = {**rates, "Retry-After": "1"}
                refusal = problems.response("too-many-requests", detail, "try again in a second", headers)
                await refusal(scope, receive, send)
                return
            told.update(rates)
        more = [(name.lower().encode(), value.encode()) for name, value in told.items()]

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *more]
            await send(message)

        await self._app(scope, receive, counted)

    async def _wait_until_told(self, needed: Scope | None) -> None:
        if needed is None:
            return
        if needed == "stream":
            deadline = time.monotonic() + _WAIT_SECONDS
            while not self._access.is_told() and time.monotonic() < deadline:  # noqa: ASYNC110  told by another thread
                await asyncio.sleep(_LOOK_SECONDS)
            missing = None if self._access.is_told() else "it has not been told yet who may ask"
        else:
            missing = self._access.missing()
        if missing is not None:
            raise ProblemError("not-ready", missing, "try again in a moment", {"Retry-After": "1"})

    def _caller(self, scope: Request, needed: Scope | None) -> Caller:
        headers = Headers(scope=scope)
        caller = self._access.caller(headers.get("authorization", "") if needed is not None else "")
        if needed is None or (needed in caller.scopes and (caller.key or is_at_home(scope["scheme"], headers))):
            return caller
        if caller.key:
            detail = f"it may {', '.join(sorted(caller.scopes))}; this takes {needed}"
            raise ProblemError("forbidden", detail, "an operator makes one that may with `clout key create`")
        raise ProblemError("unauthorized", "", "send it as `Authorization: Bearer KEY`", CHALLENGE)


def is_at_home(scheme: str, headers: Headers) -> bool:
    """Return whether a request without a key comes from a page of this gateway, or from no page.

    A gateway that asks for no key is reached at a loopback address alone. A page from elsewhere, in a browser on that
    machine, could ask it too: it has another origin, or a name of its own that it made point here.
    """
    host, origin = headers.get("host", ""), headers.get("origin")
    if headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}:
        return False
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return is_loopback(name) and (origin is None or origin == f"{scheme}://{host}")
