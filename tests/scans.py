"""A look at every user, in plain Python: what counters must say."""

from collections.abc import Iterable, Sequence

from schemas.users import is_canary
from scorer.target_state import decode_targets
from streams.population_state import PopulationState
from streams.store import Store

Found = tuple[list[list[int]], tuple[int, ...]]
"""Histograms, over all and on each network, and the shift in the hour."""


def counted_one_by_one(rows: Iterable[bytes], networks: int, hour: int) -> Found:
    """Count the users of stored rows."""
    histograms = [[0] * 100 for _ in range(1 + networks)]
    below, above, gone = {1: 0, 5: 0, 10: 0}, {1: 0, 5: 0, 10: 0}, 0
    for row in rows:
        heads, entries, _ = decode_targets([row], networks)
        score, anchor = heads["score_tenths"].tolist()[0], heads["anchor_tenths"].tolist()[0]
        for histogram, tenths in zip(histograms, [score, *entries["score_tenths"].tolist()[0]], strict=True):
            if tenths:
                histogram[99 if tenths == 1000 else tenths // 10 - 1] += 1
        if heads["anchor_hour"].tolist()[0] != hour or anchor == 0:
            continue
        if score == 0:
            gone += 1
            continue
        for points in (1, 5, 10):
            below[points] += score <= anchor - 10 * points
            above[points] += score >= anchor + 10 * points
    return histograms, (*below.values(), *above.values(), gone)


def counters_of(population: PopulationState, networks: Sequence[str]) -> Found:
    """Return what the counters of a task's record say."""
    return population.histogram_rows(len(networks)).tolist(), population.shift.counts


def scan_of(store: Store, population: PopulationState, networks: Sequence[str]) -> Found:
    """Count the users of an open partition; synthetic accounts are none."""
    people = (row for user, row in store.scan("targets") if not is_canary(user))
    return counted_one_by_one(people, len(networks), population.shift.hour)
