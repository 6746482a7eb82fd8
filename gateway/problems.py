"""What went wrong with a request, as `application/problem+json` (RFC 9457)."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from schemas.gateway import EventError, Problem, encode

MEDIA_TYPE: Final = "application/problem+json"

TITLES: Final[Mapping[str, tuple[int, str]]] = {
    "bad-request": (400, "The request cannot be understood"),
    "unauthorized": (401, "An API key is needed"),
    "forbidden": (403, "This API key may not do that"),
    "invalid-events": (400, "Some of the events cannot be taken, so none was"),
    "too-many-changes": (400, "This span has too many changes to be looked through"),
    "unknown-user": (404, "This user is unknown"),
    "unknown-network": (404, "There is no such network"),
    "unknown-incident": (404, "There is no such incident"),
    "no-score": (404, "This user has no score"),
    "no-pages": (503, "There are no pages here"),
    "not-found": (404, "There is nothing at this address"),
    "method-not-allowed": (405, "This address does not take that method"),
    "too-slow": (408, "The request did not come in time"),
    "older-than-seen": (409, "What is known here is older than what you have seen"),
    "already-so": (409, "It is so already"),
    "too-large": (413, "The request is too large"),
    "too-long": (414, "The address is too long"),
    "not-json": (415, "The request's body must be application/json"),
    "too-many-streams": (429, "Too many streams are open"),
    "too-many-requests": (429, "This API key makes too many requests"),
    "head-too-large": (431, "The request's headers are too large"),
    "failed": (500, "The gateway failed"),
    "busy": (503, "The gateway has too much of this to do just now"),
    "kafka-away": (503, "Kafka did not acknowledge in time"),
    "not-ordered": (503, "The order could not be given"),
    "not-ready": (503, "The gateway has not caught up yet"),
    "worker-away": (503, "The worker that keeps this user does not answer"),
}
"""Every problem: its name, HTTP status and title."""


class ProblemError(Exception):
    """A request cannot be answered; `name` is one of `TITLES`."""

    def __init__(
        self,
        name: str,
        detail: str = "",
        hint: str = "",
        headers: Mapping[str, str] | None = None,
        errors: Sequence[EventError] = (),
    ) -> None:
        super().__init__(detail)
        self.name, self.detail, self.hint, self.headers = name, detail, hint, dict(headers or {})
        self.errors = list(errors)


def response(
    name: str,
    detail: str = "",
    hint: str = "",
    headers: Mapping[str, str] | None = None,
    errors: Sequence[EventError] = (),
) -> Response:
    """Return the answer that tells of a problem."""
    status, title = TITLES[name]
    problem = Problem(
        type=f"/problems#{name}", title=title, status=status, detail=detail, hint=hint, errors=list(errors)
    )
    return Response(
        encode(problem), status, headers={"Cache-Control": "no-store", **(headers or {})}, media_type=MEDIA_TYPE
    )


def on_problem(_: Request, error: Any) -> Response:
    """Answer a `ProblemError`."""
    return response(error.name, error.detail, error.hint, error.headers, error.errors)


def on_http(request: Request, error: Any) -> Response:
    """Answer what the router refuses."""
    name = {404: "not-found", 405: "method-not-allowed"}.get(error.status_code, "bad-request")
    return response(name, f"{request.method} {request.url.path}", headers=error.headers)


def on_failure(_: Request, __: Exception) -> Response:
    """Answer what nobody foresaw: the log has it, the asker does not."""
    return response("failed", hint="try again; the gateway's log says what happened")
