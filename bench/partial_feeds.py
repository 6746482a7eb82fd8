"""Which statistic sees a partial feed: false alarms in clean weeks, and what a loss of 30 % takes to be seen.

`python -m bench.partial_feeds` prints a row a population and statistic, how often all detectors together fire on clean
weeks with collectors and raw partitions, and how the detector fares on populations like the demonstration's, where a
whole network, a collector or a raw partition loses events. Of statistics, each limit is the lowest at which all clean
weeks together have one alarm at most; expectations are the same for all (`streams.guard.detectors.series`). Losses
begin at random moments of the third week. Nothing but the counts of whole networks is used: ten times a second a
detector could not be asked.
"""

import copy
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from clout.demo.population import COLLECTORS, DAY_MS, Population, PopulationSettings
from schemas.feed_report import BUCKET_MS
from schemas.incident import Slice
from streams.guard.detectors import detectors
from streams.guard.detectors.lows import DEVIATIONS
from streams.guard.detectors.series import BEFORE, FOLLOWS, Series
from streams.guard.detectors.volume import FeedPartial
from streams.guard.observations import FeedSeen
from streams.settings import GuardSettings, NetworkSettings
from streams.sketches import estimate
from tests.guard.lively import RAW_PARTITIONS, Fed, fed, told
from tests.guard.weeks import START_MS, WEEK, Weeks, registers, together

Floats = NDArray[np.float64]

WEEKS = 5
LEARNED = 2 * WEEK
FAULTS = 20
"""In each series."""
LOSSES = (0.3, 0.5, 0.8)
WINDOW = 6
"""Buckets of half an hour: a fault that is found later does not count."""
CALM_BUCKETS = 24
"""Alarms that are nearer to each other are one."""


class Feed(NamedTuple):
    """A network's counts and what was expected of them, from the third week on."""

    came: Floats
    expected: Floats
    spread: float
    """Of a bucket's logarithm beyond counting, from the falls of all clean buckets."""


