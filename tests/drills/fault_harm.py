"""What a fault has done: who differs from what the population did, and what was published of them."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

import msgspec
import numpy as np
from confluent_kafka import TopicPartition

from clout.audit.chains import Chains
from clout.audit.changes import Raw
from clout.audit.findings import Findings
from clout.demo.feed import Feed
from clout.demo.population import Event, Population, encoded
from clout.whole_topic import extents, reading
from schemas.interaction import Interaction
from scorer.reference import Event as Told
from scorer.reference import sums_of
from tests.checks import broken_chains, committed_records, wrong_sums
from tests.drills.expectation import FLAT
from tests.drills.fault_cases import PUT_ASIDE, Case
from tests.roles import Installation

READ_SECONDS: Final = 0.05
READ_RECORDS: Final = 10_000


class Harm(NamedTuple):
    """What is wrong because of a fault."""

    changes: int
    users: int


class Judge(Protocol):
    """Looks at an installation when a fault begins, which is when it is made, and again in the end."""

    def harm(self) -> Harm:
        """Return what is wrong in the end, when all that was sent has been processed."""


class JudgeOfSums:
    """Holds everybody's sums against the reference, and counts the changes of who differs."""

    def __init__(self, installation: Installation, population: Population, feed: Feed, case: Case) -> None:
        self._installation, self._played, self._case = installation, Played(installation, population, feed), case
        self._before = {user: len(theirs) for user, theirs in installation.changes().items()}

    def harm(self) -> Harm:
        installation, made = self._installation, list(self._played.since(0))
        missing = self._played.not_sent(made, {}) if self._case.fault in PUT_ASIDE else []
        aside = set(missing)
        expected = sums_of((self._played.told(event) for event in made if event not in aside), FLAT)
        found = wrong_sums(installation.users(), expected, influence_floor=1.0)
        wrong = {line.partition(" on ")[0] for line in found}
        changes = installation.changes()
        wrong |= {line.partition(": ")[0] for line in broken_chains(changes)}
        of_wrong = sum(len(changes.get(user, ())) - self._before.get(user, 0) for user in wrong)
        unlawful = _unlawful(installation, taken_back=self._case.fault == "retract-storm")
        users = len(wrong | {self._played.told(event).target for event in missing})
        return Harm(max(of_wrong, unlawful), users)


class JudgeOfLoss:
    """Counts who lacks an event, and their changes, from the fault's beginning on: behind it lie millions."""

    def __init__(self, installation: Installation, population: Population, feed: Feed) -> None:
        self._installation, self._played = installation, Played(installation, population, feed)
        self._first = feed.made_events
        self._ends = {topic: _ends(installation, topic) for topic in (installation.names.changes, *self._played.topics)}

    def harm(self) -> Harm:
        made = list(self._played.since(self._first))
        lacking = {self._played.told(event).target for event in self._played.not_sent(made, self._ends)}
        names = {user.encode() for user in lacking}
        changes = self._installation.names.changes
        published = _records(self._installation, changes, self._ends[changes])
        return Harm(sum(key in names for key, _ in published), len(lacking))


class Played:
    """What the population did, as it was to be sent."""

    def __init__(self, installation: Installation, population: Population, feed: Feed) -> None:
        self._installation, self._population, self._feed = installation, population, feed
        self.topics = [installation.names.interactions(name) for name in population.settings.networks]

    def since(self, first: int) -> Iterator[Event]:
        """Yield events from one on, up to the last that was made."""
        number, end = 0, self._feed.made_events
        for rows in self._population.interactions():
            begin, number = number, number + len(rows)
            if number > first:
                low, high = max(first, begin), min(end, number)
                yield from encoded(self._population, rows.take(np.arange(low - begin, high - begin)), low)
            if number >= end:
                return

    def told(self, event: Event) -> Told:
        """Return an event as the reference takes it."""
        of = msgspec.json.decode(event.value, type=Interaction)
        network = self._population.settings.networks[event.network]
        return Told(network, of.id, of.kind, of.actor, of.target, event.time_ms)

    def not_sent(self, made: Sequence[Event], since: Mapping[str, Mapping[int, int]]) -> list[Event]:
        """Return those that did not come as they were; `since` are the offsets of each topic to look from."""
        came = {
            value for topic in self.topics for _, value in _records(self._installation, topic, since.get(topic, {}))
        }
        return [event for event in made if event.value not in came]


def _ends(installation: Installation, topic: str) -> dict[int, int]:
    return {of.partition: of.end for of in extents(installation.settings.kafka, "drill", [topic])}


def _records(
    installation: Installation, topic: str, since: Mapping[int, int]
) -> Iterator[tuple[bytes | None, bytes | None]]:
    """Yield key and value of all records that a `read_committed` reader sees from these offsets on."""
    kafka = installation.settings.kafka
    left = {of.partition for of in extents(kafka, "drill", [topic])}
    with reading(kafka, "drill") as reader:
        reader.assign([TopicPartition(topic, partition, since.get(partition, 0)) for partition in left])
        while left:
            for message in reader.consume(READ_RECORDS, READ_SECONDS):
                if message.error() is None:
                    yield message.key(), message.value()
                else:
                    left.discard(message.partition())


def _unlawful(installation: Installation, *, taken_back: bool) -> int:
    """Return how many laws changes break by themselves, or against the one before."""
    findings, now_ms = Findings(), int(time.time() * 1000)
    records: dict[int, list[Raw]] = {}
    for partition, offset, key, value in committed_records(installation.settings.kafka, installation.names.changes):
        if key is not None and value is not None:
            records.setdefault(partition, []).append(Raw(key, value, now_ms, offset))
    for of_partition in records.values():
        chains = Chains(FLAT, findings, now_ms)
        chains.slack_tenths = int(taken_back)
        chains.feed(of_partition)
    return sum(verdict.broken for verdict in findings.verdicts)
