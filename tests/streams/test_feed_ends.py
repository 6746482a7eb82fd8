"""Quiet raw partitions follow the others, and no clock passes what lies unread in one, whoever hangs and whenever.

What hangs, dies and comes late is chosen at random; Kafka is a list here, so that every order of things can happen.
"""

from collections.abc import Mapping
from concurrent.futures import Future
from random import Random
from types import SimpleNamespace
from typing import Any, Final, NamedTuple

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from streams.clocks import Inputs, advanced
from streams.feed import Feed
from streams.feed_ends import FeedEnds
from streams.feed_position import COUNTERS, FeedPosition
from streams.settings import NetworkSettings
from streams.ticks import Tick

RAW_PARTITIONS: Final = 3
TOPIC: Final = "interactions.quiet.v1"
IDLE_SECONDS: Final = 2
SETTINGS: Final = NetworkSettings(raw_partitions=RAW_PARTITIONS, idle_after_seconds=IDLE_SECONDS)
INTERVAL_SECONDS: Final = 0.1


class Event(NamedTuple):
    order: int
    """Of all raw partitions' events, as they came."""
    time_ms: int
    arrival_ms: int


class Process:
    """Whoever reads a raw partition."""

    def __init__(self, number: int, feed: Feed, admin: "Admin") -> None:
        self.at = TOPIC, number
        self.feeds = {self.at: feed}
        self.ends = FeedEnds(admin, {"quiet": SETTINGS}, INTERVAL_SECONDS)  # type: ignore[arg-type]
        self.admin = admin
        self.hanging: set[str] = set()
        """What of its work waits, of `STEPS`."""
        self.uncommitted: Tick | None = None

    @property
    def feed(self) -> Feed:
        return self.feeds[self.at]

    def look(self, now: float) -> None:
        self.ends.look(self.feeds, {self.at} if self.uncommitted else set(), now)


STEPS: Final = ("read", "tell", "commit", "look", "answer")
"""What a process does, round after round."""


class Admin:
    """Knows the ends as they are when it is asked, and answers later, or not at all."""

    def __init__(self, logs: list[list[Event]]) -> None:
        self.logs = logs
        self.asked: list[tuple[Future[Any], int]] = []

    def list_offsets(self, asked: Mapping[TopicPartition, object], **_: object) -> dict[TopicPartition, Future[Any]]:
        answers = {}
        for place in asked:
            answers[place] = Future[Any]()
            self.asked.append((answers[place], len(self.logs[place.partition])))
        return answers

    def answer(self, *, well: bool = True) -> None:
        for future, end in self.asked:
            if well:
                future.set_result(SimpleNamespace(offset=end))
            else:
                future.set_exception(KafkaException(KafkaError(KafkaError._TIMED_OUT)))
        self.asked.clear()


