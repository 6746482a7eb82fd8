"""More than usual of what should be rare: dead letters, duplicates, retractions, forgotten users."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from schemas.incident import IncidentKind, Slice
from streams.guard.canary_schedule import ACTORS_MAX
from streams.guard.detector import Verdict
from streams.guard.detectors.kept import Kept, Learned, part, since
from streams.guard.observations import FeedSeen, Observation, PopulationSeen

SLOT_MS: Final = 10_000
SLOTS: Final = 60
"""Slots that are kept: ten minutes by the guard's clock."""
WINDOWS: Final = (6, 60)
"""Slots that are looked at together: one minute, and ten for feeds that bring little."""
HALF_LIFE_SLOTS: Final = 8_640
"""What is usual counts half as much after a day of slots in which something came."""
SURE_DEVIATIONS: Final = 6.0
TELLING_HITS: Final = 10
"""The newest slots in which a surge that goes on would bring so many hits say whether it does."""
ACCEPTED_MS: Final = 86_400_000
"""A surge that lasts so long is what is usual from now on."""


class Slot(msgspec.Struct, array_like=True):
    """What came in ten seconds."""

    at: int
    hits: int
    trials: int


class Rate(msgspec.Struct):
    """What came of late, and what is usual."""

    counters: dict[str, list[int]] = {}
    """Last known, by who counts."""
    slots: list[Slot] = []
    weight: float = 0.0
    """Slots that taught what is usual, the old ones less."""
    mean: float = 0.0
    square: float = 0.0
    """Mean of the squares of shares."""

    def add(self, counter: str, hits: int, trials: int, at: int) -> None:
        """Take in counters as they are now: differences count, and none where a counter is new or went back."""
        before = self.counters.get(counter)
        self.counters[counter] = [hits, trials]
        if before is None or hits < before[0] or trials < before[1]:
            return
        self.put(since(before[0], hits), since(before[1], trials), at)

    def put(self, hits: int, trials: int, at: int) -> None:
        """Count in a slot."""
        if not self.slots or self.slots[-1].at != at:
            self.slots.append(Slot(at, 0, 0))
        self.slots[-1].hits += hits
        self.slots[-1].trials += trials

    def pass_by(self, at: int, limit: float, *, learn: bool) -> None:
        """Let go of slots that are too old; they teach what is usual, no more than the limit."""
        while self.slots and not at - SLOTS < self.slots[0].at <= at:
            slot = self.slots.pop(0)
            if learn and slot.trials:
                self.teach(min(part(slot.hits, slot.trials), limit))

    def teach(self, share: float, slots: int = 1) -> None:
        """Take a share as usual."""
        self.weight = self.weight * 0.5 ** (slots / HALF_LIFE_SLOTS) + slots
        self.mean += (share - self.mean) * slots / self.weight
        self.square += (share * share - self.square) * slots / self.weight

    def deviation(self) -> float:
        """Return by how much shares of single slots differ."""
        return math.sqrt(max(0.0, self.square - self.mean * self.mean))


@dataclass(frozen=True, slots=True, kw_only=True)
class Surge:
    """What is looked for."""

    kind: IncidentKind
    what: str
    """In words, of hits: `could not be read`."""
    of: str
    """In words, of trials: `events`."""
    share: float
    """Above the usual share, that is a surge."""
    critical: float
    hits_min: int


class Rates(Learned, kw_only=True):
    """By slice: a network, or nothing for all."""

    rates: dict[str, Rate] = msgspec.field(default_factory=dict)
    now: int = 0
    """Number of the slot that is going on."""


