"""Reads the bodies of requests, within a size and a time."""

import asyncio
from typing import Final, TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request

from gateway.problems import ProblemError

T = TypeVar("T")

BODY_SECONDS_MAX: Final = 10.0
"""A body that takes longer is refused."""
_JSON: Final = "application/json"


async def json_body(request: Request, of: type[T], bytes_max: int) -> T:
    """Return a body as what it must be; raise `ProblemError` for one that is not, is too large or too slow."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _JSON:
        raise ProblemError("not-json", "its content type is another", f"send Content-Type: {_JSON}")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise ProblemError("not-json", "its content is encoded", "send it as it is, without Content-Encoding")
    try:
        async with asyncio.timeout(BODY_SECONDS_MAX):
            body = bytearray()
            async for part in request.stream():
                body += part
                if len(body) > bytes_max:
                    raise ProblemError(
                        "too-large", f"it has more than {bytes_max:,} bytes", headers={"Connection": "close"}
                    )
    except TimeoutError:
        raise ProblemError(
            "too-slow", f"its body took more than {BODY_SECONDS_MAX:g} seconds", headers={"Connection": "close"}
        ) from None
    except ClientDisconnect:
        raise ProblemError("bad-request", "its body ended early") from None
    try:
        return msgspec.json.decode(bytes(body), type=of)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProblemError("bad-request", str(error)) from None
