"""What schemathesis cannot know of a body: which times events may have."""

import re
import time
from typing import Any, Final

import schemathesis

from schemas.limits import TIME_MS_MAX
from schemas.times import MOMENT_PATTERN

_MOMENT: Final = re.compile(MOMENT_PATTERN)


@schemathesis.hook
def map_body(_context: Any, body: Any) -> Any:
    """Move times that the schema allows and that may not be over yet into the past."""
    for event in body if isinstance(body, list) else [body]:
        if isinstance(event, dict) and "time" in event:
            event["time"] = _past(event["time"])
    return body


def _past(at: Any) -> Any:
    if isinstance(at, str) and _MOMENT.fullmatch(at):
        return f"2004{at[4:]}"
    if isinstance(at, float) and at.is_integer():
        at = int(at)  # The same number for a schema; events write whole numbers without a fraction.
    if isinstance(at, int) and not isinstance(at, bool) and time.time() * 1000 < at < TIME_MS_MAX:
        return at // 4
    return at
