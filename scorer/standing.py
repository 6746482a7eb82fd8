"""Where a score stands among all others."""

from collections.abc import Iterable, Sequence

from schemas.population import BINS, Population


def histogram_of(populations: Iterable[Population], network: str | None = None) -> list[int]:
    """Return the users of all partitions by score, over all or on one network; the users are its sum.

    >>> histogram_of([]) == [0] * 100
    True
    """
    total = [0] * BINS
    for population in populations:
        part = population if network is None else population.networks.get(network)
        if part is not None:
            total = [so_far + more for so_far, more in zip(total, part.histogram, strict=True)]
    return total


def percentile(histogram: Sequence[int], score: float) -> float:
    """Return the share, 0 to 1, of users whose published score is lower than a published one, in whole points.

    Users with the same whole points (26.0 to 26.9) count as not lower, whatever their tenths, so that what is told to
    somebody is never too much. Nobody at all: 0.

    >>> percentile([6, 3, 1] + [0] * 97, 3.9), percentile([6, 3, 1] + [0] * 97, 1.0), percentile([0] * 100, 50.0)
    (0.9, 0.0, 0.0)
    """
    users = sum(histogram)
    return sum(histogram[: min(int(score), BINS) - 1]) / users if users else 0.0
