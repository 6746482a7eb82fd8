"""The users of all partitions in numbers: how their scores are distributed, and how many are at the floor."""

import math
from collections.abc import Iterable
from itertools import pairwise
from typing import Final

import msgspec

from schemas.incident import IncidentKind, Slice
from schemas.population import BINS
from schemas.times import HOUR_MS
from streams.guard.detector import Verdict
from streams.guard.detectors.falls import CRITICAL_TIMES, clocks_of
from streams.guard.detectors.kept import Kept, Learned, part, time_ms
from streams.guard.detectors.taken_back import at_all, taken_back
from streams.guard.observations import Observation, PopulationSeen

DAY_MS: Final = 24 * HOUR_MS
SNAPSHOT_MS: Final = HOUR_MS // 6
"""Event time between two snapshots of the population."""
STALE_MS: Final = 6 * HOUR_MS
"""A population of so long ago has changed by decay alone, and says nothing."""
HELD_MS: Final = DAY_MS
"""What was before a fault stays the measure for so long."""


class Snapshot(msgspec.Struct):
    """All users at a moment of event time, by score."""

    at_ms: int
    histogram: list[int]


class History(msgspec.Struct):
    """The users of a network, or all of them, now and in the last hour."""

    partitions: dict[int, list[int]] = {}
    total: list[int] = []
    snapshots: list[Snapshot] = []
    begun_ms: int = 0
    """When there were first enough users to judge."""

    def put(self, partition: int, histogram: list[int]) -> None:
        """Take in what a partition tells."""
        before = self.partitions.get(partition) or [0] * BINS
        total = self.total or [0] * BINS
        self.total = [all_ - was + now for all_, was, now in zip(total, before, histogram, strict=True)]
        self.partitions[partition] = histogram

    def earlier(self, now_ms: int, *, held: bool) -> Snapshot | None:
        """Return the population an hour ago, or the oldest that is known; while `held`, what it was at first."""
        snapshots = self.snapshots
        if snapshots and now_ms - snapshots[0].at_ms > (HELD_MS if held else STALE_MS):
            snapshots.clear()
        if held:
            return snapshots[0] if snapshots else None
        while len(snapshots) > 1 and snapshots[1].at_ms <= now_ms - HOUR_MS:
            del snapshots[0]
        return snapshots[0] if snapshots else None

    def keep(self, now_ms: int) -> None:
        """Make a snapshot, if it is time."""
        if not self.snapshots or now_ms - self.snapshots[-1].at_ms >= SNAPSHOT_MS:
            self.snapshots.append(Snapshot(now_ms, self.total))


class Histories(Learned, kw_only=True):
    """By network; over all under the empty name."""

    networks: dict[str, History] = msgspec.field(default_factory=dict)
    expected: int = 0
    """How many partitions there are."""
    taken_back: dict[int, int] = msgspec.field(default_factory=dict)
    """By partition, users whom `clout retract` lowered in this hour and the one before, where any."""


