"""What all detectors share: how they store what they learned, and when a verdict is news."""

from typing import Final, Generic, TypeVar

import msgspec

from schemas.incident import IncidentKind, Severity, Slice
from schemas.times import parse_ms
from streams.guard.detector import Verdict

VERSION: Final = 1
"""Of what is stored; what another version stored is refused."""
NEWS_TIMES: Final = 1.5
"""A number that became so many times as large, or as small, is told again."""
AWAY_MS: Final = 30_000
"""Whoever has not been told the time for so long was away, and knows nothing of what happened meanwhile."""

_SEVERITIES: Final[tuple[Severity, ...]] = ("minor", "major", "critical")


class Said(msgspec.Struct):
    """What was last said of a slice that is not well."""

    slice: Slice
    severity: Severity
    size: float
    since_ms: int
    """When it began, by the clock that its detector goes by."""


class Learned(msgspec.Struct, kw_only=True):
    """What a detector stores; each adds its own."""

    version: int = VERSION
    said: dict[str, Said] = msgspec.field(default_factory=dict)
    """By kind and slice, what fires now."""


L = TypeVar("L", bound=Learned)


class Kept(Generic[L]):
    """A detector whose memory is one struct, stored as MessagePack."""

    def __init__(self, learned: L) -> None:
        """Begin with what is known before anything was seen."""
        self._learned = learned
        self._decoder = msgspec.msgpack.Decoder(type(learned))

    def state(self) -> bytes:
        """Return what was learned, for a detector of the same name to go on with."""
        return msgspec.msgpack.encode(self._learned)

    def restore(self, state: bytes) -> None:
        """Go on from what was stored; raise `ValueError` when it cannot be read."""
        try:
            learned = self._decoder.decode(state)
        except msgspec.DecodeError as error:
            raise ValueError(f"{type(self).__name__} cannot read what was stored: {error}") from error
        if learned.version != VERSION:
            raise ValueError(f"{type(self).__name__} reads version {VERSION}, not {learned.version}")
        self._learned = learned

    def _said(self, kind: IncidentKind, about: Slice) -> Said | None:
        """Return what fires of a slice; None when it is well."""
        # Mostly nothing fires at all: then no name needs to be made.
        return self._learned.said.get(name_of(kind, about)) if self._learned.said else None

    def _say(
        self,
        kind: IncidentKind,
        about: Slice,
        severity: Severity,
        detail: str,
        numbers: dict[str, float],
        *,
        size: float,
        at_ms: int,
        since_ms: int | None = None,
        users: tuple[str, ...] = (),
    ) -> list[Verdict]:
        """Return the verdict that a slice is not well, if that is news; it never becomes milder until it ends."""
        name = name_of(kind, about)
        before = self._learned.said.get(name)
        if before is not None:
            severity = max(severity, before.severity, key=_SEVERITIES.index)
            if severity == before.severity and before.size / NEWS_TIMES <= size <= before.size * NEWS_TIMES:
                return []
        begun_ms = at_ms if before is None else before.since_ms
        self._learned.said[name] = Said(about, severity, size, begun_ms)
        eases = before is not None and size < before.size and severity == before.severity
        return [Verdict(kind, about, True, severity, detail, numbers, since_ms, users, eases=eases)]

    def _unsay(self, kind: IncidentKind, about: Slice, detail: str, numbers: dict[str, float]) -> list[Verdict]:
        """Return the verdict that a slice is well again, if anything else was said of it."""
        before = self._learned.said.pop(name_of(kind, about), None) if self._learned.said else None
        return [] if before is None else [Verdict(kind, about, False, before.severity, detail, numbers)]


def name_of(kind: IncidentKind, about: Slice) -> str:
    """Return what a kind of trouble with a slice is called in stored state.

    >>> name_of("feed_partial", Slice(network="twitter", raw_partition=3))
    'feed_partial twitter//3/'
    """
    parts = (about.network, about.source, about.raw_partition, about.partition)
    return f"{kind} " + "/".join("" if part is None else str(part) for part in parts)


def part(of: float, whole: float) -> float:
    """Return a share; nothing of nothing is none.

    >>> part(1, 4), part(0, 0)
    (0.25, 0.0)
    """
    return of / whole if whole > 0 else 0.0


def since(before: int | None, now: int) -> int:
    """Return how much a counter rose; one that was not known, or went back, counts from now on.

    >>> since(3, 5), since(5, 3), since(None, 7)
    (2, 0, 0)
    """
    return 0 if before is None else max(0, now - before)


def time_ms(text: str | None) -> int | None:
    """Return a time in milliseconds since 1970; None where there is none, or none that can be read.

    >>> time_ms("1970-01-01T00:00:01Z"), time_ms("yesterday"), time_ms(None)
    (1000, None, None)
    """
    try:
        return None if text is None else parse_ms(text)
    except ValueError:
        return None
