"""The checks that all formats share: from decoded interactions to those that are as they must be.

The valid case is cheap: a few passes over each column that run in C. Only what a pass finds suspicious is looked at
row by row.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.dead_letter import Reason
from schemas.interaction import CODES, REQUIRED, Interaction
from schemas.limits import (
    ID_BYTES_MAX,
    OBJECT_BYTES_MAX,
    SOURCE_BYTES_MAX,
    TIME_AHEAD_MS_MAX,
    TIME_MS_MAX,
    TIME_MS_MIN,
    USER_BYTES_MAX,
)
from schemas.times import format_ms, parse_many_ms, parse_ms
from schemas.users import CANARY_PREFIX, CANARY_SOURCE

_UTF8_BYTES_MAX: Final = 4
_UNKNOWN: Final = 253
_FIRST_PRINTABLE: Final = " "
_NEVER: Final = TIME_MS_MIN - 1

_EXEMPT: Final = {
    name: frozenset(code for kind, code in CODES.items() if name not in REQUIRED[kind])
    for name in ("id", "actor", "target")
}


class Checked:
    """Interactions by field, and what was found against some of them."""

    __slots__ = ("actors", "found", "ids", "kind", "sources", "targets", "time_ms")

    def __init__(self, events: list[Interaction], arrival_ms: NDArray[np.int64]) -> None:
        """Check every event; `arrival_ms` is int64[events]."""
        self.kind: NDArray[np.uint8] = _kinds([event.kind for event in events])
        """Codes of `schemas.interaction.CODES`."""
        self.ids = [event.id for event in events]
        self.actors = [event.actor for event in events]
        self.targets = [event.target for event in events]
        """Empty where the kind has none."""
        self.sources = [event.source for event in events]
        bad = _Bad()
        self.time_ms = _times([event.time for event in events], bad)
        _check(self, events, arrival_ms, bad)
        self.found = bad.found
        """The first thing found against a row: its reason and detail."""


def _kinds(kinds: list[str]) -> NDArray[np.uint8]:
    try:
        codes = bytes(map(CODES.__getitem__, kinds))
    except KeyError:
        codes = bytes([CODES.get(kind, _UNKNOWN) for kind in kinds])
    return np.frombuffer(codes, np.uint8)


class _Bad:
    """The first reason found against each row."""

    __slots__ = ("found",)

    def __init__(self) -> None:
        self.found: dict[int, tuple[Reason, str]] = {}

    def add(self, row: int, reason: Reason, detail: str) -> None:
        self.found.setdefault(row, (reason, detail))


def _times(times: list[int | str], bad: _Bad) -> NDArray[np.int64]:
    types = set(map(type, times))
    try:
        if types <= {int}:
            return np.fromiter(times, np.int64, len(times))
        if types == {str}:
            return parse_many_ms(times)  # type: ignore[arg-type]
    except (ValueError, OverflowError):
        pass
    return np.fromiter((_time(row, time, bad) for row, time in enumerate(times)), np.int64, len(times))


def _time(row: int, time: int | str, bad: _Bad) -> int:
    try:
        time_ms = parse_ms(time) if isinstance(time, str) else time
    except ValueError as error:
        bad.add(row, "time_invalid", f"{str(time)[:40]!r}: {error}")
        return TIME_MS_MIN
    return time_ms if TIME_MS_MIN <= time_ms < TIME_MS_MAX else _NEVER


def _check(columns: Checked, events: list[Interaction], arrival_ms: NDArray[np.int64], bad: _Bad) -> None:
    if not events:
        return
    for row in np.flatnonzero(columns.kind == _UNKNOWN).tolist():
        bad.add(row, "unknown_kind", f"kind {events[row].kind[:40]!r}")
    _check_texts(columns, bad)
    _check_optional("object_too_long", [event.object for event in events], OBJECT_BYTES_MAX, bad)
    _check_optional("source_too_long", columns.sources, SOURCE_BYTES_MAX, bad)
    _check_times(columns.time_ms, arrival_ms, bad)


def _check_texts(columns: Checked, bad: _Bad) -> None:
    _check_text("id", columns.ids, columns.kind, bad)
    for name, column in (("actor", columns.actors), ("target", columns.targets)):
        _check_text(name, column, columns.kind, bad)
        joined = "".join(column)
        for row in _with_control_characters(column, joined):
            bad.add(row, "control_character", f"{name} {column[row][:40]!r}")
        for row in _reserved(columns, column, joined):
            bad.add(row, "reserved_user", f"{name} {column[row][:40]!r}")


def _reserved(columns: Checked, column: list[str], joined: str) -> list[int]:
    """Return rows that name a synthetic account and are not the guard's: there all are such, and it says so.

    Whether they are of the network in hand is for who knows that to say (`streams.ingest_batch`).
    """
    if CANARY_PREFIX not in joined:
        return []
    return [
        row for row, text in enumerate(column) if text.startswith(CANARY_PREFIX) and not _is_the_guards(columns, row)
    ]


def _is_the_guards(columns: Checked, row: int) -> bool:
    target = columns.targets[row]
    return (
        columns.sources[row] == CANARY_SOURCE
        and columns.actors[row].startswith(CANARY_PREFIX)
        # A retraction needs none.
        and (not target or target.startswith(CANARY_PREFIX))
    )


def _check_text(name: str, column: list[str], kind: NDArray[np.uint8], bad: _Bad) -> None:
    if not all(column):
        lengths = np.fromiter(map(len, column), np.int64, len(column))
        for row in np.flatnonzero(lengths == 0).tolist():
            if int(kind[row]) not in _EXEMPT[name]:
                bad.add(row, "missing_field", f"`{name}` is absent or empty")
    bytes_max, reason = _LIMITS[name]
    for row in _longer_than(column, bytes_max):
        bad.add(row, reason, f"`{name}` has {len(column[row].encode())} bytes, at most {bytes_max}")


_LIMITS: Final[dict[str, tuple[int, Reason]]] = {
    "id": (ID_BYTES_MAX, "id_too_long"),
    "actor": (USER_BYTES_MAX, "user_too_long"),
    "target": (USER_BYTES_MAX, "user_too_long"),
}


def _check_optional(reason: Reason, column: list[str | None], bytes_max: int, bad: _Bad) -> None:
    if not any(column):
        return
    present = [text for text in column if text]
    if _longer_than(present, bytes_max):
        for row in _longer_than([text or "" for text in column], bytes_max):
            bad.add(row, reason, f"more than {bytes_max} bytes")


def _longer_than(column: list[str], bytes_max: int) -> list[int]:
    longest = max(map(len, column), default=0)
    if longest <= bytes_max and (longest * _UTF8_BYTES_MAX <= bytes_max or "".join(column).isascii()):
        return []
    return [row for row, text in enumerate(column) if len(text.encode()) > bytes_max]


def _with_control_characters(column: list[str], joined: str) -> list[int]:
    raw = np.frombuffer(joined.encode(), np.uint8)
    if not raw.size or raw.min() >= ord(_FIRST_PRINTABLE):
        return []
    return [row for row, text in enumerate(column) if text and min(text) < _FIRST_PRINTABLE]


def _check_times(time_ms: NDArray[np.int64], arrival_ms: NDArray[np.int64], bad: _Bad) -> None:
    for row in np.flatnonzero((time_ms < TIME_MS_MIN) | (time_ms >= TIME_MS_MAX)).tolist():
        bad.add(row, "time_invalid", "the time is outside 1970 to 2099, in milliseconds")
    for row in np.flatnonzero((time_ms > arrival_ms + TIME_AHEAD_MS_MAX) & (time_ms < TIME_MS_MAX)).tolist():
        detail = f"time {format_ms(int(time_ms[row]))}, arrived {format_ms(int(arrival_ms[row]))}"
        bad.add(row, "time_in_future", detail)