class _Surges(Kept[Rates]):
    """Counts by slice, and says when a share is much above what is usual."""

    def __init__(self, surge: Surge) -> None:
        """Look for this."""
        super().__init__(Rates())
        self.name: str = surge.kind
        self._surge = surge

    def update(self, observation: Observation) -> list[Verdict]:
        """Take in one observation; judge when ten seconds are over."""
        now, learned = observation.now_ms // SLOT_MS, self._learned
        verdicts: list[Verdict] = []
        if now != learned.now:
            for name, rate in learned.rates.items():
                verdicts += self._judge(name, rate, observation.now_ms)
                fires = self._said(self._surge.kind, Slice(network=name or None)) is not None
                rate.pass_by(now, self._limit(rate, 0), learn=not fires)
            learned.now = now
        self._count(observation, now)
        return verdicts

    def _count(self, observation: Observation, now: int) -> None:
        raise NotImplementedError

    def _rate(self, name: str) -> Rate:
        return self._learned.rates.setdefault(name, Rate())

    def _judge(self, name: str, rate: Rate, now_ms: int) -> Iterator[Verdict]:
        surge, about = self._surge, Slice(network=name or None)
        before = self._said(surge.kind, about)
        if before is None and sum([slot.hits for slot in rate.slots]) < surge.hits_min:
            return
        found: tuple[float, int, int, float, int] | None = None
        for slots in WINDOWS:
            recent = [slot for slot in rate.slots if slot.at > self._learned.now - slots]
            hits = max(0, sum(slot.hits for slot in recent) - self._own_hits(slots))
            trials = self._trials([slot.trials for slot in recent])
            share, limit = part(hits, trials), self._limit(rate, trials)
            passed = limit if before is None else (limit + rate.mean) / 2
            if hits >= surge.hits_min and share > passed:
                found = max(found or (0.0, 0, 0, 0.0, 0), (share, hits, trials, limit, slots))
            elif before is not None and trials * passed >= surge.hits_min:
                break  # So much came of late that a surge would show: what the longer window still holds is over.
        whose = f" of {name}" if name else ""
        if found is not None and before is not None and now_ms - before.since_ms > ACCEPTED_MS:
            rate.weight = 0.0
            rate.teach(found[0], SLOTS)
            found = None
        if found is None:
            if before is not None:
                # It is over: the longer window, which still holds it, would find it again.
                rate.slots = [slot for slot in rate.slots if slot.at > self._learned.now - WINDOWS[0]]
            yield from self._unsay(surge.kind, about, f"no more {surge.of}{whose} than usual {surge.what}", {})
            return
        share, hits, trials, limit, slots = found
        if not self._goes_on(rate, share, limit):
            return
        seconds = slots * SLOT_MS / 1000
        yield from self._say(
            surge.kind,
            about,
            "critical" if share >= surge.critical else "major",
            f"{hits:,} of {trials:,} {surge.of}{whose} ({share:.1%}) {surge.what} within {seconds:.0f} s; "
            f"usual are {rate.mean:.1%}, {limit:.1%} at most",
            {
                "hits": float(hits),
                "trials": float(trials),
                "share": round(share, 4),
                "usual_share": round(rate.mean, 4),
                "limit": round(limit, 4),
                "window_seconds": seconds,
            },
            size=share,
            at_ms=now_ms,
        )

    def _goes_on(self, rate: Rate, share: float, limit: float) -> bool:
        """Return whether the newest slots show it too, so that it is not over."""
        hits = trials = 0
        for slot in reversed(rate.slots):
            hits, trials = hits + slot.hits, trials + slot.trials
            if trials * share >= TELLING_HITS:
                break
        return part(hits, trials) > (limit + rate.mean) / 2

    def _limit(self, rate: Rate, trials: int) -> float:
        """Return the share beyond which it is a surge."""
        chance = math.sqrt(rate.mean * (1 - rate.mean) / trials) if trials else 0.0
        surprise = SURE_DEVIATIONS * math.hypot(chance, rate.deviation())
        return min(rate.mean + max(self._surge.share, min(surprise, 2 * self._surge.share)), 0.95)

    def _trials(self, trials: list[int]) -> int:
        return sum(trials)

    def _own_hits(self, slots: int) -> int:
        """Return how many hits within so many slots may be of the guard's own synthetic accounts."""
        del slots
        return 0


