"""Which lane partitions Faust's consumer fetches: those whose task is ready and has room."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from faust.types import TP


class Flow:
    """Starts, stops and holds back the lane partitions of a worker."""

    def __init__(self, consumer: Callable[[], Any], lane_of: Mapping[str, str], buffered_rows_max: int) -> None:
        """Take Faust's consumer, the lane of each topic, and how many rows of a lane may wait in a task."""
        self._consumer = consumer
        self.lane_of = lane_of
        self._buffered_rows_max = buffered_rows_max
        self._held: set[TP] = set()

    def assigned(self, partition: int) -> set[TP]:
        """Return the lane partitions of this number that this worker has."""
        return {tp for tp in self._consumer().assignment() if tp.partition == partition and tp.topic in self.lane_of}

    async def start(self, offsets: Mapping[TP, int], accept: Callable[[], bool]) -> None:
        """Seek, let `accept` open the task, and fetch, unless it says that things have changed meanwhile."""
        consumer = self._consumer()
        await consumer.seek_wait(offsets)
        if accept():
            consumer.resume_partitions(set(offsets))

    def stop(self, partition: int) -> None:
        """Fetch a partition no more; what is fetched is dropped, so that it must start by a seek again."""
        self._consumer().pause_partitions(self.assigned(partition))

    def hold(self, tp: TP, rows: int) -> None:
        """Stop fetching a lane partition whose task has enough to do.

        Not by pausing it: Faust drops what it has fetched of a paused partition, and still hands over what it has
        fetched of one whose buffer is full.
        """
        if rows >= self._buffered_rows_max:
            self._held.add(tp)
            self._consumer().on_buffer_full(tp)

    def let_go(self, partition: int, rows: Mapping[str, int]) -> None:
        """Fetch again what was held back, once half of the room is free; `rows` wait in the task, by lane."""
        self._release(
            tp
            for tp in self._held
            if tp.partition == partition and rows[self.lane_of[tp.topic]] <= self._buffered_rows_max // 2
        )

    def reset(self, partition: int) -> None:
        """Forget that a partition was held back: its task begins anew with nothing waiting."""
        self._release(tp for tp in self._held if tp.partition == partition)

    def _release(self, tps: Iterable[TP]) -> None:
        for tp in list(tps):
            self._held.discard(tp)
            self._consumer().on_buffer_drop(tp)