def learned(came: NDArray[np.int64]) -> Feed:
    """Let the production code learn, and keep what it expected."""
    series, expected = Series(), np.full(len(came), np.nan)
    for place, count in enumerate(came.tolist()):
        series.see(START_MS // BUCKET_MS + place, count, 1.0)
        series.learn()
        expected[place] = series.expected(START_MS // BUCKET_MS + place, 1.0) or np.nan
    came_after, expected_after = came[LEARNED:].astype(np.float64), expected[LEARNED:]
    fall = np.minimum(np.log((came_after + 0.5) / (expected_after + 0.5)), 0)
    spread = max(1e-6, float(np.mean(2 * fall**2 - 1 / expected_after))) ** 0.5
    return Feed(came_after, expected_after, spread)


def sums(values: Floats, count: int) -> Floats:
    """Return the sum over the last `count` values, at each."""
    total = np.concatenate([np.zeros(1), np.cumsum(values)])
    places = np.arange(1, len(total))
    return np.asarray(total[places] - total[np.maximum(0, places - count)])


def poisson(feed: Feed) -> Floats:
    """Half an hour, as if events came one by one."""
    came, expected = sums(feed.came, WINDOW), sums(feed.expected, WINDOW)
    return (expected - came) / np.sqrt(expected)


def negative_binomial_cusum(feed: Feed) -> Floats:
    """Cumulated log-likelihood of a loss of 30 %, with the spread of single buckets."""
    size, mean = 1 / feed.spread**2, feed.expected
    less = 0.7 * mean
    gain = feed.came * np.log((less * (size + mean)) / (mean * (size + less))) + size * np.log(
        (size + mean) / (size + less)
    )
    total, out = 0.0, np.empty(len(gain))
    for place, step in enumerate(gain.tolist()):
        total = max(0.0, total + step)
        out[place] = total
    return out


def median_ratio(feed: Feed) -> Floats:
    """The median of the last six logarithms."""
    logs = np.log((feed.came + 0.5) / (feed.expected + 0.5)) / np.sqrt(feed.spread**2 + 1 / feed.expected)
    stacked = np.stack([np.roll(logs, by) for by in range(WINDOW)])
    return np.asarray(-np.median(stacked, axis=0))


def windows(feed: Feed) -> Floats:
    """Ten, twenty and thirty minutes: logarithms over their spread."""
    return _windows(feed, 0.0)


def windows_beyond_before(feed: Feed) -> Floats:
    """The same, beyond how quiet it was before."""
    return _windows(feed, FOLLOWS)


def _windows(feed: Feed, follows: float) -> Floats:
    found = []
    for buckets in (2, 4, 6):
        expected = sums(feed.expected, buckets)
        now = np.log((sums(feed.came, buckets) + 0.5) / (expected + 0.5))
        before = np.log(
            (np.roll(sums(feed.came, BEFORE), buckets) + 0.5) / (np.roll(sums(feed.expected, BEFORE), buckets) + 0.5)
        )
        fall = now - follows * np.minimum(before, 0)
        # As in production, the spread is learned from clean falls; here of all weeks at once.
        variance = max(0.0, float(np.mean(2 * np.minimum(fall[24:], 0) ** 2 - 1 / expected[24:])))
        found.append(-fall / np.sqrt(variance + 1 / expected))
    return np.asarray(np.max(found, axis=0))


STATISTICS: dict[str, Callable[[Feed], Floats]] = {
    "Poisson z, 30 min": poisson,
    "negative-binomial CUSUM": negative_binomial_cusum,
    "median ratio, 30 min": median_ratio,
    "windows": windows,
    "windows beyond before": windows_beyond_before,
}


def limit_of(clean: list[Floats]) -> float:
    """Return the lowest limit with at most one alarm in all of them."""
    peaks: list[float] = []
    for values in clean:
        rest = values[30:].copy()
        for _ in range(2):
            place = int(np.argmax(rest))
            peaks.append(float(rest[place]))
            rest[max(0, place - CALM_BUCKETS) : place + CALM_BUCKETS] = -np.inf
    return sorted(peaks)[-2]


def found(feeds: list[Feed], statistic: Callable[[Feed], Floats], limit: float, loss: float) -> tuple[float, float]:
    """Return the share of losses that are found within half an hour, and the median minutes until then."""
    rng, delays = np.random.default_rng(5), []
    for feed in feeds:
        for begin in rng.integers(40, WEEK - 40, FAULTS).tolist():
            came = feed.came.copy()
            came[begin:] = rng.binomial(came[begin:].astype(np.int64), 1 - loss)
            # The spread is what clean weeks taught: a little of them before the fault is enough to see it.
            passed = statistic(
                feed._replace(came=np.concatenate([came[: begin + WINDOW], feed.came[begin + WINDOW :]]))
            )
            over = np.flatnonzero(passed[begin : begin + WINDOW] > limit)
            delays.append(5.0 * (over[0] + 1) if len(over) else np.inf)
    return float(np.mean(np.isfinite(delays))), float(np.median(delays))


def _plain(seed: int, events: int, bursts: int) -> Weeks:
    return Weeks(seed=seed, weeks=WEEKS, events=events, bursts_a_day=bursts, sources=(), raw_partitions=1)


def populations() -> Iterator[tuple[str, list[Feed]]]:
    """Yield what is tried: a name, and the feeds of some networks."""
    for bursts in (1, 4):
        for events in (100, 400):
            made = [_plain(seed, events, bursts) for seed in range(1, 5)]
            yield f"weeks, {events} events, {bursts} bursts a day", [learned(of.counts()[0].sum((1, 2))) for of in made]
    end_ms = START_MS + WEEKS * 7 * DAY_MS
    settings = PopulationSettings(seed=3, people=20_000, start_ms=START_MS, end_ms=end_ms, events=1_000_000 * WEEKS)
    counts = np.zeros((len(settings.networks), WEEKS * WEEK), np.int64)
    for rows in Population(settings).interactions():
        np.add.at(counts, (rows.network, (rows.time_ms - START_MS) // BUCKET_MS), 1)
    yield "demonstration, 165 events", [learned(of) for of in counts]


class Both(NamedTuple):
    """Events and people of a network as production code sees them."""

    events: Series
    actors: Series

    def see(self, place: int, came: int, people: float) -> float:
        """Return how far the less unusual of both counts is below what is usual, in deviations; 0 while unknown."""
        at = START_MS // BUCKET_MS + place
        pairs = zip(self.events.see(at, came, 1.0), self.actors.see(at, people, 1.0), strict=False)
        return max((min(-one.deviations, -other.deviations) for one, other in pairs), default=0.0)

    def learn(self) -> None:
        """Take the last stretch as usual."""
        self.events.learn()
        self.actors.learn()


def production(weeks: Weeks, loss: float) -> tuple[float, list[float]]:
    """Return how near to an alarm clean weeks come, and the minutes until each loss of the third week is found."""
    rng = np.random.default_rng([weeks.seed, 9])
    came, people = (of.sum((1, 2)) for of in weeks.counts())
    begins = set(rng.integers(LEARNED + 40, LEARNED + WEEK - 40, FAULTS).tolist())
    both, nearest, delays = Both(Series(), Series()), 0.0, []
    for place in range(len(came)):
        if place in begins:
            faulty, delay = copy.deepcopy(both), np.inf
            for later in range(WINDOW):
                now = slice(place + later, place + later + 1)
                left, left_people = rng.binomial(came[now], 1 - loss), rng.binomial(people[now], 1 - loss)
                if faulty.see(place + later, int(left[0]), _sketched(left_people, rng)) > DEVIATIONS:
                    delay = min(delay, 5.0 * (later + 1))
            delays.append(delay)
        nearest = max(nearest, both.see(place, int(came[place]), _sketched(people[place : place + 1], rng)))
        both.learn()
    return nearest, delays


def _sketched(people: NDArray[np.int64], rng: np.random.Generator) -> float:
    return estimate(registers(people, rng)[0])


def clean_alarms(seed: int, bursts: float) -> list[str]:
    """Return what all detectors say of five clean weeks, the first two of which they learn from."""
    network = {"twitter": NetworkSettings(sources=("east", "west"))}
    all_detectors = detectors(network, GuardSettings(heartbeat_seconds=300))
    return [
        f"{verdict.kind} {verdict.slice}: {verdict.detail}"
        for seen in together(Weeks(seed=seed, weeks=WEEKS, bursts_a_day=bursts))
        for detector in all_detectors
        for verdict in detector.update(seen)
        if verdict.firing
    ]


class Lost(NamedTuple):
    """Where 30 % of the events are lost."""

    what: str
    collectors: slice = slice(None)
    raw_partitions: slice = slice(None)


WHERE = (
    Lost("whole network"),
    Lost("one of four collectors", collectors=slice(1)),
    Lost("one of four raw partitions", raw_partitions=slice(1)),
)
MOMENTS = 40
"""At which each network of the demonstration's population loses events."""
VOLUMES = ((1_000_000, 20_000, 3), (2_500_000, 20_000, 4), (6_000_000, 50_000, 5), (12_000_000, 100_000, 6))
"""Events a week on three networks, people, and seeds: of populations like the demonstration's."""


class Lively(NamedTuple):
    """How the detector fares on one network of the demonstration's population."""

    events: float
    alarms: list[str]
    """Of clean weeks."""
    delays: dict[str, list[float]]
    """Minutes until a loss was found, by where it was."""


def lively(name: str, clean: Fed, thinned: Fed) -> Lively:
    """Let the detector live through all weeks of a network, and at some moments through half an hour of each loss."""
    stretches = len(clean.events)
    begins = set(np.random.default_rng(9).integers(LEARNED + 40, stretches - 40, MOMENTS).tolist())
    settings = {name: NetworkSettings(sources=COLLECTORS)}
    detector, alarms, open_slices = FeedPartial(settings), list[str](), set[Slice]()
    delays: dict[str, list[float]] = {where.what: [] for where in WHERE}
    for number, seen in enumerate(told(name, clean, START_MS)):
        stretch, raw_partition = divmod(number, RAW_PARTITIONS)
        if stretch in begins and raw_partition == 0 and not open_slices:
            now = slice(stretch, stretch + WINDOW)
            for where in WHERE:
                lost = clean.at(now)
                lost.replace(thinned.at(now), where.collectors, where.raw_partitions)
                faulty = FeedPartial(settings)
                faulty.restore(detector.state())
                delays[where.what].append(_minutes(faulty, told(name, lost, START_MS + stretch * BUCKET_MS)))
        for verdict in detector.update(seen):
            (open_slices.add if verdict.firing else open_slices.discard)(verdict.slice)
            alarms += [f"{verdict.slice}: {verdict.detail}"] if verdict.firing else []
    return Lively(float(clean.events.sum((1, 2)).mean()), alarms, delays)


def _minutes(detector: FeedPartial, seen: Iterator[FeedSeen]) -> float:
    for number, one in enumerate(seen):
        if any(verdict.firing for verdict in detector.update(one)):
            return 5.0 * (number // RAW_PARTITIONS + 1)
    return np.inf


def print_lively() -> None:
    """Print how often 30 % lost is found, by where it is lost, and what was said of clean weeks."""
    print("\n| events in five minutes | clean weeks, alarms | " + " | ".join(where.what for where in WHERE) + " |")
    print("|---|---|" + "---|" * len(WHERE))
    for events, people, seed in VOLUMES:
        population = Population(
            PopulationSettings(
                seed=seed,
                people=people,
                start_ms=START_MS,
                end_ms=START_MS + WEEKS * 7 * DAY_MS,
                events=events * WEEKS,
            )
        )
        clean, thinned = fed(population), fed(population, kept=1 - LOSSES[0])
        ran = [
            lively(name, clean.at(number), thinned.at(number))
            for number, name in enumerate(population.settings.networks)
        ]
        cells = []
        for where in WHERE:
            delays = [delay for of in ran for delay in of.delays[where.what]]
            cells.append(f"{np.mean(np.isfinite(delays)):.0%}, {np.median(delays):.0f}")
        alarms = [alarm for of in ran for alarm in of.alarms]
        weeks = (WEEKS - 2) * len(ran)
        mean = np.mean([of.events for of in ran])
        print(f"| {mean:,.0f} | {weeks}, {len(alarms)} | {' | '.join(cells)} |", flush=True)
        for alarm in alarms:
            print(f"- {alarm}", flush=True)


def main() -> None:
    """Print the tables."""
    print(
        "| population | statistic | limit | " + " | ".join(f"{loss:.0%} lost: found, minutes" for loss in LOSSES) + " |"
    )
    print("|---|---|---|" + "---|" * len(LOSSES))
    for name, feeds in populations():
        for what, statistic in STATISTICS.items():
            limit = limit_of([statistic(feed) for feed in feeds])
            row = [found(feeds, statistic, limit, loss) for loss in LOSSES]
            cells = " | ".join(f"{share:.0%}, {minutes:.0f}" for share, minutes in row)
            print(f"| {name} | {what} | {limit:.2f} | {cells} |", flush=True)
    print("\n| events, bursts a day | nearest to an alarm, limit | 30 % lost: found, median minutes |\n|---|---|---|")
    for events, bursts in ((400, 1), (400, 4), (1_000, 4), (100, 1)):
        ran = [production(_plain(seed, events, bursts), LOSSES[0]) for seed in range(30, 34)]
        delays = [delay for _, of in ran for delay in of]
        near = max(nearest for nearest, _ in ran)
        print(
            f"| {events}, {bursts} | {near:.1f}, {DEVIATIONS} "
            f"| {np.mean(np.isfinite(delays)):.0%}, {np.median(delays):.0f} |",
            flush=True,
        )
    print("\n| clean weeks | bursts a day | false alarms of all detectors |\n|---|---|---|")
    for bursts in (1, 4):
        found_alarms = [alarm for seed in range(20, 23) for alarm in clean_alarms(seed, bursts)]
        print(f"| 3 times 3, after 2 to learn | {bursts} | {len(found_alarms)} |", flush=True)
        for alarm in found_alarms:
            print(f"- {alarm}", flush=True)
    print_lively()


if __name__ == "__main__":
    main()
