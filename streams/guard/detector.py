"""What a detector is: a small class that sees observations and says what it thinks of one slice of the world.

No clock, no I/O: time is in the observations. A detector keeps what it has learned in `state`, which the guard stores,
so that a standby goes on where it was. Its docstring states its false-alarm budget, and a test holds it to that.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from schemas.incident import IncidentKind, Severity, Slice
from streams.guard.observations import Observation


class Verdict(NamedTuple):
    """What a detector thinks of a slice now; it says so again whenever its mind or its numbers change much."""

    kind: IncidentKind
    slice: Slice
    firing: bool
    """False ends what it said before; nothing is said of slices that were always well."""
    severity: Severity
    detail: str
    """In words and numbers, one line."""
    numbers: dict[str, float]
    """What was measured, units in the names, and `limit` where one was passed."""
    since_ms: int | None = None
    """Event time from which on results may be touched; None where unknown."""
    users: tuple[str, ...] = ()
    """Users whom it touches, where the detector knows them."""
    incident: str | None = None
    """An incident that this is only a consequence of, as `finding` says: it joins that one, or nothing comes of it."""
    eases: bool = False
    """It fires still, but is less than it was: the headline goes on to say how bad it was."""
    finding: str | None = None
    """What evidence calls it; None: as its kind."""


class Firing(NamedTuple):
    """What a detector finds at the moment."""

    detector: str
    kind: IncidentKind
    severity: Severity
    slice: Slice


class Detector(Protocol):
    """Watches one thing about all slices of a kind."""

    name: str
    """Names it in evidence, metrics and stored state; never changes."""

    def update(self, observation: Observation) -> Sequence[Verdict]:
        """Take in one observation; return verdicts that are new, mostly none."""

    def state(self) -> bytes:
        """Return what was learned, for a detector of the same name to go on with."""

    def restore(self, state: bytes) -> None:
        """Go on from what was stored; raise `ValueError` when it cannot be read."""