class _Compared(Kept[Histories]):
    """Compares the population with what it was an hour of event time ago."""

    kind: IncidentKind

    def __init__(self) -> None:
        """Begin without knowing any population."""
        super().__init__(Histories())
        self.name: str = self.kind

    def update(self, observation: Observation) -> list[Verdict]:
        """Take in what a partition tells, once all have told."""
        if not isinstance(observation, PopulationSeen):
            return []
        told = observation.population
        if told.partitions != self._learned.expected:
            self._learned.expected = told.partitions
            self._learned.networks.clear()
            self._learned.taken_back.clear()
        self._learned.taken_back.pop(told.partition, None)
        if (lowered := at_all(taken_back(told))) > 0:
            self._learned.taken_back[told.partition] = lowered
        now_ms = max(clocks_of(told).values(), default=0)
        verdicts = self._see("", told.partition, told.histogram, now_ms)
        for network, of in told.networks.items():
            clock_ms = time_ms(of.clock)
            verdicts += self._see(network, told.partition, of.histogram, now_ms if clock_ms is None else clock_ms)
        return verdicts

    def _see(self, network: str, partition: int, histogram: list[int], now_ms: int) -> list[Verdict]:
        history = self._learned.networks.setdefault(network, History())
        history.put(partition, histogram)
        if len(history.partitions) < self._learned.expected:
            return []
        about = Slice(network=network or None)
        held = self._fires(about)
        before = history.earlier(now_ms, held=held)
        if before is not None and now_ms < before.at_ms:
            return []  # A partition that is behind the others.
        verdicts = [] if before is None else self._compare(about, before, history.total, now_ms)
        if before is None and held:
            verdicts = self._accept(about)
        if not self._fires(about):
            history.keep(now_ms)
        return verdicts

    def _lowered_users(self) -> int:
        """Return how many users an operator's order lowered, on whatever network: those are nobody's fault."""
        return sum(self._learned.taken_back.values())

    def _fires(self, about: Slice) -> bool:
        return self._said(self.kind, about) is not None

    def _accept(self, about: Slice) -> list[Verdict]:
        return self._unsay(self.kind, about, "it has been so for a day of event time", {})

    def _compare(self, about: Slice, before: Snapshot, now: list[int], now_ms: int) -> list[Verdict]:
        raise NotImplementedError


def _users_of(about: Slice) -> str:
    return "all users" if about.network is None else f"users on {about.network}"


GROUPS: Final = 10
"""Groups of scores that are compared: tenths of the population as it was."""
STABILITY_LIMIT: Final = 0.25
"""A population stability index of 0.25 is held for a major shift, by everybody who uses it."""
MOVED_SHARE_MIN: Final = 0.1
"""So many users at least must have moved: what is certain, but small, is no incident."""
COMPARED_USERS_MIN: Final = 200
GROWTH_MAX: Final = 1.5
"""A population that grows faster within an hour is young: its users find their places."""
SURE_DEVIATIONS: Final = 4.0


class PopulationShift(_Compared):
    """The scores of all users, or of those on a network, are distributed otherwise than an hour of event time ago.

    By the population stability index over tenths of the former population, Σ (p - q)·ln(p / q). Whoever is new is left
    out as kindly as can be: as many users as were added are taken from where there are more than before, so a
    population that only grows has an index of 0. The index must pass 0.25, and what chance makes of samples of this
    size: under no shift it is (1/n + 1/m)·χ² with 9 degrees of freedom, so four deviations above its mean. And one user
    in ten must have moved, beside those whom `clout retract` lowered. From 200 users on that do not become half as many
    more within the hour. False alarms: at most one in 20 weeks of clean data, whatever the network.
    """

    kind: IncidentKind = "population_shift"

    def _compare(self, about: Slice, before: Snapshot, now: list[int], now_ms: int) -> list[Verdict]:
        users, users_before = sum(now), sum(before.histogram)
        fires = self._fires(about)
        young = users_before < COMPARED_USERS_MIN or users > GROWTH_MAX * users_before
        if young and not fires:
            return []
        index, moved = shift_of(before.histogram, now)
        limit = max(STABILITY_LIMIT, chance_limit(users_before, users))
        else_moved = moved - part(self._lowered_users(), users_before)
        numbers = {
            "stability_index": round(index, 4),
            "limit": round(limit, 4),
            "moved_share": round(moved, 4),
            "users": float(users),
            "users_before": float(users_before),
        }
        whose = _users_of(about)
        if index < limit * (0.5 if fires else 1.0) or (else_moved < MOVED_SHARE_MIN and not fires):
            return self._unsay(self.kind, about, f"the scores of {whose} lie as they did before", numbers)
        return self._say(
            self.kind,
            about,
            "critical" if moved >= CRITICAL_TIMES * MOVED_SHARE_MIN else "major",
            f"the scores of {whose} shifted within an hour: stability index {index:.2f}, {limit:.2f} at most; "
            f"at least {moved:.0%} of {users_before:,} moved",
            numbers,
            size=index,
            at_ms=now_ms,
            since_ms=before.at_ms,
        )


