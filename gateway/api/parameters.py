"""Parameters of requests: each is read here, within its limits, or refused with a reason."""

import math
from typing import Final

from starlette.requests import Request

from gateway.problems import ProblemError
from schemas.limits import SEQUENCE_MAX, USER_BYTES_MAX
from schemas.users import is_user_id

USERS_MAX: Final = 100
"""Users that one request may ask about."""


def only(request: Request, *names: str) -> None:
    """Refuse parameters that an address does not know, and one that is given twice where it counts once."""
    for name in request.query_params:
        if name not in names:
            known = f"known are {', '.join(names)}" if names else "there are none here"
            raise ProblemError("bad-request", f"the parameter {name!r} is not known", known)


def user_of(request: Request) -> str:
    """Return the user whom the path names."""
    return checked_user(request.path_params["user"])


def checked_user(user: str) -> str:
    """Return a user id, or refuse what cannot be one."""
    if not is_user_id(user):
        raise ProblemError("bad-request", f"a user id has 1 to {USER_BYTES_MAX} UTF-8 bytes and no control characters")
    return user


def users_of(request: Request) -> list[str]:
    """Return the users whom the query names, each once, in its order."""
    users = list(dict.fromkeys(request.query_params.getlist("user")))
    if not 1 <= len(users) <= USERS_MAX:
        raise ProblemError("bad-request", f"name 1 to {USERS_MAX} users, as user=…&user=…; these are {len(users)}")
    return [checked_user(user) for user in users]


def whole(request: Request, name: str, default: int, least: int, most: int) -> int:
    """Return a whole number within limits."""
    values = request.query_params.getlist(name)
    if not values:
        return default
    text = values[0]
    if len(values) > 1 or not text.isascii() or not text.isdigit() or not least <= int(text[:20]) <= most:
        raise ProblemError("bad-request", f"{name} must be one whole number from {least} to {most}, not {text[:40]!r}")
    return int(text)


def single(request: Request, name: str) -> str | None:
    """Return a parameter that may be given once; None where it is not."""
    values = request.query_params.getlist(name)
    if len(values) > 1:
        raise ProblemError("bad-request", f"{name} can be given once, not {len(values)} times")
    return values[0] if values else None


def number(request: Request, name: str, least: float, most: float) -> float | None:
    """Return a number within limits; None where it is not given."""
    text = single(request, name)
    if text is None:
        return None
    try:
        value = float(text[:40])
    except ValueError:
        value = math.nan
    if not least <= value <= most:
        raise ProblemError("bad-request", f"{name} must be one number from {least:g} to {most:g}, not {text[:40]!r}")
    return value


def min_sequence(request: Request) -> int:
    """Return the sequence that the asker has seen already."""
    return whole(request, "min_sequence", 0, 0, SEQUENCE_MAX)
