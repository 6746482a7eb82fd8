"""What traffic must come to, computed by the reference without any of the machinery."""

import os
from collections import Counter
from dataclasses import dataclass
from typing import Final

import numpy as np

from scorer.model import Model
from scorer.reference import Event, Reference, Sums, add
from tests.drills.traffic import NETWORK, Traffic, user

FLAT: Final = Model(name="flat", influence_floor=1.0)
"""Everyone has the same influence: all three sums follow from the log alone."""
_NICE: Final = 10


@dataclass(frozen=True, slots=True)
class Expectation:
    """Sums by user, how often something was taken back from each, and what became of the rows."""

    sums: dict[str, Sums]
    retractions: Counter[str]
    outcomes: Counter[str]


class _Quiet(Reference):
    """The reference without scores: nobody asks it for changes, and influence is flat."""

    def publish(self, user: str) -> None:
        """Say nothing."""

    def once(self, event: Event) -> None:
        """Take in an event of which nothing more is said, and which need not be remembered."""
        if event.actor == event.target:
            self.counters["self"] += 1
            return
        self.counters["applied"] += 1
        add(self.sums, event, self.actors.grant(event, self.model.influence_floor), self.model)
        self.networks.setdefault(event.target, [NETWORK])


def expected(traffic: Traffic) -> Expectation:
    """Take the rows one after the other; runs in a process of its own, behind everything else."""
    os.nice(_NICE)
    reference = _Quiet(FLAT)
    retractions: Counter[str] = Counter()
    said_again = np.bincount(traffic.row_event, minlength=len(traffic.actor)) > 1
    for number, retracts, again in zip(
        traffic.row_event.tolist(), traffic.row_retracts.tolist(), said_again[traffic.row_event].tolist(), strict=True
    ):
        event = traffic.event(number)
        if not again:
            reference.once(event)
        elif retracts:
            reference.retract(NETWORK, event.actor, event.id)
            retractions[event.target] += 1
        else:
            reference.apply(event)
    sums = {target: of for (target, _), of in reference.sums.items()}
    return Expectation(sums, retractions, reference.counters)


__all__ = ["FLAT", "Expectation", "expected", "user"]
