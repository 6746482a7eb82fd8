"""One stage alone: partition tasks fed from a lane without Faust, in a process of its own.

The tasks are those of the worker, a thread each as there, with real transactions and a real RocksDB; only the
records come from confluent-kafka. Reads a job from standard input, writes a result to standard output, both JSON.
"""

import cProfile
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from numpy.typing import NDArray
from rocksdict import Cache

from bench.credited import credits_by_partition, let_credits_come
from bench.fired import MEASURED_HOURS, WARM_HOURS, Split, let_hours_pass, watch
from bench.usage import Usage, by_kind
from clout.config import load
from streams import changelog, clients
from streams.fingerprints import TAKEN_IN, Judged
from streams.intake import Verdict
from streams.ledger import Entered, Ledger, LedgerLimits, LedgerState
from streams.ledger_block import LedgerRows
from streams.metrics import WorkerMetrics
from streams.opening import Shared
from streams.process import set_up_garbage_collection
from streams.task import Task
from streams.task_state import ACTORS, LANES

_GENERATION: Final = 1
_NEVER_HELD: Final = 1 << 30
_WARM_RECORDS: Final = 4


class Job(msgspec.Struct):
    """What to drive."""

    config: str
    lane: str
    """`actors`, `targets`, or no lane: `restore`, the tasks are only opened, from the changelog; `timers`, their clocks
    are then moved on by hand, `credits`, `users` are credited once each."""
    directory: str
    """Where the stores are."""
    warm_ends: dict[int, int]
    """Offset up to which each partition of the lane is not measured."""
    ends: dict[int, int]
    """Offset up to which it is."""
    profile: str | None = None
    ledger: bool = True
    """False: the tasks recognise nothing and keep nothing, to see what that costs."""
    clock_ms: int = 0
    """Where the clocks stand when `timers` or `credits` begin."""
    users: int = 0
    """Of `credits`: how many the population has."""


class Stretch(msgspec.Struct):
    """What one stretch took."""

    rows: int
    cpu_seconds: float
    wall_seconds: float
    by_kind: str
    """CPU µs a row by kind of thread."""


class Result(msgspec.Struct):
    """What came of it."""

    measured: Stretch
    warm_target_ends: dict[int, int]
    """Ends of the targets lane when the measured stretch began."""


def main() -> None:
    """Run one job."""
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    result = run(job)
    sys.stdout.buffer.write(msgspec.json.encode(result))


def run(job: Job) -> Result:
    """Warm up, then measure."""
    settings = load({}, Path(job.config)).settings
    # One lane at a time: the actors stage must not wait for credits that nobody folds meanwhile.
    worker = replace(settings.worker, own_records_in_flight_max=_NEVER_HELD)
    shared = Shared(
        kafka=settings.kafka,
        names=settings.names,
        networks=settings.networks,
        model=settings.model,
        settings=worker,
        partitions=settings.lanes.partitions,
        directory=Path(job.directory),
        cache=Cache(worker.cache_bytes),
        metrics=WorkerMetrics(settings.networks, settings.lanes.partitions),
        hash_key=b"the bench's own",
    )
    set_up_garbage_collection()
    tasks = [Task(partition, shared) for partition in sorted(job.ends)]
    pool = ThreadPoolExecutor(len(tasks))
    opened = Task.open if job.ledger else open_without_ledger
    consumers: list[Consumer] = []
    if job.lane == "restore":
        stretch = measured(lambda: sum(count or 0 for count in pool.map(Task.open, tasks)))
        warm_target_ends: dict[int, int] = {}
    elif job.lane == "timers":
        list(pool.map(Task.open, tasks))
        stretch, warm_target_ends = let_fire(tasks, job.clock_ms, pool), {}
    elif job.lane == "credits":
        list(pool.map(Task.open, tasks))
        stretch, warm_target_ends = credit(tasks, job, pool), {}
    else:
        list(pool.map(opened, tasks))
        topic = shared.names.actors_lane if job.lane == ACTORS else shared.names.targets_lane
        sum(pool.map(lambda task: drive(task, job.lane, topic, job.warm_ends[task.partition], consumers), tasks))
        warm_target_ends = {
            task.partition: changelog.watermarks(shared.kafka, shared.names.targets_lane, task.partition)[1]
            for task in tasks
        }

        def every(task: Task) -> int:
            return drive(task, job.lane, topic, job.ends[task.partition], consumers)

        if job.profile is None:
            stretch = measured(lambda: sum(pool.map(every, tasks)))
        else:
            # cProfile sees one thread only: the partitions take turns.
            profile = cProfile.Profile()
            stretch = measured(lambda: int(profile.runcall(lambda: sum(map(every, tasks)))))
            profile.dump_stats(job.profile)
    for consumer in consumers:
        consumer.close()
    for task in tasks:
        task.close()
    return Result(stretch, warm_target_ends)


