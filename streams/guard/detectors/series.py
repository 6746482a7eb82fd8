"""What is usual of a count at an hour of the week, and how far the last half hour is below it.

A count in five minutes is expected to be `scale · exp(usual[hour of week] + level)`. `scale` is 1 for a whole network,
and what the network brought for a part of it, so that a burst that all of its parts see cancels. `usual` is the median
of that hour over all days of the last weeks, and how far these five hours of the week lie beside it, a median again: no
burst and no day with one raises it. `level` follows the network's growth over a day. The last two, four and six
buckets are summed, and of the logarithm of what came over what was expected most of what was low already before them is
taken off: a fault comes at once, and a quiet evening, or an hour of which too much was expected, does not. What is left
is divided by its own spread: the part that is due to counting, 1/expected, and the part that is due to bursts and
moods, learned from the falls of clean data alone, since bursts only rise.

Why this and not a negative-binomial CUSUM, in figures: `docs/decisions/0023-partial-feeds-by-windows.md`.
"""

import math
from statistics import median
from typing import Final

import msgspec

from schemas.feed_report import BUCKET_MS
from schemas.times import HOUR_MS

HOURS: Final = 168
BUCKETS_AN_HOUR: Final = HOUR_MS // BUCKET_MS
WEEKS_MIN: Final = 2
WEEKS_KEPT: Final = 4
WINDOWS: Final = (2, 4, 6)
"""Buckets that are summed: ten, twenty and thirty minutes."""
EXPECTED_MIN: Final = 30.0
"""Of a window in which less is expected nothing is said."""
BEFORE: Final = 9
"""Buckets before them by which it is known how quiet it was already."""
FOLLOWS: Final = 0.7
"""Of how quiet it was, so much is expected to go on."""
SPREADS_MIN: Final = 576
"""Windows that must have taught the spread: two days."""
SPREADS_KEPT: Final = 2_016
"""Over so many the spread is learned: a week."""
LEVEL_SHARE: Final = 1 / 288
"""Of a deviation that goes over into the level: a day."""
LEVEL_CLIP: Final = 0.25
DAY_CAP: Final = 0.3
"""By so much, as a logarithm, an hour of the week may lie above the same hour of all days: more was bursts."""
OWN_CAP: Final = 0.2
"""By so much it may lie above the most that this very hour of the week ever brought."""
NEAR_HOURS: Final = 2
"""Hours before and after that say with it by how much this part of the week differs from other days."""
HOUR_BUCKETS_MIN: Final = 6
"""Of an hour that teaches what is usual at it."""


EXPECTED, LEAST = 1, 2
"""Places in what is kept of a bucket."""


class Spread(msgspec.Struct, array_like=True):
    """How far windows of one length fall, beyond counting: a variance of logarithms."""

    windows: int = 0
    variance: float = 0.0


class Finding(msgspec.Struct, frozen=True):
    """How the last buckets stand against what is usual."""

    deviations: float
    """Below what is usual; negative where it is less."""
    share: float
    """Of what was expected came."""
    came: float
    expected: float
    buckets: int


