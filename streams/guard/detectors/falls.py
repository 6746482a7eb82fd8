"""How many users fell within an hour of event time, against what decay can explain."""

from collections.abc import Mapping
from typing import Final

import msgspec

from schemas.incident import Severity, Slice
from schemas.population import STEPS_POINTS, Population, Shift
from schemas.times import HOUR_MS
from streams.guard.detector import Verdict
from streams.guard.detectors.kept import Kept, Learned, part, time_ms
from streams.guard.detectors.taken_back import (
    FALLEN_SHARES,
    FALLEN_USERS_MIN,
    TakenBack,
    by_step,
    hour_before,
    joining,
    summed,
    taken_back,
    unit_of,
)
from streams.guard.observations import FeedSeen, Observation, PopulationSeen

DAY_MS: Final = 24 * HOUR_MS
DECAY_POINTS_A_DAY: Final = 0.17
"""What decay takes of a score at most (`tests/scorer/test_score.py`)."""
ROUNDED_POINTS: Final = 0.2
"""Two published scores are rounded to 0.1 each, and anchors with them."""

CRITICAL_TIMES: Final = 5
"""So many times the limit is critical."""


class Fallen(msgspec.Struct):
    """What a partition tells of falls, and the clocks that decay went by."""

    users: int = 0
    hour_ms: int = 0
    below: tuple[int, ...] = (0, 0, 0)
    """Without those whom taking back lowered."""
    hour_before_ms: int = 0
    below_before: tuple[int, ...] = (0, 0, 0)
    taken_back: TakenBack = {}
    """Of both hours."""
    clocks_ms: dict[str, int] = {}
    clocks_at_hour_ms: dict[str, int] | None = None
    """As they were last told before the hour; None where nobody was there to hear it."""
    clocks_at_hour_before_ms: dict[str, int] | None = None

    @property
    def began_ms(self) -> int | None:
        """Return the beginning of the first hour of these in which anybody fell."""
        if any(self.below_before):
            return self.hour_before_ms
        return self.hour_ms if any(self.below) else None


class Falls(Learned, kw_only=True):
    """All partitions by number, and when each network's time began for the guard."""

    partitions: dict[int, Fallen] = msgspec.field(default_factory=dict)
    first_ms: dict[str, int] = msgspec.field(default_factory=dict)
    taken_back: dict[str, float] = msgspec.field(default_factory=dict)
    """By incident, how large a fall by taking back was last told, in times of the limit."""