class FeedSurge(_Surges):
    """A share of what ingest reads, by network, from the differences of its counters.

    The usual share is a mean over ten-second slots of the guard's clock that halves its memory each day; a surge lies
    above it by a fixed share, or by six deviations where shares differ much from slot to slot (twice the fixed share
    at most), within the last minute or, for feeds that bring little, ten. It begins, and becomes graver, only while
    the newest slot, or the newest few where little comes, lies half so far above it too: a surge that is over has a
    growing share of the window while what came before it leaves, and must not freeze a feed that is well again. While
    it fires nothing is learned; after a day, what is so is usual. Counters that went back are begun anew. `clout
    retract` does not pass through ingest, so it is no surge of retractions. Of the guard's synthetic accounts, whose
    acts ingest counts too, as many as may have come are left out. False alarms: at most one a network in 20 weeks of
    clean data, in which 2 % are hits, by half more or less from day to day, and now and then 1 % of the events, or ten
    of them, at once.
    """

    def __init__(self, surge: Surge, counter: str, own_interval_seconds: float = math.inf) -> None:
        """Count what ingest counts under this name; a synthetic account acts so often, and may be a hit."""
        super().__init__(surge)
        self._counter, self._own_interval_seconds = counter, own_interval_seconds

    def _own_hits(self, slots: int) -> int:
        # Half of their acts take back the other half, a round at a time; two rounds may lie in a window of one.
        acts = slots * SLOT_MS / 1000 / self._own_interval_seconds
        return math.ceil(acts / 2) + ACTORS_MAX if acts else 0

    def _count(self, observation: Observation, now: int) -> None:
        if isinstance(observation, FeedSeen):
            report = observation.report
            counters = report.counters
            hits, trials = counters.get(self._counter, 0), counters.get("read", 0) - counters.get("heartbeat", 0)
            self._rate(report.network).add(str(report.raw_partition), hits, trials, now)


class DuplicateSurge(_Surges):
    """A share of what the tasks take in, by network, that had come before; learned and limited as in `FeedSurge`.

    Collectors send again what they are not sure of: a fifth of the events, within a minute, is beyond that. False
    alarms: at most one a network in 20 weeks of clean data, in which 5 % had come before, as unsteadily as there.
    """

    def _count(self, observation: Observation, now: int) -> None:
        if isinstance(observation, PopulationSeen):
            told = observation.population
            for network, outcomes in told.outcomes.items():
                hits = outcomes.get("duplicate", 0)
                trials = hits + sum(outcomes.get(name, 0) for name in ("credited", "self", "withheld", "forgotten"))
                self._rate(network).add(str(told.partition), hits, trials, now)


class ForgetSurge(_Surges):
    """A share of all users that is forgotten within ten minutes; learned and limited as in `FeedSurge`.

    False alarms: at most one in 20 weeks of clean data, in which less than one user in 200 is forgotten in ten minutes.
    """

    def _count(self, observation: Observation, now: int) -> None:
        if isinstance(observation, PopulationSeen):
            told = observation.population
            rate = self._rate("")
            before = rate.counters.get(str(told.partition))
            rate.counters[str(told.partition)] = [told.changes.get("forget", 0), told.users]
            users = sum(counted[1] for counted in rate.counters.values())
            rate.put(since(None if before is None else before[0], told.changes.get("forget", 0)), 0, now)
            rate.slots[-1].trials = max(rate.slots[-1].trials, users)

    def _trials(self, trials: list[int]) -> int:
        return max(trials, default=0)

    def _goes_on(self, rate: Rate, share: float, limit: float) -> bool:
        del rate, share, limit
        return True  # Users leave no window: the share grows by those who are forgotten alone.


SURGES: Final[Mapping[str, Surge]] = {
    surge.kind: surge
    for surge in (
        Surge(
            kind="dead_letter_surge",
            what="could not be taken in",
            of="events",
            share=0.05,
            critical=0.4,
            hits_min=30,
        ),
        Surge(
            kind="duplicate_surge",
            what="had come before",
            of="events",
            share=0.2,
            critical=0.9,
            hits_min=100,
        ),
        Surge(
            kind="retraction_surge",
            what="take something back",
            of="events",
            share=0.05,
            critical=0.3,
            hits_min=30,
        ),
        Surge(
            kind="forget_surge",
            what="were forgotten",
            of="users",
            share=0.005,
            critical=0.05,
            hits_min=20,
        ),
    )
}
"""Shares above what is usual, measured to be far from clean data (`tests/guard/test_budgets.py`)."""
