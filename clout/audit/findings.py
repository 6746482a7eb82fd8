"""What an audit finds: law by law what broke it, what could not be judged, and how much was looked at."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from scorer.arrays import Bools
from scorer.laws import LAWS

OFFENDERS_MAX: Final = 5
"""Offenders of a law that are named; all are counted."""

HOLDS: Final = "holds"
BROKEN: Final = "broken"
NOT_JUDGED: Final = "could not be judged"


@dataclass(frozen=True, slots=True)
class Offence:
    """Somebody, or something, that breaks a law."""

    who: str
    what: str


@dataclass(slots=True)
class Verdict:
    """What an audit says of one law."""

    law: str
    users: int = 0
    """That the law was held against."""
    changes: int = 0
    broken: int = 0
    offences: list[Offence] = field(default_factory=list)
    """The first few."""
    unjudged: list[str] = field(default_factory=list)
    """Why it could not be judged everywhere."""
    counted: dict[str, int] = field(default_factory=dict)
    """What was left out or is worth knowing, and how many of it."""

    @property
    def verdict(self) -> str:
        """One of `HOLDS`, `BROKEN`, `NOT_JUDGED`."""
        if self.broken:
            return BROKEN
        return NOT_JUDGED if self.unjudged else HOLDS

    def as_dict(self) -> dict[str, Any]:
        """Return the public form."""
        return {
            "law": self.law,
            "verdict": self.verdict,
            "users": self.users,
            "changes": self.changes,
            "broken": self.broken,
            "offenders": [{"who": offence.who, "what": offence.what} for offence in self.offences],
            "not_judged": self.unjudged,
            "counted": self.counted,
        }


class Findings:
    """The verdicts on all laws, as they come about.

    >>> findings = Findings()
    >>> findings.offend(6, "twitter:7", "the sequence 4 comes after 2")
    >>> [verdict.law for verdict in findings.verdicts if verdict.verdict == BROKEN]
    ['sequence_and_previous_chain']
    """

    def __init__(self) -> None:
        """Begin with all laws holding."""
        self._laws = {number: Verdict(name) for number, name in LAWS.items()}

    @property
    def verdicts(self) -> list[Verdict]:
        """One a law, in their order."""
        return list(self._laws.values())

    @property
    def all_hold(self) -> bool:
        """Whether every law was judged and none is broken."""
        return all(verdict.verdict == HOLDS for verdict in self.verdicts)

    def looked_at_users(self, users: int) -> None:
        """Count users whom all laws were held against."""
        for verdict in self.verdicts:
            verdict.users += users

    def looked_at_changes(self, laws: Iterable[int], changes: int) -> None:
        """Count changes that laws were held against."""
        for law in laws:
            self._laws[law].changes += changes

    def offend(self, law: int, who: str, what: str) -> None:
        """Take note of one offender."""
        verdict = self._laws[law]
        verdict.broken += 1
        if len(verdict.offences) < OFFENDERS_MAX:
            verdict.offences.append(Offence(who, what))

    def offend_all(self, law: int, broken: Bools, who: Sequence[bytes], what: str) -> None:
        """Take note of all offenders: those of `who` that are marked."""
        at = np.flatnonzero(broken)
        verdict = self._laws[law]
        for place in at[: OFFENDERS_MAX - len(verdict.offences)].tolist():
            verdict.offences.append(Offence(who[place].decode(errors="replace"), what))
        verdict.broken += len(at)

    def leave_open(self, laws: Iterable[int], why: str) -> None:
        """Say why laws could not be judged."""
        for law in laws:
            self._laws[law].unjudged.append(why)

    def count(self, law: int, what: str, number: int) -> None:
        """Add up what was left out of a law, or is worth knowing of it."""
        if number:
            counted = self._laws[law].counted
            counted[what] = counted.get(what, 0) + number
