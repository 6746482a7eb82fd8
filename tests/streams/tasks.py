"""A partition task driven by hand: its records read from the lanes by a plain consumer, no Faust."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from confluent_kafka import KafkaException, TopicPartition
from rocksdict import Cache

from schemas.change import ScoreChange
from schemas.packed import COMMANDS, Record, Stamp, encode, encode_key
from scorer.model import Model
from scorer.reference import Event
from streams import changelog, clients, topics
from streams.decoders import decoder
from streams.ingest_batch import Raw, prepare
from streams.intake import Verdict
from streams.metrics import WorkerMetrics
from streams.names import Names
from streams.opening import Shared
from streams.retract_position import SOURCE as RETRACT_SOURCE
from streams.retract_position import Span
from streams.retracting import choose
from streams.settings import KafkaSettings, LaneSettings, NetworkSettings, WorkerSettings
from streams.task import Task
from streams.task_state import ACTORS, TARGETS
from streams.ticks import Tick, release_value, tick_value
from tests.checks import changes_of

SOURCE: Final = "twitter/0"
CONTROL_SOURCE: Final = "@control/0"
_generations = itertools.count(1)


def some_events(count: int, *, users: int = 30, seed: int = 1) -> list[Event]:
    """Interactions among few users, so that pairs repeat and scores matter; none acts on itself."""
    random = np.random.default_rng(seed)
    kinds = ("share", "reply", "mention", "follow", "reaction", "quote")
    events = []
    for number in range(count):
        actor, other = random.choice(users, 2, replace=False).tolist()
        time = 1_340_000_000_000 + number * 3_600_000
        kind = kinds[int(random.integers(len(kinds)))]
        events.append(Event("twitter", f"e{number}", kind, f"t:{actor}", f"t:{other}", time))
    return events


def raw_of(events: Sequence[Event], *, retract: bool = False) -> Raw:
    """Events, or retractions of them, as they lie in the raw topic."""
    names = ("id", "kind", "actor", "target", "time")
    changed = {"kind": "retract"} if retract else {}
    values: list[bytes | None] = [
        msgspec.json.encode({name: getattr(event, name) for name in names} | changed) for event in events
    ]
    zeros = np.zeros(len(values), np.int64)
    return Raw("interactions.twitter.v1", values, None, zeros, np.arange(len(values)), zeros + 1_800_000_000_000)


def lane_values(
    events: Sequence[Event], lane_partitions: int, rows_max: int = 4_000, *, retract: bool = False
) -> list[tuple[int, bytes]]:
    """Lane partition and value of the packed records that ingest makes of these events, or of their retractions."""
    prepared = prepare(raw_of(events, retract=retract), "twitter", decoder("native"), lane_partitions, rows_max)
    assert not prepared.letters
    return [(record.lane_partition, record.value) for record in prepared.lane]


class Lanes:
    """The topics of one installation, and a hand that writes to its actors lane."""

    def __init__(self, kafka: KafkaSettings, partitions: int = 1) -> None:
        self.kafka = kafka
        self.partitions = partitions
        self.network = NetworkSettings()
        """Settings of twitter, as tasks have them."""
        self.names = Names(kafka.prefix, "1")
        specs = topics.specification(self.names, LaneSettings(partitions=partitions), {"twitter": NetworkSettings()})
        self.specs = {spec.name: spec for spec in specs}
        topics.create(kafka, specs)
        self._sent = [0] * partitions
        self._commands = 0
        self._taken_back = [0] * partitions

    def command(self, code: int, user: str) -> None:
        """Write a command to every partition of the actors lane, as ingest does."""
        self._commands += 1
        columns: dict[str, Any] = {
            "target": np.zeros(1, np.uint16),
            "label": np.zeros(1, np.uint16),
            "command": np.full(1, code, np.uint8),
            "time": np.zeros(1, np.int64),
            "epoch": np.full(1, self._commands, np.uint64),
        }
        value = encode(Record(COMMANDS, 1, [], [f"command {self._commands}"], [], [user.encode()], columns))
        producer = clients.producer(self.kafka)
        for partition in range(self.partitions):
            key = encode_key(Stamp(CONTROL_SOURCE, self._commands))
            producer.produce(self.names.actors_lane, value, key, partition=partition)
        assert producer.flush(10) == 0

    def release(self, source: str) -> None:
        """Write the release of a collector of twitter to every partition of the actors lane, as ingest does."""
        self._commands += 1
        producer = clients.producer(self.kafka)
        for partition in range(self.partitions):
            key = encode_key(Stamp(CONTROL_SOURCE, self._commands))
            producer.produce(self.names.actors_lane, release_value("twitter", source), key, partition=partition)
        assert producer.flush(10) == 0

    def tick(self, *ticks: Tick) -> None:
        """Write ticks to every partition of the actors lane, as ingest does."""
        producer = clients.producer(self.kafka)
        for tick in ticks:
            for partition in range(self.partitions):
                self._sent[partition] += 1
                key = encode_key(Stamp(SOURCE, self._sent[partition]))
                producer.produce(self.names.actors_lane, tick_value(tick), key, partition=partition)
        assert producer.flush(10) == 0

    def last_change(self, user: str) -> ScoreChange:
        """Return the last change of a user."""
        return changes_of(self.kafka, self.names.changes)[user][-1]

    def send(self, events: Sequence[Event], rows_max: int = 4_000, *, retract: bool = False) -> None:
        """Write interactions, or retractions of them, as ingest does."""
        producer = clients.producer(self.kafka)
        for partition, value in lane_values(events, self.partitions, rows_max, retract=retract):
            self._sent[partition] += 1
            key = encode_key(Stamp(SOURCE, self._sent[partition]))
            producer.produce(self.names.actors_lane, value, key, partition=partition)
        assert producer.flush(10) == 0

    def take_back(self, events: Sequence[Event], incident: str) -> None:
        """Write what an operator takes back, as `clout retract` does."""
        span = Span(network="twitter", source="", since_ms=0, until_ms=2**42, incident=incident)
        producer = clients.producer(self.kafka)
        for partition, value in choose(raw_of(events), span, 1, decoder("native"), self.partitions).records:
            self._taken_back[partition] += 1
            key = encode_key(Stamp(RETRACT_SOURCE, self._taken_back[partition]))
            producer.produce(self.names.actors_lane, value, key, partition=partition)
        assert producer.flush(10) == 0

    def remake(self, topic: str) -> None:
        """Delete a topic and create it again."""
        admin = clients.admin(self.kafka)
        for future in admin.delete_topics([topic]).values():
            future.result(10)
        while topic in admin.list_topics(timeout=10).topics:
            pass
        topics.make(admin, [self.specs[topic]], 1)

    def shared(
        self,
        directory: Path,
        *,
        clock: Callable[[], float] | None = None,
        model: Model | None = None,
        reasons_share: float = 0.0,
    ) -> Shared:
        """What tasks over the files in `directory` share."""
        shared = Shared(
            kafka=self.kafka,
            names=self.names,
            networks={"twitter": self.network},
            model=model or Model(),
            settings=WorkerSettings(reasons_share=reasons_share),
            partitions=self.partitions,
            directory=directory,
            cache=Cache(1 << 20),
            metrics=WorkerMetrics(["twitter"], self.partitions),
            hash_key=b"the tests' own",
        )
        return replace(shared, clock=clock) if clock is not None else shared

    @contextmanager
    def task(self, directory: Path, partition: int = 0, **shared: Any) -> Iterator[Task]:
        """An opened task, closed afterwards."""
        task = Task(partition, self.shared(directory, **shared))
        try:
            while True:
                # A young broker has no group coordinator yet; a worker tries again too.
                with suppress(KafkaException):
                    task.open()
                    break
            yield task
        finally:
            task.close()

    def offer(self, task: Task) -> int:
        """Offer the task everything committed that lies beyond its positions; return how many records."""
        generation = next(_generations)
        task.intake.open(task.state, generation)
        return self.offer_as(task, generation)

    def offer_as(self, task: Task, generation: int) -> int:
        """Offer them as records of a generation in which the task's intake is open."""
        lane_of = {self.names.actors_lane: ACTORS, self.names.targets_lane: TARGETS}
        options = {"group.id": "by-hand", "enable.partition.eof": True, "fetch.wait.max.ms": 10}
        reader = clients.consumer(self.kafka, options)
        places = [TopicPartition(t, task.partition, task.state.positions[lane] + 1) for t, lane in lane_of.items()]
        reader.assign(places)
        ended, count = 0, 0
        while ended < len(places):
            for message in reader.consume(1, 10):
                if message.error() is not None:
                    ended += 1
                    continue
                lane, offset, value = lane_of[message.topic() or ""], message.offset(), message.value()
                assert offset is not None
                assert value is not None
                verdict = task.intake.offer(lane, offset, generation, (message.key(), value), None)
                assert verdict is Verdict.ACCEPTED
                count += 1
        reader.close()
        return count

    def work(self, *tasks: Task, rows_max: int = 50_000) -> None:
        """Let tasks work until they have taken in all that was sent to their lanes."""
        while not all(self._done(task, tasks) for task in tasks):
            for task in tasks:
                self.offer(task)
                while batch := task.intake.take(task.state, task.source, rows_max=rows_max, own_in_flight_max=256):
                    task.commit(batch)
                self.let_due(task)
        self.settle(self.names.changes)

    def work_alone(self, task: Task) -> None:
        """Let one task take in what has come to it, whatever others have not done yet."""
        self.offer(task)
        while batch := task.intake.take(task.state, task.source, rows_max=50_000, own_in_flight_max=256):
            task.commit(batch)
        self.let_due(task)

    def let_due(self, task: Task) -> None:
        """Look at all users whose time has come."""
        while task.has_due:
            task.commit([])

    def _done(self, task: Task, tasks: Sequence[Task]) -> bool:
        # A commit returns before readers see it, so an empty lane alone says nothing.
        seen, partition = task.state.seen, task.partition
        actors = tuple(seen[ACTORS].get(source, 0) for source in (SOURCE, CONTROL_SOURCE, RETRACT_SOURCE))
        return actors == (self._sent[partition], self._commands, self._taken_back[partition]) and all(
            seen[TARGETS].get(other.source, 0) == other.state.sent.get(partition, 0) for other in tasks
        )

    def settle(self, topic: str) -> None:
        """Return when readers of committed records see all of a topic."""
        for partition in range(self.specs[topic].partitions):
            of = self.kafka, topic, partition
            while changelog.watermarks(*of) != changelog.watermarks(*of, committed=False):
                pass
