"""Users as requests name them; other parameters are fields of each operation's `Query`."""

from typing import Final
from urllib.parse import unquote_to_bytes

from starlette.requests import Request

from gateway.problems import ProblemError
from schemas.limits import USER_BYTES_MAX
from schemas.users import is_user_id

USERS_MAX: Final = 100
"""Users that one request may ask about."""


def user_of(request: Request) -> str:
    """Return the user whom the path names; it is matched as it was sent (`gateway.encoded_paths`)."""
    try:
        return checked_user(unquote_to_bytes(request.path_params["user"]).decode())
    except UnicodeDecodeError as error:
        raise ProblemError("bad-request", "a user id is UTF-8", "escape each byte of it, as %C3%BC for ü") from error


def checked_user(user: str) -> str:
    """Return a user id, or refuse what cannot be one."""
    if not is_user_id(user):
        raise ProblemError("bad-request", f"a user id has 1 to {USER_BYTES_MAX} UTF-8 bytes and no control characters")
    return user
