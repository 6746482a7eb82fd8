"""What ingest would tell of the demonstration's population: its events counted, by collector and raw partition."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from clout.demo.population import COLLECTORS, Population
from schemas.feed_report import BUCKET_MS, REGISTERS
from schemas.users import user_hashes
from streams.guard.observations import FeedSeen
from tests.guard.weeks import reports

RAW_PARTITIONS = 4


class Fed(NamedTuple):
    """What came: arrays of [networks, stretches, collectors, raw partitions], and of registers where they are sketches.

    Of one network they have no first dimension.
    """

    events: NDArray[np.int64]
    actors: NDArray[np.uint8]
    targets: NDArray[np.uint8]

    def at(self, place: int | slice) -> "Fed":
        """Return a network, or some stretches of one; a copy."""
        return Fed(self.events[place].copy(), self.actors[place].copy(), self.targets[place].copy())

    def replace(self, other: "Fed", collectors: slice, raw_partitions: slice) -> None:
        """Let parts of a network be as in another."""
        where = slice(None), collectors, raw_partitions
        self.events[where] = other.events[where]
        self.actors[where] = other.actors[where]
        self.targets[where] = other.targets[where]


def told(name: str, of: Fed, start_ms: int) -> Iterator[FeedSeen]:
    """Return what ingest tells of one network."""
    return reports(
        of.events, of.events, network=name, sources=COLLECTORS, start_ms=start_ms, seed=1,
        sketches=of.actors, targets=of.targets,
    )  # fmt: skip


def fed(population: Population, kept: float = 1.0, since_ms: int = 0) -> Fed:
    """Count all that the population does; of the events since then this share, drawn at random, is kept."""
    settings, chance = population.settings, np.random.default_rng(7)
    stretches = (settings.end_ms - settings.start_ms) // BUCKET_MS
    shape = (len(settings.networks), stretches, len(COLLECTORS), RAW_PARTITIONS)
    events = np.zeros(shape, np.int64)
    actors, targets = (np.zeros((*shape, REGISTERS), np.uint8) for _ in range(2))
    hashes = user_hashes([person.encode() for person in population.people])
    register, rank, raw = (hashes >> np.uint64(56)).astype(np.int64), _ranks(hashes), hashes % np.uint64(RAW_PARTITIONS)
    for rows in population.interactions():
        lost = (rows.time_ms >= since_ms) & (chance.random(len(rows)) >= kept)
        here = rows.take((rows.time_ms < settings.end_ms) & ~lost)
        stretch = (here.time_ms - settings.start_ms) // BUCKET_MS
        place = here.network, stretch, here.actor % len(COLLECTORS), raw[here.actor].astype(np.int64)
        np.add.at(events, place, 1)
        for sketches, who in ((actors, here.actor), (targets, here.target)):
            np.maximum.at(sketches, (*place, register[who]), rank[who])
    return Fed(events, actors, targets)


def _ranks(hashes: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Return the place of the first bit that is set, behind the eight that choose the register."""
    rest = (hashes & np.uint64((1 << 56) - 1)).astype(np.float64)
    ranks: NDArray[np.uint8] = np.clip(56 - np.floor(np.log2(np.maximum(rest, 1))), 1, 57).astype(np.uint8)
    return ranks
