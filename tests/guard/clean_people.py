"""Clean weeks of people: they are credited, fade, lose what is taken back, come and are forgotten; told hour by hour.

Each has one strength, to which events add their worth, and which halves in a month: with the same influence for
everyone reach, amplification and network are one, and the score is 1 + 99·ln(1 + S) / ln(1 + 10⁶). Strengths are
counted as of the beginning of time, so that they only add up; all follows from the seed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from clout.demo.population import day_rhythm
from schemas.population import BINS, STEPS_POINTS
from schemas.times import HOUR_MS
from streams.guard.observations import PopulationSeen
from tests.guard.seen import NOW_MS, population

WEEK_HOURS: Final = 168
HALF_LIFE_HOURS: Final = 30 * 24
NOTHING: Final = 1e-6
"""Strength of somebody from whom all was taken back."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class People:
    """Whom to make up."""

    seed: int
    weeks: int
    people: int = 800
    events_a_day: float = 3.0
    """Of each, on average; few have most."""
    taken_back: float = 0.01
    """Share of the events; half of it a day at a time, by somebody who takes back all that they did."""
    wave: float = 8.0
    """So many times as lively is one hour in two days: everybody speaks of the same."""
    new: float = 0.2
    """Share who come later."""
    forgotten: float = 0.01

    def hours(self) -> Iterator[PopulationSeen]:
        """Yield what one partition tells at the end of each hour of event time."""
        scores, forgotten = self._scores()
        bins = np.where(np.isnan(scores), BINS, np.minimum(scores - 1, BINS - 1)).astype(np.int64)
        places = np.arange(len(bins))[:, None] * (BINS + 1) + bins
        histograms = np.bincount(places.ravel(), minlength=len(bins) * (BINS + 1)).reshape(-1, BINS + 1)[:, :BINS]
        fell = np.nan_to_num(scores[:-1] - scores[1:])
        below = np.stack([(fell >= points).sum(1) for points in STEPS_POINTS], axis=1)
        below = np.concatenate([np.zeros((1, len(STEPS_POINTS)), np.int64), below])
        lost = np.concatenate([[0], (np.isnan(scores[1:]) & ~np.isnan(scores[:-1])).sum(1).cumsum()])
        for hour in range(1, len(scores)):
            now_ms = NOW_MS + (hour + 1) * HOUR_MS
            yield population(
                now_ms,
                sequence=hour,
                bins=histograms[hour].tolist(),
                clock_ms=now_ms - 1,
                below=_three(below[hour]),
                below_before=_three(below[hour - 1]),
                changes={"forget": int(forgotten[hour]), "retraction": int(lost[hour] - forgotten[hour])},
            )

    def _scores(self) -> tuple[Floats, NDArray[np.int64]]:
        """Return scores, float64[hours, people], and how many had been forgotten; whoever has none has not a number."""
        rng = np.random.default_rng(self.seed)
        hours = self.weeks * WEEK_HOURS
        rates = rng.lognormal(0.0, 1.5, self.people)
        rates *= self.events_a_day / 24 / rates.mean()
        rhythm = np.array([day_rhythm(hour * HOUR_MS) for hour in range(hours)])
        rhythm[rng.random(hours) < 1 / 48] *= self.wave
        begins = np.where(rng.random(self.people) < self.new, rng.integers(hours, size=self.people), 0)
        here = np.arange(hours)[:, None] >= begins
        came = rng.poisson(rhythm[:, None] * rates * here)
        # As of the first hour; what was before it has faded already.
        worth = came * rng.uniform(0.3, 1.0, came.shape) * 0.5 ** (-np.arange(hours)[:, None] / HALF_LIFE_HOURS)
        earlier = rng.poisson(rates * HALF_LIFE_HOURS / np.log(2)) * rng.uniform(0.3, 1.0, self.people)
        worth[0] += np.where(begins == 0, earlier, 0.0)
        self._take_back(worth, came, rng)
        strength = worth.cumsum(0) * 0.5 ** (np.arange(hours)[:, None] / HALF_LIFE_HOURS)
        ends = np.where(rng.random(self.people) < self.forgotten, rng.integers(1, hours, size=self.people), hours)
        has_score = (strength > NOTHING) & (np.arange(hours)[:, None] < ends)
        scores = np.round(1 + 99 * np.log1p(np.where(has_score, strength, 0.0)) / np.log1p(1e6), 1)
        forgotten = np.zeros(hours, np.int64)
        known = np.flatnonzero(ends < hours)
        np.add.at(forgotten, ends[known], strength[ends[known] - 1, known] > NOTHING)
        return np.where(has_score, scores, np.nan), forgotten.cumsum()

    def _take_back(self, worth: Floats, came: NDArray[np.int64], rng: np.random.Generator) -> None:
        """Take back single events hours later, as they were granted; of those that come together, one."""
        hour, who = np.nonzero((came > 0) & (rng.random(came.shape) < self.taken_back * np.maximum(came, 1)))
        later = hour + 1 + rng.exponential(12.0, len(hour)).astype(np.int64)
        at_once = rng.random(len(hour)) < 0.5
        later[at_once] = (later[at_once] // 24 + 1) * 24
        inside = later < len(worth)
        hour, who, later = hour[inside], who[inside], later[inside]
        np.subtract.at(worth, (later, who), worth[hour, who] / came[hour, who])


def _three(counts: NDArray[np.int64]) -> tuple[int, int, int]:
    points_1, points_5, points_10 = counts.tolist()
    return points_1, points_5, points_10
