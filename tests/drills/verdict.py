"""Compares what an installation came to with what the reference expects, and follows every user's chain of changes."""

import math
import time
from dataclasses import dataclass, field
from typing import Final

import msgspec
from confluent_kafka import TopicPartition

from schemas.export import UserState
from schemas.times import parse_ms
from scorer.reference import Sums
from streams import clients
from streams.progress import Conservation
from streams.settings import KafkaSettings
from tests.drills.expectation import Expectation, at
from tests.drills.traffic import NETWORK
from tests.roles import Installation

TOLERANCE: Final = 1e-9
"""Of the largest value that a sum had."""
TICKS_SECONDS_MAX: Final = 20.0
"""Within these every clock has come to the last event."""
SUMS: Final = "reach", "amplification", "network"
OUTCOMES: Final = (("applied", "self", "withheld"), ("duplicate",), ("retracted", "repeated"))
"""Counts that follow from the traffic: within a group, batches decide (an event may meet its retraction in one)."""


class _Link(msgspec.Struct):
    """What a chain is made of."""

    user: str
    sequence: int
    score: float | None
    previous: float | None


@dataclass(slots=True)
class Verdict:
    """Users who are wrong, with what is wrong of them; and counts that are."""

    users: int = 0
    changes: int = 0
    wrong: dict[str, str] = field(default_factory=dict)
    outcomes: list[str] = field(default_factory=list)


def judge(installation: Installation, expectation: Expectation, sums: Conservation) -> Verdict:
    """Look at everything that a `read_committed` reader sees."""
    verdict = Verdict()
    users = installation.users()
    verdict.users = len(expectation.sums)
    last = _follow_chains(installation.settings.kafka, installation.names.changes, verdict)
    ends = _ends(users)
    deadline = time.monotonic() + TICKS_SECONDS_MAX
    while last != ends and not verdict.wrong and time.monotonic() < deadline:
        # The last ticks come after the last events, and decay with them.
        time.sleep(1.0)
        users = installation.users()
        ends = _ends(users)
        last = _follow_chains(installation.settings.kafka, installation.names.changes, verdict)
    for user in users.keys() | expectation.sums.keys():
        problem = _wrong_sums(users.get(user), expectation.sums.get(user), expectation.retractions[user])
        if problem:
            verdict.wrong[user] = problem
    for user in last.keys() | ends.keys():
        if last.get(user) != ends.get(user):
            verdict.wrong[user] = f"the changes end with {last.get(user)}, the export says {ends.get(user)}"
    found = sums.as_dict()
    for group in OUTCOMES:
        have, should = sum(int(found[name]) for name in group), sum(expectation.outcomes[name] for name in group)
        if have != should:
            verdict.outcomes.append(f"{' + '.join(group)}: {have:,} events, not {should:,}")
    return verdict


def _ends(users: dict[str, UserState]) -> dict[str, tuple[int, float | None]]:
    return {user: (state.sequence, state.score) for user, state in users.items() if state.sequence}


def _wrong_sums(state: UserState | None, should: Sums | None, retractions: int) -> str:
    found = state.networks.get(NETWORK) if state is not None else None
    if should is None:
        if found is not None or (state is not None and state.score is not None):
            return "has a score, and nobody's interactions are left"
        return ""
    if found is None:
        return "is missing"
    if found.events != should.events:
        return f"{found.events} events, not {should.events}"
    # An event that met its retraction in one batch may never have come this far: the moments can differ.
    since = parse_ms(found.time)
    time = max(since, should.time)
    have = at(Sums(found.reach, found.amplification, found.network, since, found.events), time)
    should = at(should, time)
    for name in SUMS:
        # A grant is at most 1, so this is at least the largest value that the sum had.
        largest = getattr(should, name) + retractions
        if not math.isclose(getattr(have, name), getattr(should, name), rel_tol=0, abs_tol=TOLERANCE * largest):
            return f"{name} is {getattr(have, name)!r}, not {getattr(should, name)!r}"
    return ""


def _follow_chains(kafka: KafkaSettings, topic: str, verdict: Verdict) -> dict[str, tuple[int, float | None]]:
    """Return every user's last sequence and score; note who has a gap, a repeat or a wrong `previous`."""
    decode = msgspec.json.Decoder(_Link).decode
    last: dict[str, tuple[int, float | None]] = {}
    consumer = clients.consumer(kafka, {"group.id": "verdict", "enable.partition.eof": True})
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
    unread, verdict.changes = set(partitions), 0
    while unread:
        for message in consumer.consume(10_000, 0.5):
            value = message.value()
            if message.error() is not None:
                unread.discard(message.partition() or 0)
            elif value is not None:
                link = decode(value)
                sequence, score = last.get(link.user, (0, None))
                if (link.sequence, link.previous) != (sequence + 1, score):
                    verdict.wrong[link.user] = f"change {link.sequence} follows {sequence}, or a score is not {score}"
                last[link.user] = link.sequence, link.score
                verdict.changes += 1
    consumer.close()
    return last
