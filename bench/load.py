"""The events that benchmarks send: who acts on whom, and the records that a collector would write.

An event is native JSON of about 100 bytes, `{"id":"twitter:17","kind":"reply","actor":"twitter:3","target":
"twitter:9","time":1790000000000}`; ids and times increase. Actor and target are drawn from the same distribution.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from schemas.kinds import KINDS

NETWORK: Final = "twitter"
RAW_PARTITIONS: Final = 4
ARRAY_EVENTS: Final = 100
DAY_MS: Final = 86_400_000
HOUR_MS: Final = 3_600_000
SPAN_DAYS: Final = 30
_CHUNK_EVENTS: Final = 100_000

Users = Literal["zipf", "uniform"]
Shape = Literal["single", "arrays"]
Record = tuple[int, bytes | None, bytes]
"""Raw partition, key, value."""

POPULATION: Final[dict[Users, int]] = {"zipf": 1_000_000, "uniform": 10_000_000}
LABELS: Final[dict[Users, str]] = {"zipf": "Zipf(1.3) of 1 M", "uniform": "uniform of 10 M"}


@dataclass(frozen=True, slots=True)
class Load:
    """A stretch of events; `first` numbers them through, `total` is the end of the whole run."""

    users: Users
    shape: Shape
    seed: int
    first: int
    events: int
    total: int
    end_ms: int
    """Time of the run's last event; the first is 30 days earlier."""
    preload: int = 0
    """The first so many events of the run touch so many distinct users, each once as actor and once as target."""

    def records(self) -> Iterator[Record]:
        """Yield the records, partitioned by actor, so that an actor's events keep their order."""
        rng = np.random.default_rng([self.seed, self.first])
        for start in range(self.first, self.first + self.events, _CHUNK_EVENTS):
            number = np.arange(start, min(start + _CHUNK_EVENTS, self.first + self.events))
            actor, target = self._draw(rng, len(number)), self._draw(rng, len(number))
            early = number < self.preload
            if early.any():
                step = POPULATION[self.users] // self.preload
                actor[early], target[early] = number[early] * step, (self.preload - 1 - number[early]) * step
            time = self.end_ms - SPAN_DAYS * DAY_MS * (self.total - number) // self.total
            kind = rng.integers(0, len(KINDS), len(number))
            values = list(_encoded(number, kind, actor, target, time))
            yield from _singles(actor, values) if self.shape == "single" else _arrays(actor, values)

    def _draw(self, rng: np.random.Generator, count: int) -> NDArray[np.int64]:
        population = POPULATION[self.users]
        if self.users == "zipf":
            return rng.zipf(1.3, count) % population
        return rng.integers(0, population, count)


def _encoded(
    number: NDArray[np.int64],
    kind: NDArray[np.int64],
    actor: NDArray[np.int64],
    target: NDArray[np.int64],
    time: NDArray[np.int64],
) -> Iterator[bytes]:
    pattern = b'{"id":"twitter:%d","kind":"%b","actor":"twitter:%d","target":"twitter:%d","time":%d}'
    kinds = [KINDS[code].encode() for code in kind.tolist()]
    for row in zip(number.tolist(), kinds, actor.tolist(), target.tolist(), time.tolist(), strict=True):
        yield pattern % row


def _singles(actor: NDArray[np.int64], values: list[bytes]) -> Iterator[Record]:
    for who, value in zip(actor.tolist(), values, strict=True):
        yield who % RAW_PARTITIONS, b"twitter:%d" % who, value


def _arrays(actor: NDArray[np.int64], values: list[bytes]) -> Iterator[Record]:
    """Yield arrays of one partition's events; the last of a chunk may be shorter."""
    for partition in range(RAW_PARTITIONS):
        theirs = np.flatnonzero(actor % RAW_PARTITIONS == partition).tolist()
        for start in range(0, len(theirs), ARRAY_EVENTS):
            chosen = theirs[start : start + ARRAY_EVENTS]
            yield partition, None, b"[" + b",".join([values[at] for at in chosen]) + b"]"
