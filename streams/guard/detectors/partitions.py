"""Partitions of the scores: what their own tasks say, who falls silent, and who comes back with less."""

from typing import Final

import msgspec

from schemas.change import Cause
from schemas.feed_report import FeedReport
from schemas.incident import Incident, IncidentKind, Slice
from schemas.population import Population
from streams.guard.detector import Verdict
from streams.guard.detectors.kept import AWAY_MS, Kept, Learned, since, time_ms
from streams.guard.observations import FeedSeen, IncidentSeen, Observation, PopulationSeen
from streams.population import UNCHANGED_SECONDS

PROMISED_MS: Final = int(UNCHANGED_SECONDS * 1000)
"""A task that hears of time tells its users again after so long at most."""
SLACK_MS: Final = 5_000
"""A task counts its minute from its own commit: a tick that the guard hears at its very end may come before it."""
SILENT_MS: Final = 3 * PROMISED_MS
OPEN_MAX: Final = 1_000
"""Incidents of tasks that are kept in mind, the newest."""
ACCEPTED_MS: Final = 86_400_000
"""After so long, what a partition lost is what it has."""
TOLERATED_SHARE: Final = 0.001
"""Of its users may be missing without cause while its numbers go on in order."""

_TAKING: Final[tuple[Cause, ...]] = ("forget", "retraction", "correction", "model")
"""Causes of changes that can leave a user without a score."""


class OpenIncidents(Learned, kw_only=True):
    """Incidents of tasks that are not resolved: kind and partition by id."""

    open: dict[str, tuple[IncidentKind, int | None]] = msgspec.field(default_factory=dict)


class PassedOn(Kept[OpenIncidents]):
    """What partition tasks found themselves, passed on so that the guard's metrics and freezing can act on it.

    They are the tasks' own incidents, with ids that begin with their kind and a colon: the guard opens no second one
    for the same partition. The kind of a verdict is that of the incident. A slice is well again when the last of its
    incidents of a kind is resolved. False alarms: none of its own.
    """

    def __init__(self, name: str, kinds: tuple[IncidentKind, ...]) -> None:
        """Pass on incidents of these kinds."""
        super().__init__(OpenIncidents())
        self.name = name
        self._kinds = kinds

    def update(self, observation: Observation) -> list[Verdict]:
        """Take in what a task wrote."""
        if not isinstance(observation, IncidentSeen):
            return []
        incident = observation.incident
        if incident.kind not in self._kinds or not incident.id.startswith(f"{incident.kind}:"):
            return []
        unresolved, about = self._learned.open, Slice(partition=incident.slice.partition)
        known = unresolved.pop(incident.id, None)
        if incident.status != "resolved":
            unresolved[incident.id] = incident.kind, about.partition
            if len(unresolved) > OPEN_MAX:
                del unresolved[next(iter(unresolved))]
            return self._fires(incident, about, observation.now_ms)
        if known is None or known in unresolved.values():
            return []
        return self._unsay(incident.kind, about, f"{incident.id} is resolved", {"open_incidents": 0.0})

    def _fires(self, incident: Incident, about: Slice, now_ms: int) -> list[Verdict]:
        same = sum(1 for of in self._learned.open.values() if of == (incident.kind, about.partition))
        users = float(incident.affected_users)
        return self._say(
            incident.kind,
            about,
            incident.severity,
            f"{incident.title}: {incident.evidence[0].detail}" if incident.evidence else incident.title,
            {"affected_users": users, "open_incidents": float(same)},
            size=users + same,
            at_ms=now_ms,
            since_ms=time_ms(incident.since),
            users=tuple(incident.users),
        )


class Silence(Learned, kw_only=True):
    """When the guard last heard of whom."""

    now_ms: int = 0
    partitions: int = 0
    told_ms: dict[int, int] = msgspec.field(default_factory=dict)
    """When each partition last told its users; when the guard began to watch, for those that never did."""
    owed_ms: dict[int, int] = msgspec.field(default_factory=dict)
    """Since when a partition should have told them again: it heard of time, and its promise was due."""
    heard: dict[str, str] = msgspec.field(default_factory=dict)
    """By raw partition, what ingest last told the tasks of time."""
    watching_ms: int = 0


