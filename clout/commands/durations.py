"""Durations on the command line, `90`, `90s`, `2m`, `1h`, and in words; moments: RFC 3339, or a duration ago."""

import re
from typing import Final

import typer

from schemas.times import parse_ms

_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(s|m|h)?")
_WORDS: Final = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
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


def moment_ms(text: str, now_ms: int, named_by: str | None = None) -> int:
    """Read a moment as milliseconds since 1970; a duration is so long before `now_ms`.

    What is neither, or lies before 1970, is refused, by the name of the option.

    >>> moment_ms("1970-01-01T00:00:01Z", 0), moment_ms("2s", 10_000)
    (1000, 8000)
    """
    try:
        is_ago = _DURATION.fullmatch(text.strip())
        moment = now_ms - int(seconds_of(text) * 1000) if is_ago else parse_ms(text.strip())
    except ValueError:
        message = f"a moment reads 2026-01-31T12:00:00Z, or 2h for so long ago, not {text!r}"
        raise typer.BadParameter(message, param_hint=named_by) from None
    if moment < 0:
        raise typer.BadParameter(f"{text!r} is before 1970", param_hint=named_by)
    return moment


def in_words(seconds: float) -> str:
    """Write a duration with its two largest units.

    >>> [in_words(seconds) for seconds in (0.4, 42.9, 3_600, 11_525, 266_400)]
    ['less than 1 s', '42 s', '1 h', '3 h 12 min', '3 d 2 h']
    """
    left, parts = int(seconds), []
    for unit, size in _WORDS:
        count, left = divmod(left, size)
        parts.append(f"{count} {unit}" if count else "")
    first = next((place for place, part in enumerate(parts) if part), None)
    return "less than 1 s" if first is None else " ".join(filter(None, parts[first : first + 2]))
