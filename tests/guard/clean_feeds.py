"""Clean weeks of feeds at the steps at which they are watched: heartbeats, ticks, arrivals, and counters of outcomes.

Between two observations ages only grow, so the moment right before the next one decides; others are there because a
detector that was told no time for half a minute takes itself for having been away. All follows from the seed.
"""

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from clout.demo.population import day_rhythm
from schemas.feed_report import FeedReport
from schemas.times import HOUR_MS, format_ms
from streams.guard.observations import FeedSeen, Moment, Observation, PopulationSeen
from streams.population import Pace
from tests.guard.seen import NOW_MS, feed, population

WEEK_SECONDS: Final = 7 * 86_400
MOMENT_MS: Final = 29_000
WANDERS: Final = 0.45
"""Standard deviation of a share's logarithm over days."""

Floats = NDArray[np.float64]


def with_moments(seen: Iterable[Observation]) -> Iterator[Observation]:
    """Let time be told between observations, which are in the order of their times."""
    last_ms = None
    for one in seen:
        if last_ms is not None and one.now_ms > last_ms:
            yield from map(Moment, range(last_ms + MOMENT_MS, one.now_ms - 1, MOMENT_MS))
            yield Moment(one.now_ms - 1)
        yield one
        last_ms = one.now_ms


def heartbeats(
    network: str, sources: tuple[str, ...], raw_partitions: int, every_seconds: float, weeks: float, seed: int
) -> Iterator[FeedSeen]:
    """Yield what ingest tells of heartbeats, each late by up to half of the interval."""
    rng = np.random.default_rng([seed, 0])
    beats = int(weeks * WEEK_SECONDS / every_seconds)
    late = rng.uniform(0.0, 0.5, (beats, len(sources)))
    at_ms = ((np.arange(beats)[:, None] + late) * every_seconds * 1_000).astype(np.int64)
    heard: dict[str, str] = {}
    reports = [
        feed(network=network, raw_partition=raw, raw_partitions=raw_partitions).report for raw in range(raw_partitions)
    ]
    for place in np.argsort(at_ms, axis=None, kind="stable").tolist():
        beat, source = divmod(place, len(sources))
        now_ms = NOW_MS + int(at_ms[beat, source])
        heard[sources[source]] = said = format_ms(NOW_MS + int(beat * every_seconds * 1_000))
        for report in reports:
            told = {"heartbeats": dict(heard), "time": said, "arrival": format_ms(now_ms), "written": said}
            yield FeedSeen(msgspec.structs.replace(report, **told), now_ms)


