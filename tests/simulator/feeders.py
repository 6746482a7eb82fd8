"""An ingest process: the real one's batches, driven step by step instead of by its own loop."""

from typing import Any, Final

from confluent_kafka import KafkaException, TopicPartition

from streams import feed_position
from streams.ingest import Ingest, Work
from tests.simulator.clients import Consumer, Producer
from tests.simulator.log import Log, Place
from tests.simulator.process import Process
from tests.simulator.workers import WrongError

_FETCH_RECORDS_MAX: Final = 50
_ASKS: Final = 1 / 3
"""How often the broker is asked, of batches."""


class Feeder:
    """One process of the ingest role."""

    def __init__(self, process: Process, log: Log, ingest: Ingest) -> None:
        self.process, self.log, self.ingest = process, log, ingest
        self.trouble = ""
        self.asks = _ASKS
        """How often it asks where raw partitions end."""
        self.garbage = False
        """The next batch writes a record into a lane that nobody can read."""
        self.forget_everything()

    def forget_everything(self) -> None:
        """Have the memory of a process that just started."""
        self.consumer: Consumer | None = None
        self.pending: Work | None = None
        self.ingest.feeds = {}

    @property
    def generation(self) -> int:
        """Of the group, as this process has heard; -1 without a session."""
        return -1 if self.consumer is None else self.consumer.generation

    def hear(self, generation: int, mine: list[Place]) -> None:
        """Read on from the group's positions."""
        ingest: Any = self.ingest
        names = ingest.names
        try:
            if self.consumer is None:
                ingest._producer = ingest.connect.producer(
                    ingest.kafka,
                    {
                        "transactional.id": names.ingest_transactional_id(ingest.slot),
                        "transaction.timeout.ms": ingest.settings.transaction_timeout_seconds * 1000,
                    },
                )
                ingest._producer.init_transactions()
                ingest.freezes.open()
                options = {"group.id": names.ingest_group, "enable.partition.eof": True}
                self.consumer = ingest.connect.consumer(ingest.kafka, options)
            ingest._lost(self.consumer, [TopicPartition(*place) for place in ingest.feeds])
            self.consumer.generation = generation
            ingest._assigned(self.consumer, [TopicPartition(*place) for place in mine])
        except KafkaException:
            self.forget_everything()

    def step(self) -> None:
        """Prepare a batch while the one before is written."""
        if self.consumer is None:
            return
        ingest: Any = self.ingest
        consumer: Any = self.consumer
        try:
            messages = self.consumer.consume(_FETCH_RECORDS_MAX)
            # As in the loop of ingest: after the fetch, of which nothing may be taken that is frozen by then.
            if ingest.freezes.poll():
                ingest._freeze(consumer)
            frozen = self._frozen()
            work = ingest._prepare(messages, consumer)
            if self._frozen() != frozen:
                raise WrongError(f"frozen raw partitions were read, from {frozen} to {self._frozen()}")
        except KafkaException:
            self.forget_everything()
            return
        if work is not None and self.garbage:
            self._spoil(work)
        if self.finish():
            self.pending = work
            if self.log.random.random() < self.asks:
                self.ask()

    def ask(self) -> None:
        """Ask where quiet raw partitions end; an answer is noted when it is asked again."""
        ingest, uncommitted = self.ingest, self.pending.told if self.pending is not None else ()
        ingest.ends.look(ingest.feeds, uncommitted, self.log.now_ms / 1000)

    def _frozen(self) -> dict[Place, int]:
        """Return where the raw partitions stand of which nothing may be read."""
        frozen = self.ingest.freezes.frozen
        return {at: feed.position for at, feed in self.ingest.feeds.items() if feed.network in frozen}

    def has_told(self) -> bool:
        """Return whether it has told of every raw partition, lastly that it is read."""
        feeds = [feed for feed in self.ingest.feeds.values() if feed.network != feed_position.CONTROL]
        return self.pending is None and all(feed.reported and not feed.reported.frozen for feed in feeds)

    def finish(self) -> bool:
        """Write the batch in hand; return False when its session is over."""
        work, self.pending = self.pending, None
        if work is None:
            return True
        ingest: Any = self.ingest
        producer: Producer = ingest._producer
        producer.trouble, self.trouble = self.trouble, ""
        try:
            ingest._write(work)
        except (KafkaException, BufferError):
            self.forget_everything()
            return False
        return True

    def _spoil(self, work: Work) -> None:
        """Add a record that nobody can read, in its place in the sequence of a feed."""
        self.garbage = False
        ingest: Any = self.ingest
        at = self.log.random.randrange(len(work.offsets))
        moved = work.offsets[at]
        feed = ingest.feeds[moved.topic, moved.partition]
        lane = self.log.random.randrange(ingest.lane_partitions)
        key = ingest._next_key(feed.network, moved.partition, feed, lane)
        work.lane.append((lane, key, b"garbage"))
        metadata = feed_position.encode(feed.state)
        work.offsets[at] = TopicPartition(moved.topic, moved.partition, moved.offset, metadata)
