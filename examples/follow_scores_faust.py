"""Keeps a correct copy of all scores with a Faust agent; the positions are in the copy, not in the consumer group.

    python examples/follow_scores_faust.py localhost:9092 scores.changes.v1 scores.db

What Faust does otherwise than a copy needs, and what is done about it:

- It reads uncommitted records unless its own exactly-once mode is on: the consumer's thread is subclassed.
- It goes on from the group's offsets: after each rebalance this seeks to the copy's positions.
- Records of before a rebalance can still be under way after it, and would be taken before those that lie between:
  only those of the present generation are taken, from the seek on.
- A Table would keep its state in a changelog of its own, apart from anything else: the copy is no Table, and the
  store that Faust insists on is in memory.

`score_copy.py` is the copy; docs/consuming.md says what is promised.
"""

import tempfile
from collections.abc import Iterable
from typing import Any, Final, cast

import faust
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from follow_scores import arguments, now_ms, open_copy
from score_copy import Copy, Record

RECORDS_MAX: Final = 1_000
WAIT_SECONDS: Final = 0.1
SESSION_SECONDS: Final = 6.0
"""A reader that was killed holds its partitions so long; the next one waits for them."""
_CLOSED: Final = -1


class Intake:
    """The records that wait to be taken in: none is taken twice, and none before those that lie before it."""

    def __init__(self, copy: Copy) -> None:
        """Take nothing yet."""
        self.copy = copy
        self.waiting: list[Record] = []
        self.revocations = 0
        self._generation = _CLOSED
        self._next: dict[int, int] = {}

    def open(self, generation: int) -> None:
        """Take records of this generation: the consumer stands at the copy's positions."""
        self.waiting.clear()
        self._next = dict(self.copy.positions)
        self._generation = generation

    def close(self) -> None:
        """Take nothing more and drop what waits: it is read again by whoever has the partition next."""
        self.revocations += 1
        self._generation = _CLOSED
        self.waiting.clear()

    def offer(self, record: Record, generation: int) -> None:
        """Let a record wait, if it is its turn."""
        if generation == self._generation and record.offset >= self._next.get(record.partition, 0):
            self._next[record.partition] = record.offset + 1
            self.waiting.append(record)
            if len(self.waiting) >= RECORDS_MAX:
                self.write()

    def write(self) -> None:
        """Write what waits to the copy."""
        records, self.waiting = self.waiting, []
        for line in self.copy.take(records, now_ms()) if records else ():
            print(line, flush=True)


class ReadCommittedThread(driver.AIOKafkaConsumerThread):
    """The thread in which Faust's consumer lives."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"  # noqa: SLF001 - no setting reaches it
        return consumer


class Follower(driver.Consumer):
    """Faust's consumer, which goes on where the copy is."""

    def _new_consumer_thread(self) -> Any:
        return ReadCommittedThread(self, loop=self.loop, beacon=self.beacon)

    async def perform_seek(self) -> None:
        """Seek to the copy's positions, and only then let records in."""
        intake: Intake = cast("App", self.app).intake
        begun = intake.revocations
        await super().perform_seek()
        await self.seek_wait({tp: intake.copy.positions.get(tp.partition, 0) for tp in self.assignment()})
        if intake.revocations == begun:  # a seek can outlast the assignment that it was made for
            intake.open(self.app.consumer_generation_id)


class Transport(driver.Transport):
    """Faust's transport with that consumer."""

    Consumer = Follower


class App(faust.App):
    """A Faust app with that transport and an intake."""

    intake: Intake

    def _new_transport(self) -> Any:
        return Transport(self.conf.broker_consumer, self, loop=self.loop)


def make_app(broker: str, topic: str, copy: Copy, directory: str) -> App:
    """Return the app that follows a topic."""
    app = App(
        f"follow-{topic}",
        broker=f"kafka://{broker}",
        store="memory://",
        datadir=directory,
        topic_allow_declare=False,  # the topic is not ours to make
        topic_disable_leader=True,
        web_enabled=False,
        consumer_auto_offset_reset="earliest",
        broker_session_timeout=SESSION_SECONDS,
        broker_heartbeat_interval=1.0,
        stream_wait_empty=False,  # else a rebalance waits until all that is under way is acknowledged
        stream_recovery_delay=0.0,
    )
    app.intake = intake = Intake(copy)
    changes = app.topic(topic, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")

    @app.agent(changes, name="follow", concurrency=1)
    async def follow(stream: Any) -> None:
        async for event in stream.events():
            of = event.message
            record = Record(of.partition, of.offset, int(of.timestamp * 1000), of.key, of.value)
            intake.offer(record, of.generation_id)

    async def write() -> None:
        intake.write()

    async def revoked(_app: Any, _revoked: Iterable[TP], **_: Any) -> None:
        intake.close()

    app.timer(WAIT_SECONDS)(write)
    app.on_partitions_revoked.connect(cast("Any", revoked), weak=False)
    return app


def main() -> None:
    """Follow until SIGTERM or Ctrl-C."""
    asked = arguments()
    copy = open_copy(asked.copy, asked.broker, asked.topic, rebuild=asked.rebuild)
    with tempfile.TemporaryDirectory(prefix="follow-scores-") as directory:
        app = make_app(asked.broker, asked.topic, copy, directory)
        worker = faust.Worker(app, loglevel="warning", quiet=True, redirect_stdouts=False)
        worker.spinner = None
        worker.execute_from_commandline()


if __name__ == "__main__":
    main()
