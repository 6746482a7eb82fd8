"""Synthetic weeks of feeds, made five minutes at a time: day and week rhythm, moods, and heavy bursts.

No event is made: counts are drawn for each stretch, collector and raw partition, and the sketches of who acted as the
registers that so many people would leave. All follows from the seed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.feed_report import BUCKET_MS, REGISTERS, FeedReport, Volume
from schemas.times import HOUR_MS, format_ms
from schemas.users import user_hashes
from streams.guard.observations import FeedSeen, Moment, Observation
from tests.guard.seen import population

WEEK: Final = 7 * 288
"""Stretches of five minutes in a week."""
START_MS: Final = 1_735_516_800_000
"""A Monday, midnight UTC."""

_NOONS: Final = (np.arange(-1, 8) + 0.5) * 288
_DAYS: Final = (0.8, 1.0, 1.05, 1.05, 1.05, 1.1, 0.85, 0.8, 1.0)
"""How lively the days are from Sunday on to the Monday after the next; one goes over into the next."""

Counts = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Weeks:
    """What to make up of one network."""

    seed: int = 1
    weeks: int = 3
    events: float = 400.0
    """In five minutes, on average."""
    sources: tuple[str, ...] = ("east", "west")
    raw_partitions: int = 2
    mood: float = 0.05
    """Spread of a slow wandering of everything, as a logarithm: news, weather, holidays."""
    mood_minutes: float = 120.0
    bursts_a_day: float = 1.0
    burst_shape: float = 1.1
    """Of the Pareto law of their sizes: the smaller, the heavier."""
    burst_share_max: float = 30.0
    """Of the usual volume, at the height of the largest."""
    people_share: float = 0.8
    """Different people among the events of a stretch."""
    start_ms: int = START_MS
    lost: dict[int, float] = field(default_factory=dict)
    """By stretch, the share of all events that is lost from there on."""

    def rates(self) -> NDArray[np.float64]:
        """Return what is expected of each stretch, float64[stretches]."""
        rng = np.random.default_rng([self.seed, 0])
        count = self.weeks * WEEK
        at = np.arange(count)
        angle = 2 * np.pi * (at % 288 / 12 - 17) / 24
        day = 1 + 0.6 * np.cos(angle) + 0.15 * np.cos(2 * angle - 1.2)
        usual = self.events * day * np.interp(at % WEEK, _NOONS, _DAYS)
        keep = np.exp(-5 / self.mood_minutes)
        steps = rng.normal(0, self.mood * np.sqrt(1 - keep * keep), count)
        mood, now = np.empty(count), 0.0
        for place, step in enumerate(steps.tolist()):
            now = keep * now + step
            mood[place] = now
        rates = usual * np.exp(mood)
        bursts = rng.poisson(self.bursts_a_day * count / 288)
        heights = np.minimum(0.2 * (1 + rng.pareto(self.burst_shape, bursts)), self.burst_share_max)
        for begin, height, fade in zip(
            rng.integers(count, size=bursts), heights, 8 * rng.lognormal(0, 0.7, bursts), strict=True
        ):
            rest = np.arange(min(count - begin, int(12 * fade) + 1))
            rates[begin : begin + len(rest)] += self.events * height * np.exp(-rest / fade)
        return rates

    def counts(self) -> tuple[Counts, Counts]:
        """Return events and people, int64[stretches, sources, raw partitions]."""
        rng = np.random.default_rng([self.seed, 1])
        rates = self.rates()
        parts = (max(1, len(self.sources)), self.raw_partitions)
        events = rng.poisson(rates[:, None, None] / (parts[0] * parts[1]), (len(rates), *parts))
        return self.thinned(events, rng), rng.binomial(self.thinned(events, rng), self.people_share)

    def thinned(self, events: Counts, rng: np.random.Generator) -> Counts:
        """Return what is left of events."""
        for begin, share in sorted(self.lost.items()):
            events = events.copy()
            events[begin:] = rng.binomial(events[begin:], 1 - share)
        return events

    def reports(self, network: str = "twitter", speed: float = 1.0, first: int = 0) -> Iterator[FeedSeen]:
        """Yield what ingest would tell, raw partition by raw partition, when each stretch is over."""
        events, people = self.counts()
        yield from reports(
            events, people, network=network, sources=self.sources, start_ms=self.start_ms, seed=self.seed, speed=speed,
            first=first,
        )  # fmt: skip


def registers(people: Counts, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return sketches that so many people leave, uint8[n, REGISTERS]: the largest of Poisson many ranks."""
    mean = people[:, None] / REGISTERS
    with np.errstate(divide="ignore"):
        ranks = np.ceil(np.log2(mean / -np.log(rng.random((len(people), REGISTERS)))))
    return np.clip(np.where(np.isfinite(ranks), ranks, 0), 0, 57).astype(np.uint8)


class Hashed(NamedTuple):
    """Real events as what ingest would tell of them."""

    counts: Counts
    """int64[stretches, raw partitions]."""
    actors: NDArray[np.uint8]
    """Sketches of who acted, uint8[stretches, raw partitions, REGISTERS]."""
    targets: NDArray[np.uint8]


