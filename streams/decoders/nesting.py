"""How deeply JSON is nested, told before it is parsed.

Parsers count levels against the stack that is left, so that what they take depends on who calls them; the limit is
ours and stands before theirs.
"""

from typing import Any, Final

import numba
import numpy as np

from schemas.limits import NESTING_MAX

SHORT_BYTES: Final = 2 * NESTING_MAX
"""A text no longer than this cannot be nested too deeply: every level has an opening and a closing character."""


_SEARCHED_BYTES: Final = 2_000
"""Up to here searching twice costs less than calling a kernel."""


class TooDeepError(ValueError):
    """JSON that is nested too deeply to be taken in."""

    def __init__(self) -> None:
        super().__init__(f"nested more than {NESTING_MAX} levels deep")


def require_shallow(text: bytes, objects: int = 1) -> None:
    """Raise `TooDeepError` when arrays and objects are nested more than `NESTING_MAX` levels.

    `objects` is how many there are known to be side by side: where few brackets are left for nesting, none of the
    text has to be looked at. Brackets in strings are text.

    >>> require_shallow(b"[" * NESTING_MAX + b"]" * NESTING_MAX)
    >>> require_shallow(b"[" * (NESTING_MAX + 1) + b"]" * (NESTING_MAX + 1))
    Traceback (most recent call last):
        ...
    streams.decoders.nesting.TooDeepError: nested more than 128 levels deep
    """
    if len(text) <= SHORT_BYTES:
        return
    if len(text) <= _SEARCHED_BYTES and text.count(b"{") + text.count(b"[") <= NESTING_MAX:
        return
    characters = np.frombuffer(text, np.uint8)
    if _openers(characters) - (objects - 1) > NESTING_MAX and _levels(characters) > NESTING_MAX:
        raise TooDeepError


@numba.njit(cache=True, nogil=True)
def _openers(text: Any) -> int:
    count = 0
    for at in range(len(text)):
        # One bit apart; compiled to vector instructions.
        count += (text[at] | 32) == 123
    return count


@numba.njit(cache=True, nogil=True)
def _levels(text: Any) -> int:
    """Return the most levels open at once, counting no further than one past the limit."""
    level = deepest = 0
    in_string = escaped = False
    for at in range(len(text)):
        character = text[at]
        if in_string:
            if escaped:
                escaped = False
            elif character == 92:
                escaped = True
            elif character == 34:
                in_string = False
        elif character == 34:
            in_string = True
        elif character in (91, 123):
            level += 1
            deepest = max(deepest, level)
            if deepest > NESTING_MAX:
                break
        elif character in (93, 125):
            level -= 1
    return deepest
