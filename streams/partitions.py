"""The partitions of a worker as they come and go: open, work, lose, stop, close.

Nothing here waits for a restore: Kafka's assignment callback only starts it, or a restore longer than the session
would be evicted and begun again for ever. A restore that is under way when a rebalance leaves its partition here
goes on; it is dropped only when the partition goes.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, Final

import structlog
from confluent_kafka import KafkaException
from faust.types import TP

from streams.damage import Trouble, trouble_of
from streams.errors import CloutError
from streams.flow import Flow
from streams.incidents import refused
from streams.intake import Accepted
from streams.notices import tell_refusal
from streams.opening import Shared
from streams.process import ended_if_stuck, give_back_memory
from streams.task import Task, TaskLostError

_log = structlog.get_logger(__name__)

_NO_GENERATION: Final = -1
_STUCK_SECONDS: Final = 150.0
"""A commit that has not come back by then never will; longer than all its retries together."""
_REOPEN_HEARTBEATS: Final = 3
"""A zombie that reopened at once would fence the rightful owner."""
_COMMIT_INTERVAL_SECONDS_MAX: Final = 0.15
"""The wait between commits is the last commit's time, but at most this, since latency is mostly waiting …"""
_COMMIT_INTERVAL_BEHIND_SECONDS: Final = 0.5
"""… and this while the task is far behind: larger batches cost less an event (`python -m bench --only e2e`)."""
_BEHIND_SECONDS: Final = 2.0
"""Age of events from which a task counts as behind; more than two such waits add up to, so that it catches up."""
_TICK_SECONDS: Final = 0.01
"""A task that waits for its interval looks this often whether a full batch has come meanwhile; one that was idle waits
so long for what comes with the first record."""
_LOOK_FOR_ORDERS_SECONDS: Final = 2.0
"""A task that stands still looks this often whether an operator has set a record aside."""
_EMPTY_TICK_SECONDS: Final = 0.05
"""As long as nothing has come since the last commit, it looks less often."""
_IDLE_SECONDS: Final = 1.0
"""A task without records looks this often whether it is still ours."""


