"""What the demonstration shows of the scores: who is on top, who moved, and why."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from heapq import nlargest
from typing import Final

from schemas.change import ScoreChange

RECENT_MAX: Final = 40
NOTABLE_A_LOOK: Final = 2
"""Changes picked for the list at each look: thousands come a second, and nobody reads so fast."""
RANKS_KEPT: Final = 100


@dataclass(frozen=True, slots=True)
class Standing:
    """One of the top users."""

    rank: int
    climbed: int
    """Places won since the look before the last; negative when lost."""
    user: str
    score: float
    moved: float
    """How far the score moved since then."""
    networks: dict[str, float]
    is_new: bool


@dataclass(frozen=True, slots=True)
class Reason:
    """A change and what lies behind it."""

    change: ScoreChange
    networks: tuple[str, ...]
    """Networks whose own score moved."""


class Board:
    """The newest score of everyone, and a few recent changes."""

    def __init__(self) -> None:
        """Start with nobody."""
        self.changes = 0
        self.recent: deque[Reason] = deque(maxlen=RECENT_MAX)
        self._newest: dict[str, ScoreChange] = {}
        self._ranks: dict[str, int] = {}
        self._scores: dict[str, float] = {}

    @property
    def users(self) -> int:
        """How many users have a score."""
        return len(self._newest)

    def take(self, changes: Iterable[ScoreChange]) -> None:
        """Take in changes, in their order, and pick the notable ones: large moves of high scores."""
        looked: list[tuple[float, Reason]] = []
        for change in changes:
            former = self._newest.get(change.user)
            if change.score is not None:
                known = former.networks if former else {}
                moved = tuple(name for name, score in change.networks.items() if known.get(name) != score)
                weight = abs(change.score - (change.previous or 1.0)) * change.score
                if weight > 0 or change.previous is None:  # Else a part moved alone, too little for the whole.
                    looked.append((weight, Reason(change, moved)))
            self._newest[change.user] = change
            self.changes += 1
        for _, reason in nlargest(NOTABLE_A_LOOK, looked, key=lambda pair: pair[0]):
            self.recent.appendleft(reason)

    def top(self, count: int) -> list[Standing]:
        """Rank the users with the highest scores, compared with when `remember` was last called."""
        best = self._best(count)
        return [
            Standing(
                rank=rank,
                climbed=self._ranks.get(change.user, RANKS_KEPT + 1) - rank if self._ranks else 0,
                user=change.user,
                score=change.score or 0.0,
                moved=(change.score or 0.0) - self._scores.get(change.user, change.score or 0.0),
                networks=change.networks,
                is_new=bool(self._ranks) and change.user not in self._ranks,
            )
            for rank, change in enumerate(best, 1)
        ]

    def remember(self) -> None:
        """Keep the ranks and scores of now, for later comparison."""
        best = self._best(RANKS_KEPT)
        self._ranks = {change.user: rank for rank, change in enumerate(best, 1)}
        self._scores = {change.user: change.score or 0.0 for change in best}

    def _best(self, count: int) -> list[ScoreChange]:
        return nlargest(count, self._newest.values(), key=lambda change: (change.score or 0.0, change.user))
