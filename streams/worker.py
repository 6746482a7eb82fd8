"""The score role: both stages in a Faust worker, one task a partition.

Faust carries membership, assignment, agents and timers; it hands lane records over and otherwise stays out of the
way. Tasks restore in the background and commit in threads.
"""

import asyncio
import os
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, cast

import structlog
from confluent_kafka import KafkaException
from faust.types import TP
from rocksdict import Cache

from scorer.model import Model
from streams import topics
from streams.errors import CloutError
from streams.faust_options import faust_broker_options
from streams.http import RoleServer
from streams.intake import Verdict
from streams.metrics import WorkerMetrics
from streams.names import Names
from streams.opening import Shared
from streams.process import set_up_garbage_collection
from streams.queries import routes
from streams.settings import HttpSettings, KafkaSettings, LaneSettings, NetworkSettings, WorkerSettings
from streams.task import Task, TaskLostError
from streams.task_state import ACTORS, TARGETS
from streams.transport import App, Process, make_transport
from streams.warm_up import load_kernels

_log = structlog.get_logger(__name__)

_BUFFERED_BATCHES_MAX: Final = 2
"""Batches of a lane that wait in a task before the lane partition is no longer fetched."""
_STREAM_BUFFER_RECORDS: Final = 32
_FETCH_BYTES_MAX: Final = 4 << 20
_REOPEN_HEARTBEATS: Final = 3
"""A zombie that reopened at once would fence the rightful owner."""
_COMMIT_INTERVAL_SHARE: Final = 5
"""The wait between commits is at least this many times the last commit's time …"""
_COMMIT_INTERVAL_SECONDS_MAX: Final = 0.5
"""… and at most this."""
_STATUS_SECONDS: Final = 1.0
_TICK_SECONDS: Final = 0.01
"""A task that waits for its interval looks this often whether a full batch has come meanwhile."""
_IDLE_SECONDS: Final = 1.0
"""A task without records looks this often whether it is still ours."""