class PartitionSilent(Kept[Silence]):
    """A partition tells nothing of its users for three times as long as it promises, while feeds bring ticks.

    A task tells its users with the first batch after a minute, and every tick is a batch. So a record is owed from the
    first tick on that ingest tells when a minute has gone by; it is missing two minutes later. An installation without
    ticks is idle, and owes nothing. A partition that never told anything owes from when the guard began to watch, and
    where none ever did, the one that is missed is the whole. False alarms: none in 4 weeks of clean data
    with a tick every two minutes at least, as heartbeats bring. A restore that takes longer than three minutes is
    silence, and is told as such.
    """

    name = "partition_silent"

    def __init__(self) -> None:
        """Begin to watch with the first observation."""
        super().__init__(Silence())

    def update(self, observation: Observation) -> list[Verdict]:
        """Take in one observation."""
        now_ms = observation.now_ms
        self._watch(now_ms)
        if isinstance(observation, PopulationSeen):
            return self._told(observation.population, now_ms)
        if isinstance(observation, FeedSeen):
            self._hear(observation.report, now_ms)
            return []
        return self._silent(now_ms)

    def _watch(self, now_ms: int) -> None:
        learned = self._learned
        if not 0 <= now_ms - learned.now_ms < AWAY_MS:
            learned.watching_ms = now_ms
            learned.told_ms = dict.fromkeys(learned.told_ms, now_ms)
            learned.owed_ms.clear()
        learned.now_ms = now_ms

    def _told(self, population: Population, now_ms: int) -> list[Verdict]:
        learned, partition = self._learned, population.partition
        if population.partitions != learned.partitions:
            learned.partitions = population.partitions
            known = {number: at for number, at in learned.told_ms.items() if 0 <= number < population.partitions}
            learned.told_ms = dict.fromkeys(range(population.partitions), learned.watching_ms) | known
        learned.told_ms[partition] = now_ms
        learned.owed_ms.pop(partition, None)
        learned.owed_ms.pop(_ALL, None)
        told = {"users": float(population.users)}
        return [
            *self._unsay("partition_silent", Slice(partition=partition), f"partition {partition} tells again", told),
            *self._unsay("partition_silent", Slice(), "partitions tell of their users", told),
        ]

    def _hear(self, report: FeedReport, now_ms: int) -> None:
        learned, key = self._learned, f"{report.network}/{report.raw_partition}"
        heard = f"{report.time} {report.arrival} {report.at_end} {sorted(report.heartbeats.items())}"
        if learned.heard.get(key) == heard:
            return
        first = key not in learned.heard
        learned.heard[key] = heard
        if first:
            return  # It may be long ago that this was told to the tasks.
        for partition, told_ms in (learned.told_ms or {_ALL: learned.watching_ms}).items():
            if now_ms - told_ms >= PROMISED_MS + SLACK_MS:
                learned.owed_ms.setdefault(partition, now_ms)

    def _silent(self, now_ms: int) -> list[Verdict]:
        verdicts: list[Verdict] = []
        for partition, owed_ms in self._learned.owed_ms.items():
            if now_ms - owed_ms < SILENT_MS - PROMISED_MS:
                continue
            begun_ms = self._learned.told_ms.get(partition, self._learned.watching_ms)
            seconds = (now_ms - begun_ms) / 1000
            who = "no partition tells" if partition == _ALL else f"partition {partition} tells nothing"
            verdicts += self._say(
                "partition_silent",
                Slice() if partition == _ALL else Slice(partition=partition),
                "major",
                f"{who} of its users for {seconds:.0f} s, while feeds bring ticks; {SILENT_MS / 1000:.0f} s at most",
                {"silent_seconds": seconds, "limit_seconds": SILENT_MS / 1000},
                size=seconds,
                at_ms=now_ms,
            )
        return verdicts


_ALL: Final = -1
"""Stands for all partitions while none is known."""


class Standing(msgspec.Struct):
    """A partition as it last told itself, or as it was before it lost users."""

    model: str
    sequence: int
    written_ms: int
    users: int
    taken: int
    """Changes that can have left a user without a score, since the partition began."""
    missing_since_ms: int = 0
    """When users were missed; 0 while none are."""


class Standings(Learned, kw_only=True):
    """All partitions by number."""

    partitions: dict[int, Standing] = msgspec.field(default_factory=dict)


class PartitionShrunk(Kept[Standings]):
    """A partition has fewer users than it told before, or tells an earlier sequence, and nobody asked for that.

    Users go when they are forgotten or all of theirs is taken back; each such change is counted in the same record,
    so what is missing beyond that is lost. One user in a thousand is tolerated while the sequence goes on. A record
    that was written before the last one is an old one read again. It is well again when it has its users back, or
    after a day. False alarms: none in 50 weeks of clean data: the numbers are exact.
    """

    name = "partition_shrunk"

    def __init__(self) -> None:
        """Begin without knowing any partition."""
        super().__init__(Standings())

    def update(self, observation: Observation) -> list[Verdict]:
        """Compare a partition with itself before."""
        if not isinstance(observation, PopulationSeen):
            return []
        written_ms = time_ms(observation.population.written)
        return [] if written_ms is None else self._compare(observation.population, written_ms, observation.now_ms)

    def _compare(self, told: Population, written_ms: int, now_ms: int) -> list[Verdict]:
        known = self._learned.partitions
        taken = sum(told.changes.get(cause, 0) for cause in _TAKING)
        present = Standing(told.model, told.sequence, written_ms, told.users, taken)
        before = known.get(told.partition)
        if before is None or before.model != told.model:
            known[told.partition] = present
            return []
        if told.sequence <= before.sequence and written_ms <= before.written_ms:
            return []
        expected = before.users - since(before.taken, taken)
        missing = expected - told.users
        began_again = told.sequence <= before.sequence
        about, numbers = Slice(partition=told.partition), _shrunk_numbers(told, before, missing)
        if before.missing_since_ms and (missing <= 0 or now_ms - before.missing_since_ms > ACCEPTED_MS):
            known[told.partition] = present
            return self._unsay(
                "partition_shrunk", about, f"partition {told.partition} has {told.users:,} users", numbers
            )
        if not before.missing_since_ms and not began_again and missing <= TOLERATED_SHARE * before.users:
            known[told.partition] = present
            return []
        # What it had stays the measure, until it has that again.
        before.missing_since_ms = before.missing_since_ms or now_ms
        before.sequence, before.written_ms = told.sequence, written_ms
        before.users, before.taken = max(0, expected), max(taken, before.taken) if not began_again else taken
        return self._say(
            "partition_shrunk",
            about,
            "critical",
            f"partition {told.partition} has {told.users:,} users, {max(0, missing):,} fewer than it should have"
            + (f", and tells sequence {told.sequence:,} again" if began_again else ""),
            numbers,
            size=float(max(1, missing)),
            at_ms=now_ms,
        )


def _shrunk_numbers(told: Population, before: Standing, missing: int) -> dict[str, float]:
    return {
        "users": float(told.users),
        "users_before": float(before.users),
        "missing_users": float(max(0, missing)),
        "sequence": float(told.sequence),
        "sequence_before": float(before.sequence),
    }