def hashed(
    at_ms: NDArray[np.int64], actors: Sequence[str], targets: Sequence[str], stretches: int, raw_partitions: int
) -> Hashed:
    """Return what ingest would tell of real events."""
    who, whom = _user_hashes(actors), _user_hashes(targets)
    place = at_ms // BUCKET_MS, (who % np.uint64(raw_partitions)).astype(np.int64)
    counts = np.zeros((stretches, raw_partitions), np.int64)
    np.add.at(counts, place, 1)
    sketches = np.zeros((2, stretches, raw_partitions, REGISTERS), np.uint8)
    for number, hashes in enumerate((who, whom)):
        mixed = hashes * np.uint64(0x9E3779B97F4A7C15)
        low = (mixed & np.uint64((1 << 48) - 1)).astype(np.float64) / 2.0**48
        ranks = np.clip(np.ceil(-np.log2(np.maximum(low, 2.0**-48))), 1, 48).astype(np.uint8)
        np.maximum.at(sketches[number], (*place, (mixed >> np.uint64(56)).astype(np.int64)), ranks)
    return Hashed(counts, sketches[0], sketches[1])


def _user_hashes(users: Sequence[str]) -> NDArray[np.uint64]:
    names, number = np.unique(np.array(users, dtype="S"), return_inverse=True)
    return user_hashes(names.tolist())[number]


def reports(
    events: Counts,
    people: Counts,
    *,
    network: str,
    sources: tuple[str, ...],
    start_ms: int,
    seed: int,
    speed: float = 1.0,
    first: int = 0,
    sketches: NDArray[np.uint8] | None = None,
    targets: NDArray[np.uint8] | None = None,
) -> Iterator[FeedSeen]:
    """Yield reports of counts[stretches, sources, raw partitions]; `speed` is that of event time for the guard.

    Where there are `sketches`, [stretches, sources, raw partitions, REGISTERS], `people` are left out. `targets` are
    sketches like them, and nothing is told of whom events credit without them.
    """
    rng = np.random.default_rng([seed, 2])
    stretches, _, raw_partitions = events.shape
    names = sources or ("",)
    read = [0] * raw_partitions
    for stretch in range(first, stretches):
        begin, end = (format_ms(start_ms + (stretch + more) * BUCKET_MS) for more in (0, 1))
        sketched = (
            registers(people[stretch].ravel(), rng).reshape(len(names), raw_partitions, REGISTERS)
            if sketches is None
            else sketches[stretch]
        )
        now_ms = start_ms + int((stretch + 1) * BUCKET_MS / speed)
        for raw in range(raw_partitions):
            counts = events[stretch, :, raw].tolist()
            read[raw] += sum(counts)
            volumes = [
                Volume(
                    source=name,
                    bucket=begin,
                    events=count,
                    retracting=0,
                    actors=sketched[number, raw].tobytes(),
                    targets=b"" if targets is None else targets[stretch, number, raw].tobytes(),
                )
                for number, (name, count) in enumerate(zip(names, counts, strict=True))
                if count
            ]
            counters = {"read": read[raw], "passed": read[raw], "dead_lettered": 0, "heartbeat": 0, "retracting": 0}
            yield FeedSeen(
                FeedReport(
                    network=network,
                    raw_partition=raw,
                    raw_partitions=raw_partitions,
                    written=format_ms(now_ms),
                    position=read[raw],
                    lag_records=0,
                    at_end=True,
                    frozen=False,
                    time=end,
                    arrival=format_ms(now_ms),
                    heartbeats=dict.fromkeys(sources, end),
                    counters=counters,
                    volumes=volumes,
                ),
                now_ms,
            )


_SHARES: Final = np.exp(-np.arange(100) / 12) / np.exp(-np.arange(100) / 12).sum()


def together(weeks: Weeks) -> Iterator[Observation]:
    """Yield clean weeks of a feed, and of a population that lives with it: it grows, and a few users fall."""
    rng = np.random.default_rng(weeks.seed)
    users, last = 5_000, 0
    bins = rng.multinomial(users, _SHARES)
    credited = duplicate = forgotten = 0
    for seen in weeks.reports():
        yield seen
        if seen.now_ms - last >= HOUR_MS // 3:
            last = seen.now_ms
            credited, duplicate = credited + 2_000, duplicate + int(rng.binomial(2_000, 0.01))
            forgotten += int(rng.random() < 0.02)
            bins = bins + rng.multinomial(4, _SHARES)
            fell = int(rng.poisson(2))
            yield population(
                seen.now_ms,
                sequence=credited // 2_000,
                bins=bins.tolist(),
                clock_ms=seen.now_ms,
                below=(fell, fell // 3, 0),
                changes={"forget": forgotten},
                outcomes={"twitter": {"credited": credited, "duplicate": duplicate}},
            )
        yield Moment(seen.now_ms)
