"""How many users stand where: counters that follow every batch, so that nobody ever has to look at all users.

A batch knows each of its users as they were and as they are now: what they were is subtracted, what they are is added.
A user counts while a score is published of them. How far they have moved is measured against their anchor, the score
that was published when the hour of event time began (`scorer.target_state`): only who has changed in this hour has one
of this hour, and nobody else has moved.
"""

from typing import Final, NamedTuple

import numpy as np

from schemas.population import BINS, STEPS_POINTS
from scorer.arrays import Ints, Records
from scorer.compiled import kernel, shared

STEPS: Final = len(STEPS_POINTS)
GONE: Final = 2 * STEPS
"""Place in `Counts.shift` of those who had a score at their anchor and have none now."""
SHIFT_COUNTS: Final = GONE + 1

_STEPS_TENTHS: Final = tuple(10 * points for points in STEPS_POINTS)


class Counts(NamedTuple):
    """Users in numbers."""

    histograms: Ints
    """[1 + networks, BINS]: by published score, over all and then on each network."""
    shift: Ints
    """[SHIFT_COUNTS]: in this hour, `STEPS_POINTS` or more points below their anchor, above it, and gone."""


def no_counts(networks: int) -> Counts:
    """Counts of nobody."""
    return Counts(np.zeros((1 + networks, BINS), np.int64), np.zeros(SHIFT_COUNTS, np.int64))


def below_tenths(heads: Records, hour: int) -> Ints:
    """Return how many tenths of a point users, heads[n], stand below their anchor of this hour; 0 for all others.

    >>> from scorer.target_state import HEAD
    >>> heads = np.zeros(3, HEAD)
    >>> heads["score_tenths"], heads["anchor_tenths"], heads["anchor_hour"] = (264, 264, 300), 280, (7, 6, 7)
    >>> below_tenths(heads, 7).tolist()
    [16, 0, 0]
    """
    score, anchor = heads["score_tenths"].astype(np.int64), heads["anchor_tenths"].astype(np.int64)
    return np.where((score > 0) & (heads["anchor_hour"] == hour), np.maximum(anchor - score, 0), 0)


def came_below(before: Ints, after: Ints) -> tuple[int, ...]:
    """Return how many users, of whom `below_tenths` was `before` and is `after`, came below at all, and by each step.

    >>> came_below(np.array([0, 4, 9, 60]), np.array([1, 3, 10, 120]))
    (1, 1, 0, 1)
    """
    steps = (1, *_STEPS_TENTHS)
    return tuple(int(np.count_nonzero((before < tenths) & (after >= tenths))) for tenths in steps)


def add(counts: Counts, heads: Records, entries: Records, hour: int) -> None:
    """Count users in, as they stand in this hour; `counts` are changed in place.

    >>> from scorer.target_state import ENTRY, HEAD
    >>> counts, heads = no_counts(1), np.zeros(2, HEAD)
    >>> heads["score_tenths"] = 264, 0
    >>> add(counts, heads, np.zeros((2, 1), ENTRY), hour=0)
    >>> np.flatnonzero(counts.histograms[0]).tolist()
    [25]
    """
    _count(heads, entries, hour, 1, counts.histograms, counts.shift)


def subtract(counts: Counts, heads: Records, entries: Records, hour: int) -> None:
    """Count users out who were counted in as they stand here."""
    _count(heads, entries, hour, -1, counts.histograms, counts.shift)


@shared
def _bin(tenths: int | np.int64) -> int | np.int64:
    """Place of a score; what no score can be must not lie outside."""
    return min(max(tenths // 10 - 1, 0), BINS - 1)


@kernel
def _count(heads: Records, entries: Records, hour: int, sign: int, histograms: Ints, shift: Ints) -> None:
    for user in range(len(heads)):
        score = np.int64(heads[user]["score_tenths"])
        if score:
            histograms[0, _bin(score)] += sign
            for code in range(entries.shape[1]):
                part = np.int64(entries[user, code]["score_tenths"])
                if part:
                    histograms[1 + code, _bin(part)] += sign
        anchor = np.int64(heads[user]["anchor_tenths"])
        if anchor == 0 or heads[user]["anchor_hour"] != hour:
            continue
        if score == 0:
            shift[GONE] += sign
            continue
        for step in range(STEPS):
            if anchor - score >= _STEPS_TENTHS[step]:
                shift[step] += sign
            elif score - anchor >= _STEPS_TENTHS[step]:
                shift[STEPS + step] += sign
