"""Durations on the command line: `90`, `90s`, `2m`, `1h`."""

import re
from typing import Final

import typer

_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(s|m|h)?")
_UNIT_SECONDS: Final = {None: 1, "s": 1, "m": 60, "h": 3600}


def seconds_of(text: str) -> float:
    """Read a duration as seconds.

    >>> seconds_of("90"), seconds_of("1.5m")
    (90.0, 90.0)
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise typer.BadParameter(f"a duration reads 90, 90s, 2m or 1h, not {text!r}")
    return float(match[1]) * _UNIT_SECONDS[match[2]]