class Worker:
    """The tasks of one worker process, and the Faust app that feeds them."""

    def __init__(
        self,
        *,
        kafka: KafkaSettings,
        lanes: LaneSettings,
        networks: Mapping[str, NetworkSettings],
        model: Model,
        settings: WorkerSettings,
        http: HttpSettings,
        data_dir: Path,
        slot: int,
        version: str,
    ) -> None:
        """Check the topics and put everything together; `run` starts it."""
        self.names = Names(kafka.prefix, model.name)
        topics.require(kafka, topics.specification(self.names, lanes, dict(networks)))
        self.settings = settings
        self.version = version
        self.metrics = WorkerMetrics(networks, lanes.partitions)
        directory = data_dir / "state" / self.names.app_id / f"worker-{slot}"
        directory.mkdir(parents=True, exist_ok=True)
        self.shared = Shared(
            kafka,
            self.names,
            networks,
            model,
            settings,
            lanes.partitions,
            directory,
            Cache(settings.cache_bytes),
            self.metrics,
        )
        self.lane_of = {self.names.actors_lane: ACTORS, self.names.targets_lane: TARGETS}
        self.tasks: dict[int, Task] = {}
        """Tasks that are restored; a stopped one stays, so that its last good scores can be asked for."""
        self.opening: dict[int, Task] = {}
        self.failed: dict[int, str] = {}
        """Partitions that refused to start, and why."""
        self.busy: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self.arrived: dict[int, asyncio.Event] = {}
        self.held: set[TP] = set()
        """Lane partitions not fetched until their task has room."""
        self.read_to: dict[TP, int] = {}
        """Where the consumer reads on, as of the last look."""
        self.threads = ThreadPoolExecutor(max_workers=2 * lanes.partitions, thread_name_prefix="task")
        self.leaving = False
        self.server = RoleServer(http, "score")
        self.app = self._app(kafka, lanes, directory)

    def _app(self, kafka: KafkaSettings, lanes: LaneSettings, directory: Path) -> App:
        app = App(
            self.names.app_id,
            **faust_broker_options(kafka),
            broker_client_id=f"clout-score@{self.server.address}",
            store="memory://",
            datadir=str(directory / "faust"),
            topic_allow_declare=False,
            topic_disable_leader=True,
            topic_partitions=lanes.partitions,
            web_enabled=False,
            consumer_auto_offset_reset="earliest",
            consumer_max_fetch_size=_FETCH_BYTES_MAX,
            stream_buffer_maxsize=_STREAM_BUFFER_RECORDS,
            stream_wait_empty=False,
            stream_recovery_delay=0.0,
            broker_session_timeout=float(self.settings.session_timeout_seconds),
            broker_heartbeat_interval=float(self.settings.heartbeat_interval_seconds),
            # Without standby replicas Faust falls back to an assignor that does not keep the lanes together.
            table_standby_replicas=1,
        )
        app.transport_class = make_transport(lambda: self)
        raw: dict[str, Any] = {
            "key_type": bytes,
            "value_type": bytes,
            "key_serializer": "raw",
            "value_serializer": "raw",
        }
        for topic, lane in self.lane_of.items():
            app.agent(app.topic(topic, **raw), name=f"clout.{lane}", concurrency=1)(self._feed)
        app.on_partitions_revoked.connect(cast("Any", self._revoked), weak=False)
        app.on_partitions_assigned.connect(cast("Any", self._assigned), weak=False)
        app.on_before_shutdown.connect(cast("Any", self._shutdown), weak=False)
        app.timer(_STATUS_SECONDS)(self._observe_lag)
        return app

    def run(self) -> None:
        """Work until told to stop; SIGTERM finishes the batch in hand, commits and leaves."""
        load_kernels(self.shared.model)
        set_up_garbage_collection()
        self.server.start(self.metrics.registry, self.status, self.missing, routes(self))
        process = Process(self.app, redirect_stdouts=False, quiet=True)
        try:
            process.execute_from_commandline()
        finally:
            self.server.stop()
            self.threads.shutdown(wait=False, cancel_futures=True)

    @property
    def partitions(self) -> int:
        """Return the number of lane partitions."""
        return self.shared.partitions

    # What the consumer asks (streams.transport.Positions) ----------------------------------------------------------

    def is_ready(self, tp: TP) -> bool:
        """Return whether a partition is restored and works."""
        task = self.tasks.get(tp.partition)
        return task is not None and not task.stopped

    def next_offsets(self, assignment: Iterable[TP]) -> dict[TP, int]:
        """Return the offset to read on from, for every partition that is ready."""
        return {
            tp: self.tasks[tp.partition].state.positions[self.lane_of[tp.topic]] + 1
            for tp in assignment
            if tp.topic in self.lane_of and self.is_ready(tp)
        }

    def opened(self, partitions: Iterable[int], generation: int) -> None:
        """Accept records of this generation."""
        for partition in partitions:
            task = self.tasks[partition]
            task.intake.open(task.state, generation)
            for tp in [tp for tp in self.held if tp.partition == partition]:
                self.held.discard(tp)
                self.app.consumer.on_buffer_drop(tp)

    # Records in ----------------------------------------------------------------------------------------------------

    async def _feed(self, stream: Any) -> None:
        """Hand records to their tasks; never wait, or one partition would hold back all others of the lane."""
        async for event in stream.noack().events():
            message = event.message
            lane, partition = self.lane_of[message.topic], message.partition
            task = self.tasks.get(partition)
            if task is None or task.stopped:
                self.metrics.stale.inc()
                continue
            verdict = task.intake.offer(
                lane, message.offset, message.generation_id, (message.key, message.value), event
            )
            if verdict is Verdict.STALE:
                self.metrics.stale.inc()
            elif verdict is Verdict.GAP:
                self._stop_task(
                    task,
                    CloutError(
                        f"partition {partition} stopped: the sequence of a lane has a gap or a repeat",
                        detail=task.intake.gap,
                        hint="the lane lost or doubled records; nothing after that point was taken in",
                    ),
                )
            else:
                self.arrived[partition].set()
                self._hold(TP(message.topic, partition), task.intake.rows[lane])

    def _hold(self, tp: TP, rows: int) -> None:
        """Stop fetching a lane partition whose task has enough to do.

        Not by pausing it: Faust drops what it has fetched of a paused partition, and still hands over what it has
        fetched of one whose buffer is full.
        """
        if rows >= _BUFFERED_BATCHES_MAX * self.settings.batch_rows_max:
            self.held.add(tp)
            self.app.consumer.on_buffer_full(tp)

    def _let_go(self, task: Task) -> None:
        """Fetch again what was held back, once a batch's room is free."""
        free = (_BUFFERED_BATCHES_MAX - 1) * self.settings.batch_rows_max
        for tp in [tp for tp in self.held if tp.partition == task.partition]:
            if task.intake.rows[self.lane_of[tp.topic]] <= free:
                self.held.discard(tp)
                self.app.consumer.on_buffer_drop(tp)

    async def _work(self, task: Task) -> None:
        """Commit batch after batch while the task is ours."""
        settings, lock, intake = self.settings, self.busy[task.partition], task.intake
        arrived = self.arrived[task.partition]
        interval, last = settings.commit_interval_ms / 1000, 0.0
        while self.tasks.get(task.partition) is task and not task.stopped and not self.leaving:
            full = max(intake.rows.values()) >= settings.batch_rows_max
            wait = 0.0 if full else last + interval - time.monotonic()
            if wait > 0:
                await asyncio.sleep(min(wait, _TICK_SECONDS))
                continue
            async with lock:
                last = time.monotonic()
                batch = intake.take(
                    task.state,
                    task.source,
                    rows_max=settings.batch_rows_max,
                    own_in_flight_max=settings.own_records_in_flight_max,
                )
                self._let_go(task)
                if batch and not await self._commit(task, batch):
                    return
            took = time.monotonic() - last
            interval = min(
                max(settings.commit_interval_ms / 1000, took * _COMMIT_INTERVAL_SHARE), _COMMIT_INTERVAL_SECONDS_MAX
            )
            for accepted in batch:
                accepted.event.ack()
            if not batch:
                arrived.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(arrived.wait(), _IDLE_SECONDS)

    async def _commit(self, task: Task, batch: list[Any]) -> bool:
        """Return whether the task goes on."""
        try:
            await self._in_thread(task.commit, batch)
        except TaskLostError as error:
            await self._lose(task, str(error))
        except Exception as error:  # noqa: BLE001  whatever a fold raises must stop this partition, not the worker
            self._stop_task(task, error)
        else:
            return True
        return False

    async def _lose(self, task: Task, reason: str) -> None:
        """Drop the task's memory; come back through restore if the partition is still ours, but not at once."""
        _log.warning("task lost, will begin again", partition=task.partition, reason=reason)
        self.metrics.lost.inc()
        self.tasks.pop(task.partition, None)
        task.intake.close()
        self._pause(task.partition)
        await self._in_thread(task.close)
        self.metrics.set_partition_state(task.partition, "restoring")
        asyncio.get_running_loop().call_later(
            _REOPEN_HEARTBEATS * self.settings.heartbeat_interval_seconds, self._reopen, task.partition
        )

    def _stop_task(self, task: Task, error: Exception) -> None:
        """Stand still with the last good scores; a restarted worker resumes from the same record."""
        task.stopped = str(error)
        task.intake.close()
        self._pause(task.partition)
        self.metrics.set_partition_state(task.partition, "stopped")
        _log.error(
            "partition stopped",
            partition=task.partition,
            positions=task.state.positions,
            reason=str(error),
            exc_info=None if isinstance(error, CloutError) else error,
        )

    def _pause(self, partition: int) -> None:
        consumer = self.app.consumer
        consumer.pause_partitions({tp for tp in consumer.assignment() if tp.partition == partition})

    # Partitions come and go ----------------------------------------------------------------------------------------

    async def _revoked(self, _app: Any, _revoked: set[TP], **_: Any) -> None:
        """Accept nothing more at once; then wait for the commits in hand."""
        for task in self.tasks.values():
            task.intake.close()
        for partition in list(self.tasks):
            async with self.busy[partition]:
                pass
        for task in self.tasks.values():
            task.intake.close()

    async def _assigned(self, _app: Any, assigned: set[TP], **_: Any) -> None:
        """Close what went, start restoring what came, keep what stayed; never wait for a restore."""
        mine = {tp.partition for tp in assigned if tp.topic in self.lane_of}
        for partition in [p for p in self.tasks if p not in mine]:
            task = self.tasks.pop(partition)
            async with self.busy[partition]:
                await self._in_thread(task.close)
            self.metrics.set_partition_state(partition, None)
        for partition in [p for p in self.opening if p not in mine]:
            self.opening.pop(partition).stop_restore.set()
            self.metrics.set_partition_state(partition, None)
        for partition in [p for p in self.failed if p not in mine]:
            del self.failed[partition]
            self.metrics.set_partition_state(partition, None)
        for partition in sorted(mine - self.tasks.keys() - self.opening.keys() - self.failed.keys()):
            self._reopen(partition)
        _log.info(
            "assigned",
            partitions=sorted(mine),
            kept=sorted(self.tasks),
            generation=self.app.consumer_generation_id,
        )

    def _reopen(self, partition: int) -> None:
        if self.leaving or partition in self.tasks or partition in self.opening:
            return
        if any(tp.partition == partition for tp in self.app.consumer.assignment()) or not self.tasks:
            task = self.opening[partition] = Task(partition, self.shared)
            self.metrics.set_partition_state(partition, "restoring")
            self.app.loop.create_task(self._start(task))

    async def _start(self, task: Task) -> None:
        """Open and restore in the background, then let the partition flow from its own positions."""
        partition, begun = task.partition, time.monotonic()
        async with self.busy[partition]:
            problem: Exception | None = None
            restored: int | None = None
            try:
                restored = await self._in_thread(task.open)
            except Exception as error:  # noqa: BLE001  a partition that cannot open must not take the others down
                problem = error
            if self.opening.get(partition) is not task or restored is None or self.leaving:
                await self._in_thread(task.close)
                if self.opening.get(partition) is task:
                    del self.opening[partition]
                    self._could_not_open(partition, problem)
                return
            del self.opening[partition]
            self.arrived[partition] = asyncio.Event()
            self.tasks[partition] = task
        seconds = time.monotonic() - begun
        self.metrics.restores.inc()
        self.metrics.restore_records.inc(restored)
        self.metrics.restore_seconds.observe(seconds)
        self.metrics.set_partition_state(partition, "running")
        consumer = self.app.consumer
        offsets = self.next_offsets(tp for tp in consumer.assignment() if tp.partition == partition)
        generation = self.app.consumer_generation_id
        await consumer.seek_wait(offsets)
        if generation == self.app.consumer_generation_id and self.tasks.get(partition) is task:
            self.opened([partition], generation)
            consumer.resume_partitions(set(offsets))
        _log.info("partition ready", partition=partition, restored_records=restored, seconds=round(seconds, 2))
        self.app.loop.create_task(self._work(task))

    def _could_not_open(self, partition: int, problem: Exception | None) -> None:
        if isinstance(problem, KafkaException):
            _log.warning("partition could not open, will try again", partition=partition, reason=str(problem))
            asyncio.get_running_loop().call_later(
                _REOPEN_HEARTBEATS * self.settings.heartbeat_interval_seconds, self._reopen, partition
            )
        elif problem is not None:
            self.failed[partition] = str(problem)
            self.metrics.set_partition_state(partition, "stopped")
            _log.error(
                "partition refuses to start",
                partition=partition,
                reason=str(problem),
                exc_info=None if isinstance(problem, CloutError) else problem,
            )

    async def _shutdown(self, _app: Any, **_: Any) -> None:
        """Finish the commits in hand and close the stores."""
        self.leaving = True
        for task in self.opening.values():
            task.stop_restore.set()
        for task in self.tasks.values():
            task.intake.close()
        for partition, task in list(self.tasks.items()):
            async with self.busy[partition]:
                await self._in_thread(task.close)
        _log.info("left", partitions=sorted(self.tasks))

    async def _in_thread(self, function: Any, *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self.threads, function, *args)

    # What others ask -----------------------------------------------------------------------------------------------

    async def _observe_lag(self) -> None:
        for tp in [tp for tp in self.app.consumer.assignment() if tp.topic in self.lane_of]:
            self.read_to[tp] = await self.app.consumer.position(tp) or 0
        for partition, task in list(self.tasks.items()):
            for lane, lag in self._lag(partition, task).items():
                self.metrics.lag.labels(lane, str(partition)).set(lag)

    def _lag(self, partition: int, task: Task) -> dict[str, int]:
        lags = {}
        for topic, lane in self.lane_of.items():
            tp = TP(topic, partition)
            end, position = self.app.consumer.highwater(tp) or 0, task.state.positions[lane]
            # Control records take offsets too: what was read to the end and committed is not behind.
            done = self.read_to.get(tp, 0) >= end and task.intake.last_offset(lane) == position
            lags[lane] = 0 if done else max(0, end - position - 1)
        return lags

    def missing(self) -> str | None:
        """Return what keeps the worker from being ready: restores under way, partitions that stand still."""
        waiting = sorted(self.opening)
        standing = sorted({*self.failed, *(p for p, task in self.tasks.items() if task.stopped)})
        if waiting:
            return f"restoring partitions {waiting}"
        if standing:
            return f"partitions {standing} stand still; see /v1/status"
        return None if self.app.consumer.assignment() else "no partitions assigned"

    def status(self) -> dict[str, Any]:
        """Return what /v1/status shows."""
        partitions = []
        for partition in sorted({*self.tasks, *self.opening, *self.failed}):
            task = self.tasks.get(partition) or self.opening.get(partition)
            reason = self.failed.get(partition) or (task.stopped if task is not None else "")
            entry: dict[str, Any] = {
                "partition": partition,
                "state": "stopped" if reason else "running" if partition in self.tasks else "restoring",
                "reason": reason or None,
            }
            if partition in self.tasks and task is not None:
                state = task.state
                entry |= {
                    "positions": state.positions,
                    "lag_records": self._lag(partition, task),
                    "seen": state.seen,
                    "sent": {str(target): last for target, last in state.sent.items()},
                    "counters": state.counters,
                    "clocks": state.clocks,
                }
            partitions.append(entry)
        return {
            "role": "score",
            "pid": os.getpid(),
            "address": self.server.address,
            "version": self.version,
            "partitions": partitions,
        }
