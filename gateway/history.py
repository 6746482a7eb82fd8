"""A user's history for a chart: which changes to show where there are more than asked for.

The span is cut into stretches of time, all of one length, and of each the first, the last, the lowest and the highest
change are shown: a line through them looks as the line through all would (M4: Jugel, Jerzak, Hackenbroich and Markl,
"M4: A Visualization-Oriented Time Series Data Aggregation", VLDB 2014). The length is a power of two and stretches
begin at its multiples, so that what is shown of the past does not change with each new point. Pure.
"""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from schemas.gateway import HistoryPoint

POINTS_A_STRETCH: Final = 4
POINTS_MIN: Final = 2 * POINTS_A_STRETCH
"""Aligned stretches are one more than what would cover the span."""


class Timed(NamedTuple):
    """A point and its time in ms."""

    at_ms: int
    point: HistoryPoint


def thinned(points: Sequence[Timed], points_max: int) -> list[HistoryPoint]:
    """Return at most so many of the points (in their order, which is that of time), at least `POINTS_MIN`.

    >>> def at(second: int) -> Timed:
    ...     return Timed(second * 1000, HistoryPoint(second + 1, "", 1.0 + second % 7, None, "interaction", "1"))
    >>> [point.sequence for point in thinned([at(second) for second in range(100)], 8)]
    [1, 7, 100]
    """
    if len(points) <= points_max:
        return [timed.point for timed in points]
    stretch_ms, shown = stretch(points[-1].at_ms - points[0].at_ms, points_max // POINTS_A_STRETCH - 1), set[int]()
    begin = 0
    while begin < len(points):
        number, end = points[begin].at_ms // stretch_ms, begin
        while end < len(points) and points[end].at_ms // stretch_ms == number:
            end += 1
        scores = [_height(timed.point) for timed in points[begin:end]]
        shown |= {begin, end - 1, begin + scores.index(min(scores)), begin + scores.index(max(scores))}
        begin = end
    return [points[at].point for at in sorted(shown)]


def stretch(span_ms: int, count: int) -> int:
    """Return the shortest length, a power of two in ms, of which so many cover a span.

    >>> stretch(1000, 1), stretch(1025, 1), stretch(0, 5)
    (1024, 2048, 1)
    """
    return 1 << (max(1, -(-(span_ms + 1) // count)) - 1).bit_length()


def _height(point: HistoryPoint) -> float:
    return 0.0 if point.score is None else point.score


def models(points: Iterable[Timed]) -> list[HistoryPoint]:
    """Return the points at which another model computes the score than at the one before.

    >>> [models([Timed(0, HistoryPoint(n, "", 1.0, None, "model", m)) for n, m in ((1, "1"), (2, "2"))])[0].sequence]
    [2]
    """
    changed, before = [], None
    for timed in points:
        if before is not None and timed.point.model != before:
            changed.append(timed.point)
        before = timed.point.model
    return changed
