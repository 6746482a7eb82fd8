"""Keeps what is malformed out, and says in every answer what browsers must not do with it; the outermost middleware."""

import re
from collections.abc import Collection
from typing import Final
from urllib.parse import unquote_to_bytes

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway import problems
from gateway.encoded_paths import PATH_BYTES_MAX
from gateway.operations import PARAMETERS_BYTES_MAX
from gateway.problems import ProblemError

METHODS: Final = ("GET", "HEAD", "POST", "OPTIONS")
_POSTED: Final = ("/v1/interactions", "/v1/operate/")
"""Begin the addresses that take what is sent to them, and nothing else."""
_BAD_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_CONTROL: Final = re.compile(rb"[\x00-\x1f]")
_PREFLIGHT_SECONDS: Final = 600
_Header = tuple[bytes, bytes]

SECURITY_HEADERS: Final[tuple[_Header, ...]] = (
    (
        b"content-security-policy",
        b"default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
_SAME_ORIGIN: Final = (b"cross-origin-resource-policy", b"same-origin")
_TLS: Final = (b"strict-transport-security", b"max-age=31536000")
"""Only where the request came by TLS, as a proxy in front says."""


class Safety:
    """Middleware that checks what is asked for, adds headers, and answers browsers of other origins."""

    def __init__(self, app: ASGIApp, origins: Collection[str] = ()) -> None:
        """Wrap an application; pages of these `origins` may read its answers."""
        self._app, self._origins = app, frozenset(origin.encode() for origin in origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        origin = next((value for name, value in scope["headers"] if name == b"origin"), None)
        more = self._headers(scope["scheme"], origin)

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = message.get("headers", [])
                message["headers"] = [*own, *more]
            await send(message)

        try:
            check_target(scope["raw_path"], scope["query_string"])
            check_method(scope["method"], scope["path"])
        except ProblemError as error:
            await problems.response(error.name, error.detail, error.hint, error.headers)(scope, receive, guarded)
            return
        if scope["method"] == "OPTIONS":
            await guarded({"type": "http.response.start", "status": 204, "headers": self._options(scope, origin)})
            await guarded({"type": "http.response.body", "body": b""})
            return
        await self._app(scope, receive, guarded)

    def _headers(self, scheme: str, origin: bytes | None) -> list[_Header]:
        headers = [*SECURITY_HEADERS]
        if scheme == "https":
            headers.append(_TLS)
        if self._origins:
            headers.append((b"vary", b"Origin"))
        if origin is None or origin not in self._origins:
            return [*headers, _SAME_ORIGIN]
        exposed = b"ETag, RateLimit, RateLimit-Policy, Retry-After"
        return [
            *headers,
            (b"cross-origin-resource-policy", b"cross-origin"),
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", exposed),
        ]

    def _options(self, scope: Scope, origin: bytes | None) -> list[_Header]:
        asked = any(name == b"access-control-request-method" for name, _ in scope["headers"])
        if not asked or origin not in self._origins:
            return [(b"allow", ", ".join(methods_at(scope["path"])).encode())]
        return [
            (b"access-control-allow-methods", b"GET, HEAD, POST"),
            (b"access-control-allow-headers", b"Authorization, Content-Type, If-None-Match, Last-Event-ID"),
            (b"access-control-max-age", str(_PREFLIGHT_SECONDS).encode()),
        ]


def methods_at(path: str) -> tuple[str, ...]:
    """Return what an address takes.

    >>> methods_at("/v1/top"), methods_at("/v1/interactions")
    (('GET', 'HEAD', 'OPTIONS'), ('POST', 'OPTIONS'))
    """
    return ("POST", "OPTIONS") if path.startswith(_POSTED) else ("GET", "HEAD", "OPTIONS")


def check_method(method: str, path: str) -> None:
    """Raise `ProblemError` for a method that nothing here takes.

    >>> check_method("TRACE", "/v1/top")
    Traceback (most recent call last):
    gateway.problems.ProblemError: TRACE /v1/top
    """
    if method not in METHODS:
        raise ProblemError("method-not-allowed", f"{method} {path}", "", {"Allow": ", ".join(methods_at(path))})


def check_target(path: bytes, query: bytes) -> None:
    """Raise `ProblemError` for an address that is too long, or is no text when its escapes are read.

    >>> check_target(b"/v1/scores/J%C3%BCrg", b"")
    >>> check_target(b"/v1/scores/%00", b"")
    Traceback (most recent call last):
    gateway.problems.ProblemError: the path has control characters
    """
    if len(path) > PATH_BYTES_MAX:
        raise ProblemError("too-long", f"the path has {len(path):,} bytes, at most {PATH_BYTES_MAX:,}")
    if len(query) > PARAMETERS_BYTES_MAX:
        raise ProblemError("too-long", f"the query has {len(query):,} bytes, at most {PARAMETERS_BYTES_MAX:,}")
    for name, text in (("path", path), ("query", query)):
        if b"%" not in text:
            continue
        if _BAD_ESCAPE.search(text):
            raise ProblemError("bad-request", f"the {name} has a % that is not followed by two hexadecimal digits")
        read = unquote_to_bytes(text)
        if _CONTROL.search(read):
            raise ProblemError("bad-request", f"the {name} has control characters")
        try:
            read.decode()
        except UnicodeDecodeError:
            raise ProblemError("bad-request", f"the {name} is not UTF-8") from None
