"""What can be asked of the gateway: each operation is described once, for its route and for /openapi.json alike.

Parameters are the fields of a `Query`: what the document says of one is what `Operation.read` lets through.
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import lru_cache
from inspect import iscoroutinefunction
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.inspect import ListType, Metadata, StructType, type_info
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.problems import ProblemError

EVERYWHERE: Final = ("unauthorized", "forbidden", "too-long", "too-many-requests", "failed", "not-ready")
"""Problems that any operation can have."""

PARAMETERS_BYTES_MAX: Final = 64_000
"""Bytes of all parameters of a request: a hundred users, each letter of whose ids is escaped, and some."""
_PATTERN: Final = re.compile(r"Expected `str` matching regex '.*'")


class Query(Struct, frozen=True, kw_only=True):
    """The parameters of an operation; this one has none."""


Endpoint = Callable[[Request, Any], Response] | Callable[[Request, Any], Awaitable[Response]]
"""Answers a request with these parameters; in a thread of the pool where it is no coroutine function."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One thing that can be asked for."""

    path: str
    name: str
    """What programs that are made from the document call it."""
    summary: str
    answer: Any
    """Type of the answer."""
    query: type[Query] = Query
    method: str = "GET"
    status: int = 200
    media_type: str = "application/json"
    body: Any = None
    """Type of the request's body, where it has one."""
    problems: tuple[str, ...] = ()
    """Names of what can go wrong, beside bad parameters and `EVERYWHERE`."""

    def route(self, endpoint: Endpoint) -> "OperationRoute":
        """Return the route on which `endpoint` answers."""
        return OperationRoute(self, endpoint)

    def read(self, request: Request) -> Any:
        """Return the parameters of a request, or refuse those that are none of this operation, or not as they must be.

        What an operation does not know is refused, and so is one that is given twice where it counts once.
        """
        text = request.scope["query_string"]
        if not text:
            return _convert(self.query, {})
        if len(text) > PARAMETERS_BYTES_MAX:
            raise ProblemError("bad-request", f"parameters have at most {PARAMETERS_BYTES_MAX:,} bytes")
        lists, given = _fields(self.query), dict[str, Any]()
        for name, value in request.query_params.multi_items():
            if name not in lists:
                known = f"known are {', '.join(lists)}" if lists else "there are none here"
                raise ProblemError("bad-request", f"the parameter {name[:40]!r} is not known", known)
            if lists[name]:
                given.setdefault(name, []).append(value)
            elif name in given:
                raise ProblemError("bad-request", f"the parameter {name!r} is given twice", "give it once")
            else:
                given[name] = value
        return _convert(self.query, given)


class OperationRoute(Route):
    """A route that knows its operation."""

    def __init__(self, operation: Operation, endpoint: Endpoint) -> None:
        """Answer with `endpoint`."""
        self.operation = operation

        async def soon(request: Request) -> Any:
            return await endpoint(request, operation.read(request))  # type: ignore[misc]

        def in_thread(request: Request) -> Any:
            return endpoint(request, operation.read(request))

        answer = soon if iscoroutinefunction(endpoint) else in_thread
        super().__init__(operation.path, answer, methods=[operation.method])


@lru_cache
def _fields(query: type[Query]) -> dict[str, bool]:
    """Return the parameters, and which of them may be given several times."""
    info = type_info(query)
    assert isinstance(info, StructType)  # noqa: S101 - it is made of a Struct
    return {field.encode_name: isinstance(_bare(field.type), ListType) for field in info.fields}


def _bare(kind: Any) -> Any:
    return kind.type if isinstance(kind, Metadata) else kind


def _convert(query: type[Query], given: dict[str, Any]) -> Any:
    try:
        return msgspec.convert(given, query, strict=False)
    except msgspec.ValidationError as error:
        # A pattern of hundreds of characters helps nobody.
        text = _PATTERN.sub("It has not the form that it must have", str(error))
        raise ProblemError("bad-request", f"parameters: {text}", "/openapi.json says what each may be") from error
