"""Waits until a command that was accepted is obeyed everywhere."""

import time
from collections.abc import Callable
from typing import Final, TypeVar

from streams.errors import CloutError

RETRY_SECONDS: Final = 0.1

Found = TypeVar("Found")


def wait_until_obeyed(look: Callable[[], tuple[Found, str]], timeout_seconds: float, hint: str) -> Found:
    """Return what a look finds once it says that nothing is late; raise `CloutError` after the time.

    >>> looks = iter([(1, "partition 1"), (2, "")])
    >>> wait_until_obeyed(lambda: next(looks), 9.0, "")
    2
    """
    deadline = time.monotonic() + timeout_seconds
    while True:
        found, late = look()
        if not late:
            return found
        if time.monotonic() > deadline:
            raise CloutError(
                f"the command was accepted, but is not obeyed everywhere after {timeout_seconds:.0f} seconds",
                detail=late,
                hint=hint,
            )
        time.sleep(RETRY_SECONDS)