class NoLedger(Ledger):
    """Takes every event in and keeps none."""

    def __init__(self) -> None:
        super().__init__(LedgerState(), [], lambda _: None)

    def judge(self, hashes: NDArray[np.uint64], retractions: NDArray[np.bool_]) -> Judged:
        """Let everything in."""
        nowhere = np.full(len(hashes), -1, np.int64)
        return Judged(np.full(len(retractions), TAKEN_IN, np.uint8), nowhere, nowhere)

    def enter(self, rows: LedgerRows, newest_arrival: int, state: LedgerState, limits: LedgerLimits) -> Entered:  # noqa: ARG002
        """Keep nothing."""
        return Entered([], np.empty(0, np.uint64), np.empty(0, np.uint8), state)


def open_without_ledger(task: Task) -> int | None:
    """Open a task, and take its ledger away."""
    restored = task.open()
    opened = task._opened  # noqa: SLF001  only here is a task without one of use
    if opened is not None:
        task._opened = replace(opened, ledger=NoLedger())  # noqa: SLF001
    return restored


def let_fire(tasks: list[Task], clock_ms: int, pool: ThreadPoolExecutor) -> Stretch:
    """Move the clocks on, and measure what each timer that fires costs."""
    let_hours_pass(tasks, clock_ms, 0, WARM_HOURS, pool)
    split = Split()
    watch(tasks, split)

    def fire() -> int:
        let_hours_pass(tasks, clock_ms, WARM_HOURS, MEASURED_HOURS, pool)
        return split.fired

    stretch = measured(fire)
    return msgspec.structs.replace(stretch, by_kind=f"{stretch.by_kind}; {split.told()}")


def credit(tasks: list[Task], job: Job, pool: ThreadPoolExecutor) -> Stretch:
    """Credit users, and measure what each of them costs."""
    records = credits_by_partition(len(tasks), job.users, job.clock_ms)
    let_credits_come(tasks, [theirs[:_WARM_RECORDS] for theirs in records], 1, pool)
    rest = [theirs[_WARM_RECORDS:] for theirs in records]
    return measured(lambda: let_credits_come(tasks, rest, 1 + _WARM_RECORDS, pool))


def measured(work: Callable[[], int]) -> Stretch:
    """Run something that returns rows, and note what the whole process used meanwhile."""
    before = Usage.of()
    rows = work()
    after = Usage.of()
    return Stretch(
        rows, after.cpu_seconds - before.cpu_seconds, after.at_seconds - before.at_seconds, by_kind(before, after, rows)
    )


def drive(task: Task, lane: str, topic: str, end: int, consumers: list[Consumer]) -> int:
    """Commit a lane up to an offset, in batches as large as the worker's under load; return the rows.

    The consumer made is added to `consumers`, for the caller to close: a thread that has ended cannot be looked at.
    """
    rows_max = task.shared.settings.batch_rows_max
    intake = task.intake
    intake.open(task.state, _GENERATION)
    consumer = clients.consumer(
        task.shared.kafka,
        {
            "group.id": "bench",
            "enable.partition.eof": True,
            "queued.max.messages.kbytes": 8_192,
            "fetch.wait.max.ms": 10,
        },
    )
    consumers.append(consumer)
    consumer.assign([TopicPartition(topic, task.partition, task.state.positions[lane] + 1)])
    rows = 0
    for offset, key, value in _messages(consumer, end):
        if intake.offer(lane, offset, _GENERATION, (key, value), None) is not Verdict.ACCEPTED:
            raise RuntimeError(f"{topic} [{task.partition}] offset {offset} was not accepted: {intake.gap}")
        if intake.rows[lane] >= rows_max:
            rows += _commit(task, rows_max)
    while any(intake.waiting[name] for name in LANES):
        rows += _commit(task, rows_max)
    return rows


def _commit(task: Task, rows_max: int) -> int:
    batch = task.intake.take(task.state, task.source, rows_max=rows_max, own_in_flight_max=_NEVER_HELD)
    task.commit(batch)
    return sum(accepted.rows for accepted in batch)


def _messages(consumer: Consumer, end: int) -> Iterator[tuple[int, bytes | None, bytes]]:
    while True:
        for message in consumer.consume(64, 0.2):
            error, offset, value = message.error(), message.offset(), message.value()
            if error is not None:
                if error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001  the client has no public name for it
                    raise KafkaException(error)
                return
            if offset is None or value is None:
                raise RuntimeError(f"{message.topic()} [{message.partition()}]: a lane record has no value")
            if offset >= end:
                return
            yield offset, message.key(), value


if __name__ == "__main__":
    threading.current_thread().name = "drive"
    main()