class PopulationFall(Kept[Falls]):
    """More users fell within an hour of event time than decay can explain.

    Over all partitions, those 1, 5 and 10 points below their anchor in the hour that is going on and the one before
    it, against 2, 1 and 0.5 % of the users, and 10 users at least. Decay takes 0.17 points a day, so nobody falls by a
    point in an hour; where a network's clock caught up by days, what it may take is left out, and while nobody knows
    how far clocks went (the guard has just begun), falls by 1 point are. Events that authors take back do lower scores:
    a mass of them is a fall, lawful or not. Whom `clout retract` lowered is left out; where those alone are more than
    the limit, it is said of the incident for which it was done. False alarms: at most one in 50 weeks of clean data in
    which less than one event in a hundred is taken back.
    """

    name = "population_fall"

    def __init__(self) -> None:
        """Begin without knowing any partition."""
        super().__init__(Falls())

    def update(self, observation: Observation) -> list[Verdict]:
        """Take in what a partition tells; feeds say how old a network's time can be."""
        learned = self._learned
        if isinstance(observation, FeedSeen):
            report = observation.report
            if (at_ms := time_ms(report.time)) is not None:
                learned.first_ms[report.network] = min(at_ms, learned.first_ms.get(report.network, at_ms))
            return []
        if not isinstance(observation, PopulationSeen):
            return []
        told = observation.population
        fallen = learned.partitions.setdefault(told.partition, Fallen())
        _take_in(fallen, told)
        return self._judge(observation.now_ms)

    def _judge(self, now_ms: int) -> list[Verdict]:
        partitions = self._learned.partitions.values()
        users = sum(of.users for of in partitions)
        allowed_points = max((self._decay_points(of) for of in partitions), default=0.0)
        numbers = {"users": float(users), "decay_points": round(allowed_points, 2)}
        ordered = summed(of.taken_back for of in partitions if of.taken_back)
        verdicts = joining(ordered, users, self._learned.taken_back)
        worst, worst_points = 0.0, 0
        for step, (points, by_order) in enumerate(zip(STEPS_POINTS, by_step(ordered), strict=True)):
            count = sum(of.below[step] + of.below_before[step] for of in partitions)
            if by_order:
                numbers[f"taken_back_{points}_users"] = float(by_order)
            numbers[f"fallen_{points}_users"] = float(count)
            numbers[f"fallen_{points}_share"] = share = part(count, users)
            numbers[f"limit_{points}_share"] = FALLEN_SHARES[points]
            times = share / FALLEN_SHARES[points]
            if count >= FALLEN_USERS_MIN and points > allowed_points and times > worst:
                worst, worst_points = times, points
        fires = self._said("population_fall", Slice()) is not None
        if worst < (0.5 if fires else 1.0):
            return verdicts + self._unsay(
                "population_fall", Slice(), "hardly anybody fell in the last two hours", numbers
            )
        severity: Severity = "critical" if worst >= CRITICAL_TIMES else "major"
        passing = "" if worst >= 1.0 else ", and half of that before it is over"
        return verdicts + self._say(
            "population_fall",
            Slice(),
            severity,
            f"{numbers[f'fallen_{worst_points}_share']:.1%} of {users:,} users fell "
            f"{worst_points} {unit_of(worst_points)} or more within an hour, "
            f"{FALLEN_SHARES[worst_points]:.1%} at most{passing}; decay explains {allowed_points:.2f} points",
            numbers,
            size=worst,
            at_ms=now_ms,
            since_ms=min((of.began_ms for of in partitions if of.began_ms is not None), default=None),
        )

    def _decay_points(self, of: Fallen) -> float:
        """Return how many points decay can have taken in the hours that are counted."""
        counts_both = of.hour_before_ms != 0
        earlier = of.clocks_at_hour_before_ms if counts_both else of.clocks_at_hour_ms
        if earlier is None:
            # Unknown; a network is seldom more than days behind, and then all of it is seen at once.
            earlier = of.clocks_at_hour_ms
            if earlier is None:
                return STEPS_POINTS[0]
        moved_ms = max(
            (
                clock_ms - earlier.get(network, min(clock_ms, self._learned.first_ms.get(network, clock_ms)))
                for network, clock_ms in of.clocks_ms.items()
            ),
            default=0,
        )
        return DECAY_POINTS_A_DAY * moved_ms / DAY_MS + ROUNDED_POINTS


def _take_in(fallen: Fallen, told: Population) -> None:
    hour_ms = time_ms(told.shift.hour) or 0
    clocks_ms = clocks_of(told)
    if hour_ms != fallen.hour_ms:
        known = fallen.hour_ms != 0
        fallen.clocks_at_hour_before_ms = fallen.clocks_at_hour_ms
        fallen.clocks_at_hour_ms = fallen.clocks_ms if known else None
        fallen.hour_ms = hour_ms
    fallen.users, fallen.clocks_ms, fallen.below = told.users, clocks_ms, _below(told.shift)
    fallen.taken_back = taken_back(told)
    before = hour_before(told)
    fallen.hour_before_ms = 0 if before is None else time_ms(before.hour) or 0
    fallen.below_before = (0, 0, 0) if before is None else _below(before)


def _below(shift: Shift) -> tuple[int, ...]:
    return tuple(shift.fallen(points) for points in STEPS_POINTS)


def clocks_of(told: Population) -> dict[str, int]:
    """Return the clocks of all networks that have one, in milliseconds."""
    clocks: Mapping[str, int | None] = {network: time_ms(of.clock) for network, of in told.networks.items()}
    return {network: clock_ms for network, clock_ms in clocks.items() if clock_ms is not None}
