"""What a decay timer that fires costs: tasks whose clocks are moved on by hand, and where the time goes."""

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from bench.load import HOUR_MS, NETWORK
from schemas.packed import Stamp, encode_key
from streams.intake import Verdict
from streams.stages import targets as targets_stage
from streams.task import Task
from streams.task_state import TARGETS, source_of_task
from streams.ticks import clocks_value

WARM_HOURS: Final = 2
MEASURED_HOURS: Final = 10
_GENERATION: Final = 1


class Split:
    """CPU seconds of the calling threads, by part of the commit path."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.fired = 0

    def of(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that notes what it takes."""

        def noted(*args: Any, **kwargs: Any) -> Any:
            begun = time.thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds[name] += time.thread_time() - begun

        return noted

    def told(self) -> str:
        """Return µs of each timer by part, as a note."""
        parts = (f"{name} {seconds / self.fired * 1e6:.2f}" for name, seconds in self.seconds.items())
        return f"of the tasks' own threads: {', '.join(parts)}"


def watch(tasks: Sequence[Task], split: Split) -> None:
    """Count what fires in these tasks, and note where their time goes."""
    targets_stage.fold = split.of("read, fold and encode", targets_stage.fold)
    for task in tasks:
        opened = task._opened  # noqa: SLF001  only here does anybody look inside
        if opened is None:
            raise RuntimeError(f"partition {task.partition} is not open")
        due = split.of("find due", opened.timers.due)

        def counted(clocks_ms: dict[int, int], due: Callable[..., Any] = due) -> Any:
            found = due(clocks_ms)
            split.fired += len(found.keys)
            return found

        opened.timers.due = counted  # type: ignore[method-assign,assignment]
        opened.timers.committed = split.of("note", opened.timers.committed)  # type: ignore[method-assign]
        opened.store.write = split.of("RocksDB write", opened.store.write)  # type: ignore[method-assign]
        task._audit = split.of("audit", task._audit)  # type: ignore[method-assign]  # noqa: SLF001
        task._write_transaction = split.of("Kafka", task._write_transaction)  # type: ignore[method-assign]  # noqa: SLF001


def let_hours_pass(tasks: Sequence[Task], clock_ms: int, first: int, hours: int, pool: ThreadPoolExecutor) -> None:
    """Move the clocks hour by hour, and commit until nothing is due."""
    list(pool.map(lambda task: _let_pass(task, clock_ms, first, hours, len(tasks)), tasks))


def _let_pass(task: Task, clock_ms: int, first: int, hours: int, partitions: int) -> None:
    task.intake.open(task.state, _GENERATION)
    for hour in range(first, first + hours):
        value = clocks_value({NETWORK: clock_ms + (hour + 1) * HOUR_MS})
        for other in range(partitions):
            key = encode_key(Stamp(source_of_task(other), hour + 1))
            verdict = task.intake.offer(TARGETS, hour * partitions + other, _GENERATION, (key, value), None)
            if verdict is not Verdict.ACCEPTED:
                raise RuntimeError(f"the clocks were not taken: {task.intake.gap}")
        task.commit(task.intake.take(task.state, task.source, rows_max=50_000, own_in_flight_max=1))
        while task.has_due:
            task.commit([])