class Partitions:
    """The tasks of one worker process."""

    def __init__(self, shared: Shared, flow: Flow) -> None:
        """Begin with none."""
        self.shared = shared
        self.tasks: dict[int, Task] = {}
        """Tasks that are restored; a stopped one stays, so that its last good scores can be asked for."""
        self.opening: dict[int, Task] = {}
        self.failed: dict[int, str] = {}
        """Partitions that refused to start, and why."""
        self.generation = _NO_GENERATION
        """Of the consumer; none between a revoke and the next assignment."""
        self.revocations = 0
        self._flow = flow
        self._busy: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        """Held while a partition opens, commits or closes."""
        self._arrived: defaultdict[int, asyncio.Event] = defaultdict(asyncio.Event)
        self._threads = ThreadPoolExecutor(2 * shared.partitions, "task")
        self._running: set[asyncio.Task[None]] = set()
        self._leaving = False

    # What the consumer asks (streams.transport.Positions) ----------------------------------------------------------

    def is_ready(self, tp: TP) -> bool:
        """Return whether a partition is restored and works."""
        task = self.tasks.get(tp.partition)
        return task is not None and not task.stopped

    def next_offsets(self, assignment: Iterable[TP]) -> dict[TP, int]:
        """Return the offset to read on from, for every partition that is ready."""
        lane_of = self._flow.lane_of
        return {
            tp: self.tasks[tp.partition].state.positions[lane_of[tp.topic]] + 1
            for tp in assignment
            if tp.topic in lane_of and self.is_ready(tp)
        }

    def opened(self, partitions: Iterable[int], generation: int) -> None:
        """Accept records of this generation: the consumer stands at the tasks' own positions."""
        self.generation = generation
        for partition in partitions:
            task = self.tasks[partition]
            task.intake.open(task.state, generation)
            self._flow.reset(partition)

    # Come and go ---------------------------------------------------------------------------------------------------

    async def revoked(self) -> None:
        """Accept nothing more at once; then wait for the commits in hand."""
        self.generation = _NO_GENERATION
        self.revocations += 1
        for task in self.tasks.values():
            task.intake.close()
        for partition in list(self.tasks):
            async with self._busy[partition]:
                pass

    async def assigned(self, mine: set[int], generation: int) -> None:
        """Close what went, start restoring what came, keep what stayed."""
        self.generation = generation
        # Restores first: one that ended while a store closes would become a task that nobody looks for any more.
        for partition in [p for p in self.opening if p not in mine]:
            self.opening.pop(partition).stop_restore.set()
            self._show(partition, None)
        for partition in [p for p in self.tasks if p not in mine]:
            task = self.tasks.pop(partition)
            async with self._busy[partition]:
                await self._in_thread(task.close)
            self._show(partition, None)
        for partition in [p for p in self.failed if p not in mine]:
            del self.failed[partition]
            self._show(partition, None)
        for partition in sorted(mine - self.tasks.keys() - self.opening.keys() - self.failed.keys()):
            self._open(partition)
        _log.info("assigned", partitions=sorted(mine), kept=sorted(self.tasks), generation=generation)

    async def leave(self) -> None:
        """Finish the commits in hand and close the stores, within `worker.stop_seconds`."""
        self._leaving = True
        for task in self.opening.values():
            task.stop_restore.set()
        for partition, task in self.tasks.items():
            task.intake.close()
            self.wake(partition)
        if self._running:
            await asyncio.wait(self._running, timeout=self.shared.settings.stop_seconds)
        left = sorted(self.tasks)
        for partition in left:
            # A commit that hangs is left to its time-out at the broker: the store is whole without a close.
            if not self._busy[partition].locked():
                await self._in_thread(self.tasks.pop(partition).close)
        self._threads.shutdown(wait=False, cancel_futures=True)
        _log.info("left", partitions=left)

    def stop(self, task: Task, error: Exception, batch: Sequence[Accepted] = ()) -> None:
        """Stand still with the last good scores, and say so; a restarted worker resumes from the same record.

        `batch` holds the records that could not be committed.
        """
        task.stopped = str(error)
        task.intake.close()
        self._flow.stop(task.partition)
        self._show(task.partition, "stopped")
        _log.error(
            "partition stopped",
            partition=task.partition,
            positions=task.state.positions,
            reason=str(error),
            exc_info=None if isinstance(error, CloutError) else error,
        )
        self._spawn(self._stand(task, error, batch))

    def wake(self, partition: int) -> None:
        """Tell a partition's task that a record has come."""
        self._arrived[partition].set()

    # Opening -------------------------------------------------------------------------------------------------------

    def _open(self, partition: int) -> None:
        task = self.opening[partition] = Task(partition, self.shared)
        self._show(partition, "restoring")
        self._spawn(self._restore(task))

    def _reopen_later(self, partition: int) -> None:
        """Open a partition again after a while, if it is still ours then."""

        def reopen() -> None:
            known = partition in self.tasks or partition in self.opening
            if not known and not self._leaving and self._flow.assigned(partition):
                self._open(partition)

        self._show(partition, "restoring")
        wait = _REOPEN_HEARTBEATS * self.shared.settings.heartbeat_interval_seconds
        asyncio.get_running_loop().call_later(wait, reopen)

    async def _restore(self, task: Task) -> None:
        """Open and restore in the background, then let the partition flow from its own positions."""
        partition, begun = task.partition, time.monotonic()
        async with self._busy[partition]:
            try:
                restored = await self._in_thread(task.open)
                await self._in_thread(give_back_memory)
            except Exception as error:  # noqa: BLE001  a partition that cannot open must not take the others down
                if self.opening.get(partition) is task:
                    del self.opening[partition]
                    self._could_not_open(partition, error)
                return
            if restored is None or self._leaving or self.opening.get(partition) is not task:
                await self._in_thread(task.close)
                return
            del self.opening[partition]
            self.tasks[partition] = task
        seconds = time.monotonic() - begun
        metrics = self.shared.metrics
        metrics.restores.inc()
        metrics.restore_records.inc(restored)
        metrics.restore_seconds.observe(seconds)
        self._show(partition, "running")
        # A clock that is held may not move for long: it is shown before the first commit.
        metrics.clocks.show(partition, task.state, self.shared.networks)
        metrics.population.show(partition, task.state.population)
        _log.info(
            "partition ready",
            partition=partition,
            positions=task.state.positions,
            restored_records=restored,
            seconds=round(seconds, 2),
        )
        self._spawn(self._work(task))
        await self._flow_in(task)

    async def _flow_in(self, task: Task) -> None:
        """Seek to the task's positions and accept, unless a rebalance is under way or comes between: it seeks too."""
        generation = self.generation

        def still_ours() -> bool:
            return _NO_GENERATION != generation == self.generation and self.tasks.get(task.partition) is task

        def accept() -> bool:
            if not still_ours():
                return False
            self.opened([task.partition], generation)
            return True

        try:
            await self._flow.start(self.next_offsets(self._flow.assigned(task.partition)), accept)
        except Exception as error:  # noqa: BLE001  the driver raises many kinds when a rebalance overtakes the seek
            if still_ours():
                await self._lose(task, f"the consumer could not seek: {error}")

    def _could_not_open(self, partition: int, problem: Exception) -> None:
        no_answer = any(isinstance(of, KafkaException | TimeoutError) for of in (problem, problem.__cause__))
        if no_answer or trouble_of(problem) is not None:
            _log.warning("partition could not open, will try again", partition=partition, reason=str(problem))
            self._reopen_later(partition)
            return
        self.failed[partition] = str(problem)
        self._show(partition, "stopped")
        shared, now_ms = self.shared, int(self.shared.clock() * 1000)
        incident = refused(str(problem), partition=partition, model=shared.names.model, now_ms=now_ms)
        self._spawn(self._in_thread(tell_refusal, shared.kafka, shared.names, shared.connect, incident))
        _log.error(
            "partition refuses to start",
            partition=partition,
            reason=str(problem),
            exc_info=None if isinstance(problem, CloutError) else problem,
        )

    # Working -------------------------------------------------------------------------------------------------------

    async def _work(self, task: Task) -> None:
        """Commit batch after batch while the task is ours."""
        settings, intake, partition = self.shared.settings, task.intake, task.partition
        shortest = interval = settings.commit_interval_ms / 1000
        last = 0.0
        while self.tasks.get(partition) is task and not task.stopped and not self._leaving:
            rows = max(intake.rows.values())
            full = rows >= settings.batch_rows_max
            wait = 0.0 if full else last + interval - time.monotonic()
            if wait > 0:
                await asyncio.sleep(min(wait, _TICK_SECONDS if rows else _EMPTY_TICK_SECONDS))
                continue
            last = time.monotonic()
            async with self._busy[partition]:
                batch = intake.take(
                    task.state,
                    task.source,
                    rows_max=settings.batch_rows_max,
                    own_in_flight_max=settings.own_records_in_flight_max,
                )
                if (batch or task.has_work) and not await self._commit(task, batch):
                    return
            self._flow.let_go(partition, intake.rows)
            for accepted in batch:
                accepted.event.ack()
            took = time.monotonic() - last
            interval = max(shortest, min(took, _COMMIT_INTERVAL_SECONDS_MAX))
            # Those whose time has come are all there: a longer wait brings no more of them.
            if batch and task.behind_seconds > _BEHIND_SECONDS:
                interval = max(interval, _COMMIT_INTERVAL_BEHIND_SECONDS)
            if not batch and not task.has_work:
                self._arrived[partition].clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._arrived[partition].wait(), _IDLE_SECONDS)
                    # Records come in several: those that were written together are taken together.
                    await asyncio.sleep(_TICK_SECONDS)

    async def _commit(self, task: Task, batch: list[Accepted]) -> bool:
        """Return whether the task goes on."""
        try:
            with ended_if_stuck(f"a commit of partition {task.partition}", _STUCK_SECONDS):
                await self._in_thread(task.commit, batch)
        except TaskLostError as error:
            await self._lose(task, str(error))
        except Exception as error:  # noqa: BLE001  whatever a fold raises must stop this partition, not the worker
            trouble = trouble_of(error)
            if trouble is None:
                self.stop(task, error, batch)
            else:
                # The results may be in Kafka already and not in the files: only a restore tells.
                await self._lose(task, f"local state is {trouble.value}: {error}", trouble)
        else:
            return True
        return False

    async def _lose(self, task: Task, reason: str, trouble: Trouble | None = None) -> None:
        """Drop the task's memory; come back through restore if the partition is still ours, but not at once.

        A damaged copy is deleted: the restore makes it anew.
        """
        positions = task.state.positions
        _log.warning("task lost, will begin again", partition=task.partition, positions=positions, reason=reason)
        self.shared.metrics.lost.inc()
        await self._let_go(task, damaged=trouble is Trouble.DAMAGED)

    async def _let_go(self, task: Task, *, damaged: bool = False) -> None:
        """Close a task and open its partition again after a while."""
        self.tasks.pop(task.partition, None)
        task.intake.close()
        self._flow.stop(task.partition)
        if damaged and task.store is not None:
            await self._in_thread(task.store.destroy)
        await self._in_thread(task.close)
        self._reopen_later(task.partition)

    async def _stand(self, task: Task, error: Exception, batch: Sequence[Accepted]) -> None:
        """Open an incident, then wait for an order that sets a record aside, with which the task begins again."""
        partition = task.partition
        ask: Callable[[], bool] = partial(self._report, task, error, batch)
        while True:
            async with self._busy[partition]:
                if self.tasks.get(partition) is not task or self._leaving:
                    return
                try:
                    ordered = await self._in_thread(ask)
                except (KafkaException, CloutError) as problem:
                    _log.warning("orders cannot be read now", partition=partition, reason=str(problem))
                    ordered = False
                if ordered and self.tasks.get(partition) is task:
                    _log.warning("partition begins again, a record is set aside", partition=partition)
                    await self._let_go(task)
                    return
            ask = task.look_for_orders
            self._arrived[partition].clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._arrived[partition].wait(), _LOOK_FOR_ORDERS_SECONDS)

    @staticmethod
    def _report(task: Task, error: Exception, batch: Sequence[Accepted]) -> bool:
        task.report(error, batch)
        return False

    # Odds ----------------------------------------------------------------------------------------------------------

    def _show(self, partition: int, state: str | None) -> None:
        self.shared.metrics.set_partition_state(partition, state)

    def _spawn(self, coroutine: Any) -> None:
        """Run in the background; a reference is kept, or the task could be collected while it runs."""
        running = asyncio.get_running_loop().create_task(coroutine)
        self._running.add(running)
        running.add_done_callback(self._running.discard)

    async def _in_thread(self, function: Any, *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *args)
