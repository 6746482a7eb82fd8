"""Takes the events of a bad feed back: reads the raw topic again and writes what the tasks are to take back.

What is written, how far the raw partitions were read and how many events that were is one Kafka transaction, so it goes
on exactly where it ended, however it ended. The transactional id is the same for everyone who takes back: who begins
fences whoever is at it.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from shlex import quote
from typing import Any, Final

import numpy as np
from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition

from clout.config import Settings
from clout.whole_topic import Extent, extents, reading, record_batches
from schemas.packed import Stamp, encode_key
from schemas.times import format_ms
from streams import clients
from streams.decoders import decoder
from streams.errors import CloutError
from streams.ingest_batch import Raw
from streams.progress import RUNNING
from streams.progress_reader import ProgressReader, tasks_by_partition
from streams.retract_position import SOURCE, RetractPosition, Span, encode
from streams.retracting import Chosen, choose
from streams.status import TaskStatus
from streams.task_state import ACTORS

TRANSACTION_BYTES_MAX: Final = 4 << 20
"""Raw bytes read for one transaction."""
TRANSACTION_RECORDS_MAX: Final = 10_000
READ_RECORDS: Final = 2_000
IN_FLIGHT_RECORDS_MAX: Final = 4
"""Records of a lane partition that its task has not taken in yet, beyond which nothing more is written."""
TRANSACTION_TIMEOUT_MS: Final = 15_000
REQUEST_SECONDS: Final = 30.0
COMMIT_RETRIES_MAX: Final = 3
NAP_SECONDS: Final = 0.05
STALLED_SECONDS_MAX: Final = 60.0
"""Longest wait for a task that takes nothing in."""

Say = Callable[[str], None]
Tasks = Mapping[int, TaskStatus]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the events of an order."""

    span: Span
    counters: Mapping[str, int]
    """What lay in the span, by `streams.retract_position.COUNTERS`."""
    ordered: Mapping[str, int]
    """What became of those to take back, by `streams.task_state.ORDER_COUNTERS`."""

    @property
    def set_aside(self) -> int:
        """Return how many are in lane records that could not be taken in."""
        return self.counters["chosen"] - sum(self.ordered.values())


def check_unfinished(position: RetractPosition, span: Span) -> bool:
    """Return whether this very order was begun and not ended; raise `CloutError` when another one was."""
    other = position.unfinished
    if other is not None and other != span:
        raise CloutError(
            "another order to take events back was not carried out to its end",
            detail=f"number {position.epoch} of the control topic: {in_words(other)}; "
            f"{position.counters['chosen']:,} events were written until now",
            hint="give it again and it goes on, or give --instead to leave it at that and begin this one",
        )
    return other is not None


def in_words(span: Span) -> str:
    """Write an order as it is given.

    >>> in_words(Span(network="twitter", source="west", since_ms=0, until_ms=1_000, incident="INC-7"))
    '--network twitter --from 1970-01-01T00:00:00.000Z --to 1970-01-01T00:00:01.000Z --source west --reason INC-7'
    """
    source = f" --source {quote(span.source)}" if span.source else ""
    moments = f"--from {format_ms(span.since_ms)} --to {format_ms(span.until_ms)}"
    return f"--network {span.network} {moments}{source} --reason {quote(span.incident)}"


def check_reach(tasks: Tasks, span: Span) -> str:
    """Say what of the span the ledgers hold no more, empty when they hold all; raise `CloutError` when it is all."""
    begins = [task.ledger.begins_ms for task in tasks.values()]
    if begins and all(begin is not None and begin >= span.until_ms for begin in begins):
        oldest = format_ms(min(begin for begin in begins if begin is not None))
        raise CloutError(
            "nothing of that can be taken back any more: it came before all that the ledger holds",
            detail=f"the ledger begins with what arrived at {oldest}",
            hint="worker.ledger_window_seconds and worker.ledger_rows_max say how far it reaches, for the next time",
        )
    newest = max((begin for begin in begins if begin is not None), default=0)
    if newest <= span.since_ms:
        return ""
    return f"the ledger begins with what arrived at {format_ms(newest)}: what came before will not all be found"