def arrivals(network: str, raw_partitions: int, mean_seconds: float, weeks: float, seed: int) -> Iterator[FeedSeen]:
    """Yield what ingest tells of a network without collectors: whatever comes, by day more than at night."""
    rng = np.random.default_rng([seed, 1])
    rhythm = np.array([day_rhythm(hour * HOUR_MS) for hour in range(24)])
    count = int(weeks * WEEK_SECONDS * rhythm.max() / mean_seconds)
    at = np.sort(rng.uniform(0.0, weeks * WEEK_SECONDS, count))
    hours = (at // 3_600).astype(np.int64) % 24
    at = at[rng.random(count) < rhythm[hours] / rhythm.max()]
    reports = [
        feed(network=network, raw_partition=raw, raw_partitions=raw_partitions).report for raw in range(raw_partitions)
    ]
    for seconds, raw in zip(at.tolist(), rng.integers(raw_partitions, size=len(at)).tolist(), strict=True):
        now_ms = NOW_MS + int(seconds * 1_000)
        said = format_ms(now_ms)
        yield FeedSeen(msgspec.structs.replace(reports[raw], time=said, arrival=said), now_ms)


def _reports(network: str, raw_partitions: int) -> list[FeedReport]:
    every = range(raw_partitions)
    return [feed(network=network, raw_partition=raw, raw_partitions=raw_partitions).report for raw in every]


def ticks(every_seconds: float, partitions: int, weeks: float, seed: int) -> list[Observation]:
    """Return ticks that are late by up to half of their interval, and the records with which partitions answer them.

    Partitions keep to their real pace, each by its own clock. Ingest, they and the guard take a tenth of a second or
    two for what they do, and now and then seconds.
    """
    rng = np.random.default_rng([seed, 2])
    count = int(weeks * WEEK_SECONDS / every_seconds)
    told = (np.arange(count) + rng.uniform(0.0, 0.5, count)) * every_seconds
    seen, worked, came = _lags(rng, count), _lags(rng, count * partitions), _lags(rng, count * partitions)
    report = feed().report
    observations: list[Observation] = [
        FeedSeen(msgspec.structs.replace(report, time=str(number)), NOW_MS + int(at * 1_000))
        for number, at in enumerate((told + seen).tolist())
    ]
    for partition in range(partitions):
        record = population(partition=partition, partitions=partitions).population
        at = told + worked[partition::partitions]
        answered = _told_at(at)
        arrives = at[answered] + came[partition::partitions][answered]
        observations += [PopulationSeen(record, NOW_MS + int(of * 1_000)) for of in arrives.tolist()]
    return sorted(observations, key=lambda one: one.now_ms)


def _lags(rng: np.random.Generator, count: int) -> Floats:
    lags = 0.05 + rng.exponential(0.1, count)
    return np.asarray(lags + np.where(rng.random(count) < 0.02, rng.uniform(0.0, 5.0, count), 0.0))


def _told_at(batches: Floats) -> NDArray[np.bool_]:
    """Return with which of the batches, at these seconds, a partition tells its users."""
    now = [0.0]
    pace, told = Pace(lambda: now[0]), np.zeros(len(batches), np.bool_)
    for number, at in enumerate(batches.tolist()):
        now[0] = at
        if pace.is_due(heard=True):
            told[number] = True
            pace.committed(told=True, changed=False)
    return told


def counted(
    counter: str, share: float, events: float, every_seconds: float, weeks: float, seed: int
) -> Iterator[FeedSeen]:
    """Yield counters of ingest that count a share of the events."""
    report = feed().report
    for now_ms, read, hits in _counters(share, events, every_seconds, weeks, seed):
        yield FeedSeen(msgspec.structs.replace(report, counters={"read": read, counter: hits}), now_ms)


def repeated(share: float, events: float, every_seconds: float, weeks: float, seed: int) -> Iterator[PopulationSeen]:
    """Yield outcomes of a partition of which a share had come before."""
    record = population().population
    for now_ms, read, hits in _counters(share, events, every_seconds, weeks, seed):
        outcomes = {"twitter": {"credited": read - hits, "duplicate": hits}}
        yield PopulationSeen(msgspec.structs.replace(record, outcomes=outcomes), now_ms)


def _counters(
    share: float, events: float, every_seconds: float, weeks: float, seed: int
) -> Iterator[tuple[int, int, int]]:
    """Yield times, and counters of events and of hits among them so far.

    The share wanders by half, from day to day, and twice a day somebody adds up to 1 % of the events, or ten.
    """
    rng = np.random.default_rng([seed, 3])
    steps = int(weeks * WEEK_SECONDS / every_seconds)
    at_ms = ((np.arange(steps) + rng.uniform(0.0, 0.9, steps)) * every_seconds * 1_000).astype(np.int64)
    rhythm = np.array([day_rhythm(hour * HOUR_MS) for hour in range(24)])[at_ms // HOUR_MS % 24]
    came = rng.poisson(events * rhythm)
    keep = np.exp(-every_seconds / 86_400)
    wander = _wandering(rng.normal(0.0, WANDERS * np.sqrt(1 - keep * keep), steps), keep)
    hits = rng.binomial(came, np.minimum(share * np.exp(wander), 0.5))
    clumped = rng.random(steps) < every_seconds / 43_200
    hits += np.where(clumped, np.maximum(10, came // 100) * rng.random(steps), 0.0).astype(np.int64)
    totals = np.cumsum(np.maximum(came, hits)), np.cumsum(hits)
    yield from zip((NOW_MS + at_ms).tolist(), *(of.tolist() for of in totals), strict=True)


def forgetting(users: int, share: float, weeks: int, seed: int) -> Iterator[PopulationSeen]:
    """Yield what a partition tells each hour; in one a day nearly a share of the users is forgotten in ten minutes."""
    rng = np.random.default_rng([seed, 4])
    record, total = population().population, 0
    for hour in range(weeks * WEEK_SECONDS // 3_600):
        many = hour % 24 == rng.integers(24)
        for minute in range(10 if many else 1):
            total += int(users * share / 10 * rng.uniform(0.8, 1.0) if many else rng.random() < 0.5)
            told = msgspec.structs.replace(record, users=users, changes={"forget": total})
            yield PopulationSeen(told, NOW_MS + hour * HOUR_MS + minute * 60_000)


def _wandering(steps: Floats, keep: float) -> Floats:
    now, out = 0.0, np.empty(len(steps))
    for place, step in enumerate(steps.tolist()):
        now = keep * now + step
        out[place] = now
    return out
