"""What the workers last said about the users of their partitions in numbers, and where a score stands among them."""

from collections.abc import Iterable, Sequence
from typing import Final

from clout.whole_topic import Extent, extents, readable, reading, records
from schemas.population import BINS, Population, decode_population
from streams.names import Names
from streams.settings import KafkaSettings

_OFFSETS_FIRST: Final = 256
"""Offsets at the end of the topic that are looked at first: partitions that live have all written there."""
_OFFSETS_GROWTH: Final = 8
"""Each further look, towards the beginning, goes over so many times more."""


def newest_populations(kafka: KafkaSettings, names: Names) -> dict[int, Population]:
    """Return the newest committed record of each partition that has written one; raise `CloutError`.

    A partition is missing only if it never wrote: compare with `Population.partitions`.
    """
    group = f"{names.app_id}-population"
    newest: dict[int, Population] = {}
    with reading(kafka, group) as reader:
        for whole in extents(kafka, group, [names.population]):
            for piece in _backwards(whole):
                found = {}
                for message in records(reader, piece):
                    if (value := message.value()) is not None:
                        population = readable(decode_population, value, names.population)
                        found[population.partition] = population
                newest = found | newest
                if newest and len(newest) == next(iter(newest.values())).partitions:
                    break
    return newest


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


def _backwards(whole: Extent) -> Iterable[Extent]:
    """Yield pieces of a partition from its end on, each longer than the one before."""
    end, offsets = whole.end, _OFFSETS_FIRST
    while end > whole.begin:
        begin = max(whole.begin, end - offsets)
        yield whole._replace(begin=begin, end=end)
        end, offsets = begin, offsets * _OFFSETS_GROWTH
