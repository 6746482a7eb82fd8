"""The users of a partition in numbers: a record of `population.v1`, keyed by partition; the newest one counts.

It is written in the transaction of the scores that it speaks of, from counters that every batch keeps up, so the sum
over all partitions is what a look at every user would find. Read it with `isolation.level=read_committed`.
"""

from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from schemas.change import Cause
from schemas.interaction import TimeText

BINS: Final = 100
"""Bins of a histogram: published scores from n+1 to below n+2; the last one holds 100 alone."""

STEPS_POINTS: Final = (1, 5, 10)
"""How many points from their anchor users are counted."""

TAKEN_BACK_MAX: Final = 8
"""Incidents, in an hour, of which it is told whom taking events back for them lowered."""

Histogram = Annotated[
    list[int],
    Meta(min_length=BINS, max_length=BINS, description="Users by score: the first bin holds 1.0 to 1.9, the last 100."),
]


class Steps(Struct, frozen=True, kw_only=True):
    """How many users stand so many points or more from their anchor."""

    points_1: Annotated[int, Meta(ge=0)]
    points_5: Annotated[int, Meta(ge=0)]
    points_10: Annotated[int, Meta(ge=0)]

    def by(self, points: int) -> int:
        """Return how many stand so many of `STEPS_POINTS` or more from it."""
        users: int = getattr(self, f"points_{points}")
        return users


class TakenBack(Steps, frozen=True, kw_only=True):
    """How many users came so far below their anchor by changes that took events back for an incident."""

    users: Annotated[int, Meta(ge=0, description="By however little.")]


class Shift(Struct, frozen=True, kw_only=True):
    """How users' scores moved in an hour of event time: against what each had when it began."""

    hour: Annotated[TimeText, Meta(description="When the hour began, in the time of the furthest clock.")]
    below: Steps
    above: Steps
    gone: Annotated[int, Meta(ge=0, description="Users who had a score when it began and have none now.")]
    taken_back: Annotated[
        dict[str, TakenBack],
        Meta(
            max_length=TAKEN_BACK_MAX,
            description="By the incident that `clout retract` named. Who rose again meanwhile is still counted; who "
            "was below already is not. Incidents beyond the limit are not told of.",
        ),
    ] = {}

    def fallen(self, points: int) -> int:
        """Return how many stand so many points or more below their anchor, without those whom taking back lowered."""
        # Who has risen again since is in `lowered` alone.
        lowered = sum(of.by(points) for of in self.taken_back.values())
        return max(0, self.below.by(points) - lowered)


class NetworkPopulation(Struct, frozen=True, kw_only=True):
    """Users of a partition on one network, by their score there."""

    users: Annotated[int, Meta(ge=0)]
    histogram: Histogram
    clock: Annotated[TimeText | None, Meta(description="The moment by which scores are taken; null before the first.")]


class Population(Struct, frozen=True, kw_only=True):
    """The users of one partition who have a score."""

    partition: Annotated[int, Meta(ge=0)]
    partitions: Annotated[int, Meta(ge=1, description="How many there are.")]
    model: str
    worker: Annotated[str, Meta(description="HOST:PORT of the worker that answers about its users.")]
    sequence: Annotated[int, Meta(ge=1, description="1, 2, 3 … for each partition: a gap or repeat shows.")]
    written: Annotated[TimeText, Meta(description="When it was written, by the worker's clock.")]
    users: Annotated[int, Meta(ge=0)]
    histogram: Histogram
    networks: dict[str, NetworkPopulation]
    shift: Annotated[Shift, Meta(description="In the hour that is going on.")]
    shift_before: Annotated[Shift | None, Meta(description="In the last hour before it that was counted.")]
    changes: Annotated[dict[Cause, int], Meta(description="Changes published since the partition began, by cause.")]
    outcomes: Annotated[
        dict[str, dict[str, int]],
        Meta(
            description="By network, what became of events in the actors stage since the partition began: credited, "
            "self, duplicate, withheld, forgotten, and of retractions retracted, repeated, unmatched."
        ),
    ] = {}
    next_offsets: Annotated[
        dict[str, Annotated[int, Meta(ge=0)]],
        Meta(description="By lane, actors and targets: the first record that is not in these numbers."),
    ] = {}


encode_population: Final = msgspec.json.Encoder().encode
"""Write a population as a record's value."""

decode_population: Final = msgspec.json.Decoder(Population).decode
"""Read a population; a msgspec.DecodeError says what is wrong."""
