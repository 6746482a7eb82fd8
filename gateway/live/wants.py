"""What somebody wants to hear of."""

from dataclasses import dataclass, field

from gateway.access import Caller
from schemas.change import ScoreChange


@dataclass(frozen=True, slots=True)
class Wants:
    """Changes that a stream is about: those that meet all that is given.

    >>> change = ScoreChange("t:1", 2, 49.0, 51.0, None, {"twitter": 49.0}, "2025-01-01T00:00:00Z", "decay", "1")
    >>> Wants(above=50.0).meets(change), Wants(network="mastodon").meets(change)
    (True, False)
    """

    users: frozenset[str] = field(default_factory=frozenset)
    """Of these users; of all where there are none."""
    network: str | None = None
    """Of who has a score on this network; who may have lost it there is told too."""
    above: float | None = None
    """Of who is at this score or above, or was before: who falls below is told once."""

    def meets(self, change: ScoreChange) -> bool:
        """Return whether a change is one of these."""
        if self.users and change.user not in self.users:
            return False
        if self.network is not None and self.network not in change.networks and not takes_away(change):
            return False
        above = self.above
        return above is None or (change.score or 0.0) >= above or (change.previous or 0.0) >= above


def takes_away(change: ScoreChange) -> bool:
    """Return whether a change may be about networks that it does not name, since the user has no score there now."""
    return change.score is None or change.cause == "retraction"


@dataclass(frozen=True, slots=True)
class Asked:
    """A stream as it was asked for."""

    wants: Wants
    caller: Caller