class World:
    """Raw partitions, who reads them, and a task that hears of them."""

    def __init__(self, random: Random) -> None:
        self.now_ms = 1_000_000
        self.logs: list[list[Event]] = [[] for _ in range(RAW_PARTITIONS)]
        self.came: list[Event] = []
        self.random = random
        self.committed = [(0, 0, 0, 0)] * RAW_PARTITIONS
        self.processes = [self.process(number) for number in range(RAW_PARTITIONS)]
        self.inputs = Inputs()

    def process(self, number: int) -> Process:
        position, time_ms, arrival_ms, events = self.committed[number]
        counters = dict.fromkeys(COUNTERS, 0) | {"read": events}
        state = FeedPosition([0], counters, time_ms=time_ms, arrival_ms=arrival_ms)
        return Process(number, Feed("quiet", position, state, RAW_PARTITIONS), Admin(self.logs))

    def act(self, what: str, number: int) -> None:
        process = self.processes[number]
        if what == "come":
            event = Event(len(self.came), self.now_ms - number, self.now_ms)
            self.came.append(event)
            self.logs[number].append(event)
        elif what == "pass":
            self.now_ms += 100 * (1 + number * 4)
        elif what == "hang":
            process.hanging |= set(self.random.choices(STEPS, k=self.random.choice((1, 1, len(STEPS)))))
        elif what == "go on":
            process.hanging.clear()
        elif what == "take over":
            self.processes[number] = self.process(number)
        elif what not in process.hanging:
            getattr(self, what)(number)

    def read(self, number: int) -> None:
        feed, log = self.processes[number].feed, self.logs[number]
        # A fetch brings all there is, or a part of it.
        end = self.random.choice((len(log), self.random.randint(feed.position, len(log))))
        for event in log[feed.position : end]:
            feed.state.time_ms = max(feed.state.time_ms, event.time_ms)
            feed.state.arrival_ms = event.arrival_ms
            feed.state.counters["read"] += 1
        feed.position, feed.at_end = end, end == len(log)

    def tell(self, number: int) -> None:
        process = self.processes[number]
        if process.uncommitted is None:
            process.uncommitted = process.feed.news(number, self.now_ms / 1000, INTERVAL_SECONDS)

    def commit(self, number: int) -> None:
        process = self.processes[number]
        tick, process.uncommitted = process.uncommitted, None
        if tick is None:
            return
        feed = process.feed
        self.committed[number] = feed.position, feed.state.time_ms, feed.state.arrival_ms, feed.state.counters["read"]
        self.inputs.hear(tick, SETTINGS)
        self.inputs.clock_ms = advanced(self.inputs, SETTINGS)
        self.check()

    def look(self, number: int) -> None:
        self.processes[number].look(self.now_ms / 1000)

    def answer(self, number: int) -> None:
        self.processes[number].admin.answer(well=self.random.random() < 4 / 5)

    def check(self) -> None:
        """What the clock has passed unread came after something that was as new as the clock."""
        clock_ms = self.inputs.clock_ms or 0
        for log, (position, *_) in zip(self.logs, self.committed, strict=True):
            for event in log[position:]:
                newest_ms = max((of.time_ms for of in self.came[: event.order]), default=0)
                assert clock_ms <= max(event.time_ms, newest_ms)

    def settle(self) -> None:
        """Everybody works, and nothing comes any more."""
        for number in range(RAW_PARTITIONS):
            self.act("take over", number)
        for _ in range(20):
            self.act("pass", 1)
            self.work()

    def work(self) -> None:
        """Everybody does a round, as far as nothing hangs."""
        for what in STEPS:
            for number in range(RAW_PARTITIONS):
                self.act(what, number)


WHAT: Final = {
    "come": 9,
    "pass": 8,
    "work": 6,
    **dict.fromkeys((*STEPS, "hang", "go on"), 2),
    "take over": 1,
}
"""How often each thing happens."""
BUSY: Final = (20, 2, 1)
"""How much comes to each raw partition."""


@pytest.mark.parametrize("seeds", [range(first, first + 50) for first in range(0, 300, 50)])
def test_no_clock_passes_what_lies_unread_and_everybody_follows_in_the_end(seeds: range) -> None:
    for seed in seeds:
        live_through(seed)


def live_through(seed: int) -> None:
    random = Random(seed)
    world = World(random)
    for what in random.choices(list(WHAT), list(WHAT.values()), k=500):
        if what == "work":
            world.work()
        elif what == "come":
            world.act(what, *random.choices(range(RAW_PARTITIONS), BUSY))
        else:
            world.act(what, random.randrange(RAW_PARTITIONS))
    world.settle()
    newest_ms = max((event.arrival_ms for event in world.came), default=0)
    waited_for = [
        max(event.time_ms for event in log)
        for log in world.logs
        if log and log[-1].arrival_ms > newest_ms - IDLE_SECONDS * 1000
    ]
    assert world.inputs.clock_ms == (max(min(waited_for), world.inputs.clock_ms or 0) if waited_for else None)
