"""What traffic must come to, computed by the reference without any of the machinery."""

import os
from collections import Counter
from dataclasses import dataclass
from typing import Final

import numpy as np

from scorer.model import Model
from scorer.reference import Event, Reference, Sums, add
from tests.drills.traffic import NETWORK, Traffic

FLAT: Final = Model(name="flat", influence_floor=1.0)
"""Everyone has the same influence: all three sums follow from the log alone."""
_NICE: Final = 10


@dataclass(frozen=True, slots=True)
class Expectation:
    """Sums by user, how often something was taken back from each, and what became of the rows."""

    sums: dict[str, Sums]
    retractions: Counter[str]
    outcomes: Counter[str]

    def __add__(self, other: "Expectation") -> "Expectation":
        """Return what two shards come to together."""
        sums = self.sums | other.sums
        for user in self.sums.keys() & other.sums.keys():
            sums[user] = _together(self.sums[user], other.sums[user])
        return Expectation(sums, self.retractions + other.retractions, self.outcomes + other.outcomes)


def at(sums: Sums, time: int) -> Sums:
    """Return the sums decayed to a later time."""
    left = 2.0 ** (-(time - sums.time) / FLAT.half_life_ms)
    return Sums(sums.reach * left, sums.amplification * left, sums.network * left, time, sums.events)


def _together(one: Sums, other: Sums) -> Sums:
    time = max(one.time, other.time)
    one, other = at(one, time), at(other, time)
    return Sums(
        one.reach + other.reach,
        one.amplification + other.amplification,
        one.network + other.network,
        time,
        one.events + other.events,
    )


class _Quiet(Reference):
    """The reference without scores: nobody asks it for changes, and influence is flat."""

    def publish(self, user: str) -> None:
        """Say nothing."""

    def once(self, event: Event) -> None:
        """Take in an event of which nothing more is said, so that it need not be remembered."""
        if event.actor == event.target:
            self.counters["self"] += 1
            return
        self.counters["applied"] += 1
        add(self.sums, event, self.actors.grant(event, self.model.influence_floor), self.model)
        if not self.networks.get(event.target):
            self.networks[event.target] = [NETWORK]


def expected(traffic: Traffic, shard: int, shards: int) -> Expectation:
    """Take the rows of a share of the actors one after the other; in a process of its own, behind everything else."""
    os.nice(_NICE)
    reference = _Quiet(FLAT)
    retractions: Counter[str] = Counter()
    said_again = np.bincount(traffic.row_event, minlength=len(traffic.actor)) > 1
    ours = traffic.actor[traffic.row_event] % shards == shard
    numbers, retracts = traffic.row_event[ours], traffic.row_retracts[ours]
    for number, retract, again in zip(numbers.tolist(), retracts.tolist(), said_again[numbers].tolist(), strict=True):
        event = traffic.event(number)
        if not again:
            reference.once(event)
        elif retract:
            reference.retract(NETWORK, event.actor, event.id)
            retractions[event.target] += 1
        else:
            reference.apply(event)
    sums = {target: of for (target, _), of in reference.sums.items()}
    return Expectation(sums, retractions, reference.counters)