def shift_of(before: list[int], now: list[int]) -> tuple[float, float]:
    """Return the stability index and the share of users who moved at least, with whoever is new left out.

    >>> shift_of([50, 50, 0], [60, 50, 30])
    (0.0, 0.0)
    >>> index, moved = shift_of([50, 50, 0], [100, 0, 0])
    >>> index > 1, moved
    (True, 0.5)
    """
    users = sum(before)
    added = max(0, sum(now) - users)
    risen = sum(max(0, new - old) for old, new in zip(before, now, strict=True))
    kept = 1 - part(added, risen)
    still = [old + (new - old) * kept if new > old else float(new) for old, new in zip(before, now, strict=True)]
    moved = part(sum(max(0, old - new) for old, new in zip(before, now, strict=True)), users)
    index = 0.0
    for old_group, new_group in _grouped(before, still):
        p = (new_group + 0.5) / (sum(still) + 0.5)
        q = (old_group + 0.5) / (users + 0.5)
        index += (p - q) * math.log(p / q)
    return index, moved


def _grouped(before: list[int], now: list[float]) -> Iterable[tuple[float, float]]:
    """Yield tenths of the former population, and who is there now."""
    users, reached, edges = sum(before), 0, [0]
    for place, count in enumerate(before, 1):
        reached += count
        if reached >= len(edges) * users / GROUPS and place > edges[-1] and len(edges) < GROUPS:
            edges.append(place)
    edges.append(len(before))
    for first, last in pairwise(edges):
        if last > first:
            yield sum(before[first:last]), sum(now[first:last])


def chance_limit(users_before: int, users: int) -> float:
    """Return the stability index that chance hardly passes with two samples of these sizes.

    >>> round(chance_limit(100, 100), 2), round(chance_limit(100_000, 100_000), 5)
    (0.52, 0.00052)
    """
    degrees = GROUPS - 1
    return (1 / max(1, users_before) + 1 / max(1, users)) * (degrees + SURE_DEVIATIONS * math.sqrt(2 * degrees))


FLOOR_SHARE: Final = 0.05
"""Of the users may come to the floor within an hour: decay brings less than one in a hundred there."""
FLOOR_USERS_MIN: Final = 20


class PopulationAtFloor(_Compared):
    """More users stand at the lowest score (1.0 to 1.9) than an hour of event time ago.

    Of those who are there now, as many are left out as are new, and as `clout retract` lowered. Limit: 5 % of the
    users, and 20; critical from 25 % on. While it fires, what was before stays the measure, for a day of event time.
    Over all, and for each network. False alarms: none in 20 weeks of clean data: decay brings less than one user in a
    hundred to the floor in an hour.
    """

    kind: IncidentKind = "population_at_floor"

    def _compare(self, about: Slice, before: Snapshot, now: list[int], now_ms: int) -> list[Verdict]:
        users, users_before = sum(now), sum(before.histogram)
        came = now[0] - before.histogram[0] - max(0, users - users_before) - self._lowered_users()
        share = part(came, users_before)
        limit = FLOOR_SHARE * (0.5 if self._fires(about) else 1.0)
        numbers = {
            "came_to_floor_users": float(max(0, came)),
            "came_to_floor_share": round(max(0.0, share), 4),
            "limit_share": FLOOR_SHARE,
            "at_floor_users": float(now[0]),
            "at_floor_users_before": float(before.histogram[0]),
            "users": float(users),
        }
        whose = _users_of(about)
        if came < FLOOR_USERS_MIN or share < limit:
            return self._unsay(self.kind, about, f"of {whose} no more than usual are at 1", numbers)
        return self._say(
            self.kind,
            about,
            "critical" if share >= CRITICAL_TIMES * FLOOR_SHARE else "major",
            f"{came:,} of {users_before:,} ({share:.0%}; {whose}) came to the lowest score within an hour, "
            f"{FLOOR_SHARE:.0%} at most",
            numbers,
            size=share,
            at_ms=now_ms,
            since_ms=before.at_ms,
        )
