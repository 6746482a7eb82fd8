"""A worker of the score role: real tasks and intakes, driven step by step instead of by Faust.

It does what `streams.partitions` and `streams.transport` do: closes every intake on a revoke, keeps the tasks that
stay, seeks to their own positions, and only then accepts; drops a task whose commit failed and opens it again later.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaException

from streams.intake import Intake, Verdict
from streams.opening import Shared
from streams.task import Task, TaskLostError
from streams.task_state import ACTORS, LANES, TARGETS
from tests.simulator.clients import Producer
from tests.simulator.log import Entry, Log
from tests.simulator.process import Process

_FETCH_RECORDS_MAX = 40
_CLOSED = -1


class WrongError(AssertionError):
    """Something happened that must never happen."""


@dataclass(slots=True)
class Lane:
    """What the consumer of a worker holds of a lane partition."""

    position: int = 0
    queued: deque[tuple[Entry, int]] = field(default_factory=deque)
    """Records fetched and not delivered, each with the generation that it was fetched in."""


class Worker:
    """One process of the score role."""

    def __init__(self, process: Process, log: Log, shared: Shared, kinds: tuple[type[Task], type[Intake]]) -> None:
        self.process, self.log, self.shared = process, log, shared
        self.task_kind, self.intake_kind = kinds
        self.topics = {ACTORS: shared.names.actors_lane, TARGETS: shared.names.targets_lane}
        self.read_committed = True
        self.forget_everything()

    def forget_everything(self) -> None:
        """Have the memory of a process that just started."""
        self.assigned: set[int] = set()
        self.generation = _CLOSED
        self.tasks: dict[int, Task] = {}
        self.lost: set[int] = set()
        """Partitions whose task was lost, to be opened again after a while."""
        self.lanes: dict[tuple[str, int], Lane] = {}
        self.trouble = ""

    def hear(self, generation: int, mine: set[int]) -> None:
        """Revoke and assign, as Kafka does; records that are queued meanwhile come first."""
        for task in self.tasks.values():
            task.intake.close()
        for partition in sorted(self.tasks):
            self.deliver(partition, self.log.random.randint(0, 2))
        self.generation, self.assigned = generation, mine
        for partition in sorted(self.tasks.keys() - mine):
            self.tasks.pop(partition).close()
        self.lost &= mine
        for partition in sorted(self.tasks):
            self._flow_in(self.tasks[partition])

    def _flow_in(self, task: Task) -> None:
        """Seek to the task's own positions and accept; what is queued of before stays queued."""
        for name in LANES:
            lane = self.lanes.setdefault((name, task.partition), Lane())
            lane.position = task.state.positions[name] + 1
        task.intake.open(task.state, self.generation)

    def open(self, partition: int) -> None:
        """Open a partition that is ours; one that cannot be opened now is tried again later."""
        task = self.task_kind(partition, self.shared)
        task.intake = self.intake_kind()
        try:
            opened = task.open()
        except KafkaException:
            self.lost.add(partition)
            return
        if opened is None:
            raise WrongError(f"partition {partition} was not opened although nobody stopped it")
        self.tasks[partition] = task
        self._flow_in(task)

    def work(self, partition: int, stale: float) -> None:
        """Fetch, deliver, and commit one batch of a partition."""
        if partition not in self.tasks:
            if partition in self.assigned and partition not in self.lost:
                self.open(partition)
            return
        random = self.log.random
        self.fetch(partition)
        left = random.randint(0, 5) if random.random() < stale else 0
        self.deliver(partition, max(0, max(len(self.lanes[name, partition].queued) for name in LANES) - left))
        self.commit(self.tasks[partition])

    def fetch(self, partition: int) -> None:
        """Take what the lanes have into the consumer's queue."""
        for name in LANES:
            lane = self.lanes[name, partition]
            log = self.log.at((self.topics[name], partition))
            entries, lane.position = log.read(
                max(lane.position, log.begin), _FETCH_RECORDS_MAX, committed=self.read_committed
            )
            lane.queued.extend((entry, self.generation) for entry in entries)

    def deliver(self, partition: int, records: int) -> None:
        """Offer queued records of both lanes to the task."""
        task = self.tasks[partition]
        for name in LANES:
            queued = self.lanes[name, partition].queued
            for _ in range(min(records, len(queued))):
                entry, generation = queued.popleft()
                verdict = task.intake.offer(name, entry.offset, generation, (entry.key, entry.value or b""), None)
                if verdict is Verdict.GAP:
                    raise WrongError(f"partition {partition}: {task.intake.gap}")

    def commit(self, task: Task) -> bool:
        """Commit one batch; return whether there was one."""
        settings = self.shared.settings
        batch = task.intake.take(
            task.state,
            task.source,
            rows_max=settings.batch_rows_max,
            own_in_flight_max=settings.own_records_in_flight_max,
        )
        if not batch and not task.has_work:
            return False
        self._cause_trouble(task)
        try:
            task.commit(batch)
        except TaskLostError:
            self.tasks.pop(task.partition)
            task.intake.close()
            task.close()
            self.lost.add(task.partition)
            # By the time that it is opened again, the agent has dropped what was queued for it.
            for name in LANES:
                self.lanes[name, task.partition].queued.clear()
            return True
        self.process.probe("acknowledge")
        positions = self.log.groups[self.shared.names.app_id]
        for accepted in batch:
            positions[self.topics[accepted.lane], task.partition] = (accepted.offset + 1, "")
        self.process.probe("acknowledged")
        return True

    def _cause_trouble(self, task: Task) -> None:
        opened: Any = task._opened
        producer: Producer = opened.producer
        producer.trouble, self.trouble = self.trouble, ""
