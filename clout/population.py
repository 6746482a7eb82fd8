"""What the workers last said about the users of their partitions in numbers."""

from collections.abc import Iterable
from typing import Final

from clout.whole_topic import Extent, extents, readable, reading, records
from schemas.population import Population, decode_population
from schemas.times import parse_ms
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


def last_clocks(kafka: KafkaSettings, names: Names) -> dict[int, dict[str, int]]:
    """Return the clocks that each partition last told, in ms by network; raise `CloutError`."""
    return {
        partition: {name: parse_ms(of.clock) for name, of in population.networks.items() if of.clock is not None}
        for partition, population in newest_populations(kafka, names).items()
    }


def _backwards(whole: Extent) -> Iterable[Extent]:
    """Yield pieces of a partition from its end on, each longer than the one before."""
    end, offsets = whole.end, _OFFSETS_FIRST
    while end > whole.begin:
        begin = max(whole.begin, end - offsets)
        yield whole._replace(begin=begin, end=end)
        end, offsets = begin, offsets * _OFFSETS_GROWTH