class Series(msgspec.Struct):
    """One count of one slice."""

    hours: dict[int, list[float]] = {}
    """By hour of the week: logarithms of the median count in five minutes, by week, the newest last."""
    level: float = 0.0
    spreads: list[Spread] = []
    recent: list[tuple[float, float, float]] = []
    """In all up to each of the last buckets: what came, what was expected, and what of that at least."""
    usual: list[float] = []
    """Of the hours around the one that is going on, by `usual_hour`; made anew with each."""
    usual_hour: int = -1
    hour: int = -1
    """Since 1970, of the hour that is going on."""
    in_hour: list[float] = []
    """Logarithms of its buckets over their scale."""

    def expected(self, bucket: int, scale: float) -> float | None:
        """Return what is expected of a bucket, numbered since 1970; None while too little is known."""
        place = (bucket + 0.5) / BUCKETS_AN_HOUR - 0.5
        hour, share = math.floor(place), place % 1
        if hour != self.usual_hour:
            usual = [self._usual(hour), self._usual(hour + 1)]
            self.usual, self.usual_hour = [of for of in usual if of is not None], hour
        if len(self.usual) < 2:
            return None
        return scale * math.exp(self.usual[0] * (1 - share) + self.usual[1] * share + self.level)

    def _usual(self, hour: int) -> float | None:
        """Return what is usual in an hour: that of its day, and by how much this part of the week differs from it."""
        near = [(hour + by) % HOURS for by in range(-NEAR_HOURS, NEAR_HOURS + 1)]
        weeks = [self.hours.get(at) for at in near]
        own = self.hours.get(hour % HOURS)
        if own is None or not all(weeks):
            return None
        of_days = map(self._of_day, near)
        differ = [value - of_day for of_day, values in zip(of_days, weeks, strict=True) if values for value in values]
        usual = self._of_day(hour) + min(median(differ), DAY_CAP)
        return min(usual, max(own) + OWN_CAP)

    def _of_day(self, hour: int) -> float:
        """Return what is usual at this time of all days."""
        return median(value for day in range(7) for value in self.hours.get((hour + 24 * day) % HOURS, ()))

    def is_taught(self, bucket: int) -> bool:
        """Return whether as many weeks are known of this hour as it takes to judge."""
        return all(
            len(self.hours.get((bucket // BUCKETS_AN_HOUR + near) % HOURS, ())) >= WEEKS_MIN for near in (-1, 0, 1)
        )

    def see(self, bucket: int, came: float, scale: float, least: float = 1.0) -> list[Finding]:
        """Take in a bucket that is over; return how the last ones stand, by length, where that can be said.

        Of what is expected, `least` is a share that must be missed too.
        """
        self._end_hour(bucket // BUCKETS_AN_HOUR)
        expected = self.expected(bucket, scale)
        self.in_hour.append(math.log((came + 0.5) / scale))
        if expected is None:
            self.recent.clear()
            return []
        before = self.recent or [(0.0, 0.0, 0.0)]
        so_far = before[-1]
        now = (so_far[0] + came, so_far[1] + expected, so_far[2] + expected * least)
        self.recent = [*before[-BEFORE - max(WINDOWS) :], now]
        self.spreads = self.spreads or [Spread() for _ in WINDOWS]
        if not self.is_taught(bucket):
            return []
        findings = []
        for spread, buckets in zip(self.spreads, WINDOWS, strict=True):
            came_in, _, least_in = self._sums(buckets)
            fall = self._fall(buckets, LEAST)
            if fall is not None and spread.windows >= SPREADS_MIN:
                deviation = math.sqrt(max(0.0, spread.variance) + 1 / least_in)
                findings.append(Finding(fall / deviation, came_in / least_in, came_in, least_in, buckets))
        return findings

    def share(self) -> float | None:
        """Return what share of the expected came in the last half hour; None while it is not over."""
        came, _, least = self._sums(max(WINDOWS))
        return came / least if len(self.recent) > max(WINDOWS) and least > 0 else None

    def _sums(self, buckets: int, skip: int = 0) -> tuple[float, float, float]:
        """Return the sums over so many of the last buckets, but for the very last ones."""
        last = len(self.recent) - 1 - skip
        if last <= 0:
            return 0.0, 0.0, 0.0
        to, since = self.recent[last], self.recent[max(0, last - buckets)]
        return to[0] - since[0], to[1] - since[1], to[2] - since[2]

    def _fall(self, buckets: int, which: int) -> float | None:
        """Return the logarithm of what came over what was expected, beyond how low it was already before."""
        if len(self.recent) <= buckets:
            return None
        sums = self._sums(buckets)
        if sums[which] < EXPECTED_MIN:
            return None
        before = self._sums(BEFORE, buckets)
        low = min(0.0, _ratio(before[0], before[which]))
        return _ratio(sums[0], sums[which]) - FOLLOWS * low

    def learn(self) -> None:
        """Take the bucket that was seen last as usual: its level, and how far its windows fell."""
        if not self.recent:
            return
        came, expected, _ = self._sums(1)
        self.level += LEVEL_SHARE * max(-LEVEL_CLIP, min(LEVEL_CLIP, _ratio(came, expected)))
        for spread, buckets in zip(self.spreads, WINDOWS, strict=True):
            fall = self._fall(buckets, EXPECTED)
            if fall is not None:
                # Half of all windows fall: twice their mean square is the variance.
                spread.windows += 1
                excess = 2 * min(0.0, fall) ** 2 - 1 / self._sums(buckets)[EXPECTED]
                spread.variance += (excess - spread.variance) / min(spread.windows, SPREADS_KEPT)

    def skip(self) -> None:
        """Forget the last buckets: what comes next does not follow them."""
        self.recent.clear()

    def unlearn(self) -> None:
        """Let the hour that is going on teach nothing."""
        self.in_hour.clear()

    def _end_hour(self, hour: int) -> None:
        if hour == self.hour:
            return
        if len(self.in_hour) >= HOUR_BUCKETS_MIN:
            # What is usual now, without the growth since: the level comes on top of it.
            weeks = self.hours.setdefault(self.hour % HOURS, [])
            weeks.append(sorted(self.in_hour)[len(self.in_hour) // 2] - self.level)
            del weeks[:-WEEKS_KEPT]
        self.in_hour.clear()
        self.hour = hour


def _ratio(came: float, expected: float) -> float:
    return math.log((came + 0.5) / (expected + 0.5))
