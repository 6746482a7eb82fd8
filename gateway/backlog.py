"""How far workers are behind in the lanes: as each says of its partitions, or by Kafka's ends where none follows."""

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Event
from typing import Final

import structlog

from gateway.standing import World
from schemas.gateway import PartitionsAnswer, PartitionState, UnreadRecords
from streams.errors import CloutError
from streams.names import Names
from streams.progress import RUNNING
from streams.progress_reader import ProgressReader, tasks_by_partition
from streams.settings import KafkaSettings
from streams.status import TaskStatus

_log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 2.0
"""Between one look and the next."""
ASKED_AT_ONCE_MAX: Final = 8
"""Workers that are asked at the same time: so some that do not answer do not hold up the look for long."""
ANSWER_SECONDS_MAX: Final = 1.0
"""A worker that takes longer to answer has not answered."""


class Backlog:
    """Looks every few seconds; `run` in a thread of its own, and any thread may read what was seen."""

    def __init__(self, kafka: KafkaSettings, names: Names, partitions: int, world: World) -> None:
        """Take where to look; nothing is known before the first look."""
        self._kafka, self._names, self._partitions, self._world = kafka, names, partitions, world
        self._states: list[PartitionState] = []
        self._looked_seconds: float | None = None

    def answer(self) -> PartitionsAnswer:
        """Return what the newest look saw, and how long ago that was."""
        looked_seconds = self._looked_seconds
        age_seconds = None if looked_seconds is None else round(time.monotonic() - looked_seconds, 3)
        return PartitionsAnswer(age_seconds=age_seconds, partitions=self._states)

    def run(self, stop: Event) -> None:
        """Look until told to stop; where Kafka does not answer, what was seen last stays."""
        failed = False
        reader = ProgressReader(self._kafka, self._names, (), self._partitions, answer_seconds_max=ANSWER_SECONDS_MAX)
        with closing(reader), ThreadPoolExecutor(ASKED_AT_ONCE_MAX) as pool:
            while not stop.is_set():
                begun_seconds = time.monotonic()
                try:
                    self._states = self._look(reader, pool)
                    self._looked_seconds, failed = begun_seconds, False
                except CloutError as error:
                    if not failed:
                        _log.warning("how far workers are behind is not known now", reason=str(error))
                    failed = True
                stop.wait(LOOK_SECONDS)

    def _look(self, reader: ProgressReader, pool: ThreadPoolExecutor) -> list[PartitionState]:
        addresses = {of.worker for of in self._world.populations.values()}
        workers = [found for found in pool.map(reader.worker_status, addresses) if found is not None]
        tasks, ends = tasks_by_partition(workers), reader.lane_ends()
        return [self._state(at, tasks.get(at), ends[at]) for at in range(self._partitions)]

    def _state(self, partition: int, task: TaskStatus | None, ends: Mapping[str, int]) -> PartitionState:
        """Return how a partition is; what its worker says of its lanes counts while that one follows them.

        Of one that stands still it is what was so when it stopped.
        """
        if task is not None and task.state == RUNNING and not self._world.is_silent(partition):
            unread = task.lag_records
        else:
            unread = self._since(partition, task, ends)
        return PartitionState(
            partition=partition,
            state="away" if task is None else task.state,
            unread=UnreadRecords(**unread) if unread.keys() == ends.keys() else None,
        )

    def _since(self, partition: int, task: TaskStatus | None, ends: Mapping[str, int]) -> dict[str, int]:
        """Return what came since the partition told last how far it was, by its worker's answer or its numbers."""
        told = self._world.populations.get(partition)
        said = {} if task is None else {lane: position + 1 for lane, position in task.positions.items()}
        known = [said, {} if told is None else told.next_offsets]
        return {
            lane: max(0, end - max(of[lane] for of in known if lane in of))
            for lane, end in ends.items()
            if any(lane in of for of in known)
        }
