"""Whom `clout retract` lowered, by the incident for which it was done: no finding of its own, but told of that one."""

from collections.abc import Iterable, Mapping
from typing import Final

from schemas.incident import Slice
from schemas.population import STEPS_POINTS, Population, Shift
from schemas.times import HOUR_MS
from streams.guard.cases import TAKEN_BACK
from streams.guard.detector import Verdict
from streams.guard.detectors.kept import NEWS_TIMES, part, time_ms

FALLEN_SHARES: Final = {1: 0.02, 5: 0.01, 10: 0.005}
"""Shares of users that may have fallen so many points in an hour: authors take events back now and then."""
FALLEN_USERS_MIN: Final = 10

TakenBack = Mapping[str, tuple[int, ...]]
"""By incident, users brought below their anchor: by however little, then by each step of points."""


def hour_before(told: Population) -> Shift | None:
    """Return how scores moved in the hour just before the one that goes on; None where nothing was counted in it."""
    before = told.shift_before
    if before is None or (time_ms(before.hour) or 0) < (time_ms(told.shift.hour) or 0) - HOUR_MS:
        return None
    return before


def taken_back(told: Population) -> TakenBack:
    """Return whom a partition tells of, in the hour that goes on and the one before it."""
    shifts = [told.shift, hour_before(told)]
    return summed(
        {incident: (of.users, of.points_1, of.points_5, of.points_10) for incident, of in shift.taken_back.items()}
        for shift in shifts
        if shift is not None and shift.taken_back
    )


def summed(told: Iterable[TakenBack]) -> TakenBack:
    """Add up.

    >>> summed([{"a": (3, 1)}, {"b": (1, 0), "a": (1, 1)}])
    {'a': (4, 2), 'b': (1, 0)}
    """
    found: dict[str, tuple[int, ...]] = {}
    for one in told:
        for incident, counts in one.items():
            known = found.get(incident, (0,) * len(counts))
            found[incident] = tuple(before + more for before, more in zip(known, counts, strict=True))
    return found


def at_all(told: TakenBack) -> int:
    """Return how many users were lowered, by however little, for whatever incident.

    >>> at_all({"a": (4, 2), "b": (1, 0)})
    5
    """
    return sum(users for users, *_ in told.values())


def by_step(told: TakenBack) -> tuple[int, ...]:
    """Return how many users were lowered by each step of points."""
    return tuple(sum(of[1 + step] for of in told.values()) for step in range(len(STEPS_POINTS)))


def joining(told: TakenBack, users: int, said: dict[str, float]) -> list[Verdict]:
    """Say of each incident for which so many were lowered that it would be a fall; again when they are far more.

    `said` holds how many times the limit it was when it was said last; it is brought up to date.
    """
    for incident in said.keys() - told.keys():
        del said[incident]
    verdicts = []
    for incident, (_, *counts) in told.items():
        times, points, count = max(
            (part(count, users) / FALLEN_SHARES[points], points, count)
            for points, count in zip(STEPS_POINTS, counts, strict=True)
        )
        if count >= FALLEN_USERS_MIN and times >= max(1.0, NEWS_TIMES * said.get(incident, 0.0)):
            said[incident] = times
            numbers = {f"taken_back_{points}_users": float(of) for points, of in zip(STEPS_POINTS, counts, strict=True)}
            detail = (
                f"what was taken back for it lowered {count:,} of {users:,} users ({part(count, users):.1%}) "
                f"by {points} {unit_of(points)} or more within an hour"
            )
            verdict = Verdict("population_fall", Slice(), False, "minor", detail, {**numbers, "users": float(users)})
            verdicts.append(verdict._replace(incident=incident, finding=TAKEN_BACK))
    return verdicts


def unit_of(points: int) -> str:
    """Return what so many points are called."""
    return "point" if points == 1 else "points"