class Retracting:
    """One run of the command: from finding out where an order stands to what became of it."""

    def __init__(self, settings: Settings, reader: ProgressReader, span: Span, say: Say) -> None:
        """Prepare; nothing is read or written yet."""
        self._settings, self._names = settings, settings.names
        self._reader, self._span, self._say = reader, span, say
        self._topic = self._names.interactions(span.network)
        self._decoder = decoder(settings.networks[span.network].format)
        self._partitions = settings.lanes.partitions
        self._workers = reader.workers()
        self._position = RetractPosition(sent=[])
        self._moved = time.monotonic()

    def tasks(self) -> Tasks:
        """Ask the workers, and look for them anew where some do not answer."""
        tasks = tasks_by_partition(self._reader.worker_statuses(self._workers))
        if len(tasks) < self._partitions:
            self._workers = self._reader.workers()
            tasks = tasks_by_partition(self._reader.worker_statuses(self._workers))
        return tasks

    def run(self, order: Callable[[], int], *, instead: bool, timeout_seconds: float) -> Outcome:
        """Take back what the span says; `order` gives the order and returns its number, unless it was given before.

        Raise `CloutError` where it cannot go on; the same order then goes on where this one ended.
        """
        if not instead:
            check_unfinished(self._reader.taking_back(settled=False), self._span)
        with reading(self._settings.kafka, self._names.retract_id) as consumer:
            ends = self._ends(consumer)
            self._wait_for_ingest(ends, timeout_seconds)
            producer = self._fenced()
            self._position = self._reader.taking_back()
            if instead or not check_unfinished(self._position, self._span):
                self._begin(consumer, producer, ends, order())
            for extent in self._left(consumer, ends):
                for messages in _batches(record_batches(consumer, extent, READ_RECORDS)):
                    self._wait_for_room()
                    self._write(consumer, producer, extent, messages)
                self._commit(consumer, producer, [], {extent.partition: extent.end})
            ordered = self._wait_for_tasks(timeout_seconds)
            self._position.done = True
            self._commit(consumer, producer, [], {})
        return Outcome(self._span, self._position.counters, ordered)

    # Where it begins and ends -------------------------------------------------------------------------------------

    def _ends(self, consumer: Consumer) -> list[Extent]:
        """Return where the span lies in each raw partition; for Kafka arrival times are the records' own."""
        held = list(extents(self._settings.kafka, self._names.retract_id, [self._topic]))
        since, until = (_offsets(consumer, held, time_ms) for time_ms in (self._span.since_ms, self._span.until_ms))
        if any(of.begin and since[of.partition] == of.begin for of in held):
            self._say("the raw topic does not reach back that far: what came before it is not counted either")
        return [Extent(of.topic, of.partition, since[of.partition], until[of.partition]) for of in held]

    def _wait_for_ingest(self, ends: Sequence[Extent], timeout_seconds: float) -> None:
        """Return when all of the span was read in: what comes later could not be found, and would count."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            read = {feed.partition: feed.committed or 0 for feed in self._reader.feeds() if self._is_mine(feed.network)}
            behind = {of.partition: of.end - read.get(of.partition, 0) for of in ends if of.begin < of.end}
            late = {partition: records for partition, records in behind.items() if records > 0}
            if not late:
                return
            if time.monotonic() > deadline:
                raise CloutError(
                    f"ingest has not read all of that yet: {sum(late.values()):,} records are to come",
                    detail=f"of the raw partitions {sorted(late)}; what comes later would not be taken back",
                    hint=f"see that ingest runs and that {self._span.network} is not frozen (`clout resume`); or give "
                    "an earlier --to",
                )
            self._say(f"{sum(late.values()):,} records are not read in yet")
            time.sleep(NAP_SECONDS)

    def _is_mine(self, network: str) -> bool:
        return network == self._span.network

    def _begin(self, consumer: Consumer, producer: Producer, ends: Sequence[Extent], epoch: int) -> None:
        """Note that the order begins, and where."""
        self._position = RetractPosition(sent=self._position.sent, span=self._span, epoch=epoch)
        self._commit(consumer, producer, [], {of.partition: of.begin for of in ends})

    def _left(self, consumer: Consumer, ends: Sequence[Extent]) -> list[Extent]:
        """Return what was not read yet."""
        asked = [TopicPartition(of.topic, of.partition) for of in ends]
        committed = {place.partition: place.offset for place in consumer.committed(asked, timeout=REQUEST_SECONDS)}
        return [of._replace(begin=max(of.begin, committed[of.partition])) for of in ends]

    # Step by step -------------------------------------------------------------------------------------------------

    def _fenced(self) -> Producer:
        """Return the producer; whoever else takes back can write nothing more."""
        producer = clients.producer(
            self._settings.kafka,
            {
                "transactional.id": self._names.retract_id,
                "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
                "compression.type": "lz4",
                "linger.ms": 5,
            },
        )
        _try(lambda: clients.fence(producer, REQUEST_SECONDS))
        return producer

    def _write(self, consumer: Consumer, producer: Producer, extent: Extent, messages: list[Message]) -> None:
        """Write what some raw records come to."""
        chosen = self._chosen(messages)
        counters: Counter[str] = Counter(self._position.counters)
        counters.update(chosen.counts)
        self._position.counters = dict(counters)
        self._commit(consumer, producer, chosen.records, {extent.partition: (messages[-1].offset() or 0) + 1})
        self._say(f"{counters['chosen']:,} of {counters['events']:,} events are taken back")

    def _chosen(self, messages: list[Message]) -> Chosen:
        partition = np.array([message.partition() for message in messages], np.int64)
        offset = np.array([message.offset() for message in messages], np.int64)
        arrival_ms = np.array([message.timestamp()[1] for message in messages], np.int64)
        values = [message.value() for message in messages]
        headers = [message.headers() for message in messages] if self._decoder.needs_headers else None
        raw = Raw(self._topic, values, headers, partition, offset, arrival_ms)  # type: ignore[arg-type]
        return choose(raw, self._span, self._position.epoch, self._decoder, self._partitions)

    def _commit(
        self,
        consumer: Consumer,
        producer: Producer,
        records: Sequence[tuple[int, bytes]],
        reached: Mapping[int, int],
    ) -> None:
        """Commit a step: lane records, offsets of raw partitions, and the position, in one transaction."""
        position, names = self._position, self._names

        def step() -> None:
            producer.begin_transaction()
            for lane, value in records:
                position.sent[lane] += 1
                key = encode_key(Stamp(SOURCE, position.sent[lane]))
                producer.produce(names.actors_lane, value, key, partition=lane)
            offsets = [TopicPartition(self._topic, partition, offset) for partition, offset in reached.items()]
            offsets.append(TopicPartition(names.control, 0, max(position.epoch, 0), encode(position)))
            producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata(), REQUEST_SECONDS)
            clients.commit(producer, REQUEST_SECONDS, retries_max=COMMIT_RETRIES_MAX)

        _try(step)

    # How far the tasks are ----------------------------------------------------------------------------------------

    def _wait_for_room(self) -> None:
        """Return when every task has taken in most of what was written to it."""
        self._wait(lambda tasks: max(self._under_way(tasks)) <= IN_FLIGHT_RECORDS_MAX, STALLED_SECONDS_MAX)

    def _wait_for_tasks(self, timeout_seconds: float) -> dict[str, int]:
        """Return what became of the events, once every task has taken in all."""
        tasks = self._wait(lambda tasks: not any(self._under_way(tasks)), timeout_seconds)
        ordered: Counter[str] = Counter()
        for task in tasks.values():
            if task.ordered.epoch == self._position.epoch:
                ordered.update(task.ordered.counters)
        return dict(ordered)

    def _under_way(self, tasks: Tasks) -> list[int]:
        """Return how many records of each lane partition its task has not taken in; of one that does not work, all."""
        return [
            sent - tasks[lane].seen.get(ACTORS, {}).get(SOURCE, 0)
            if lane in tasks and tasks[lane].state == RUNNING
            else sent + IN_FLIGHT_RECORDS_MAX + 1
            for lane, sent in enumerate(self._position.sent)
        ]

    def _wait(self, done: Callable[[Tasks], bool], timeout_seconds: float) -> Tasks:
        """Return the tasks when it is done; raise `CloutError` when they do not get on for so long."""
        last: list[int] = []
        deadline = time.monotonic() + timeout_seconds
        while True:
            tasks, trouble = self._tasks_that_run()
            if done(tasks):
                return tasks
            left = self._under_way(tasks)
            if left != last:
                last, deadline = left, time.monotonic() + timeout_seconds
            why = {lane: _standing(tasks.get(lane)) for lane, records in enumerate(left) if records}
            late = ", ".join(f"partition {lane}{standing}" for lane, standing in why.items())
            if any(why.values()):
                self._say(f"waits for {late}")
            if time.monotonic() > deadline:
                nothing = f"{late}: nothing for {timeout_seconds:g} seconds"
                raise CloutError(
                    "the workers do not take in what is to be taken back",
                    detail=f"{nothing}; {trouble}" if trouble else nothing,
                    hint="the order stands, and workers take in what was written of it (see `clout status`); given "
                    f"again it goes on where it ended, and waits for its end: clout retract {in_words(self._span)}",
                )
            time.sleep(NAP_SECONDS)

    def _tasks_that_run(self) -> tuple[Tasks, str]:
        """Return the tasks, none where no worker is found, and why none is: one that is started anew comes back."""
        try:
            return self.tasks(), ""
        except CloutError as error:
            return {}, error.error


def _standing(task: TaskStatus | None) -> str:
    """Say why a partition takes nothing in, if that is known."""
    if task is None:
        return " (no worker has it)"
    return "" if task.state == RUNNING else f" ({task.state})"


def _offsets(consumer: Consumer, held: Sequence[Extent], time_ms: int) -> dict[int, int]:
    """Return the first offset of each partition that arrived at a time or later; its end where none did."""
    asked = [TopicPartition(of.topic, of.partition, time_ms) for of in held]
    found = {place.partition: place.offset for place in consumer.offsets_for_times(asked, timeout=REQUEST_SECONDS)}
    return {of.partition: found[of.partition] if found[of.partition] >= 0 else of.end for of in held}


def _batches(pieces: Iterator[list[Message]]) -> Iterator[list[Message]]:
    """Put together what one transaction reads, and cut where that is too much."""
    gathered: list[Message] = []
    size = 0
    for messages in pieces:
        for message in messages:
            gathered.append(message)
            size += len(message.value() or b"")
            if size >= TRANSACTION_BYTES_MAX or len(gathered) >= TRANSACTION_RECORDS_MAX:
                yield gathered
                gathered, size = [], 0
    if gathered:
        yield gathered


def _try(step: Callable[[], Any]) -> None:
    try:
        step()
    except (KafkaException, BufferError) as error:
        reason = error.args[0].str() if isinstance(error, KafkaException) else str(error)
        raise CloutError(
            "taking back ended before its time: somebody else began to, or Kafka refused",
            detail=reason,
            hint="give the same order again: it goes on where it ended, and nothing is taken back twice",
        ) from error
