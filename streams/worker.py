"""The score role: both stages in a Faust worker, one task a partition.

Faust carries membership, assignment, agents and timers; it hands lane records over and otherwise stays out of the
way.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

from faust.types import TP
from rocksdict import Cache

from scorer.model import Model
from streams import topics
from streams.discovery import client_id
from streams.errors import CloutError
from streams.faust_options import faust_broker_options
from streams.flow import Flow
from streams.http import RoleServer
from streams.intake import Verdict
from streams.looks import look_routes
from streams.metrics import WorkerMetrics
from streams.names import Names
from streams.opening import Shared
from streams.partitions import Partitions
from streams.planting import fault_routes
from streams.process import set_up_garbage_collection
from streams.queries import routes
from streams.settings import HttpSettings, KafkaSettings, LaneSettings, NetworkSettings, WorkerSettings
from streams.task_state import ACTORS, TARGETS
from streams.transport import App, Process, make_transport
from streams.warm_up import load_stages
from streams.worker_status import WorkerStatus

_BUFFERED_BATCHES_MAX: Final = 2
"""Batches of a lane that wait in a task before the lane partition is no longer fetched."""
_METADATA_AGE_MS: Final = 5_000
"""A broker that was only just started may know no topics: then nobody is assigned a partition until the next look."""
_STREAM_BUFFER_RECORDS: Final = 32
_FETCH_BYTES_MAX: Final = 4 << 20
_OBSERVE_SECONDS: Final = 1.0


class Worker:
    """One worker process."""

    def __init__(
        self,
        *,
        kafka: KafkaSettings,
        lanes: LaneSettings,
        networks: Mapping[str, NetworkSettings],
        model: Model,
        settings: WorkerSettings,
        hash_key: bytes,
        http: HttpSettings,
        data_dir: Path,
        slot: int,
        version: str,
    ) -> None:
        """Check the topics and put everything together; `run` starts it."""
        names = Names(kafka.prefix, model.name)
        topics.require(kafka, topics.specification(names, lanes, dict(networks)))
        directory = data_dir / "state" / names.app_id / f"worker-{slot}"
        directory.mkdir(parents=True, exist_ok=True)
        self._server = RoleServer(http, "score")
        self.shared = Shared(
            kafka=kafka,
            names=names,
            networks=networks,
            model=model,
            settings=settings,
            hash_key=hash_key,
            partitions=lanes.partitions,
            directory=directory,
            cache=Cache(settings.cache_bytes),
            metrics=WorkerMetrics(networks, lanes.partitions),
            address=self._server.address,
        )
        self._lane_of = {names.actors_lane: ACTORS, names.targets_lane: TARGETS}
        self._flow = Flow(lambda: self._app.consumer, self._lane_of, _BUFFERED_BATCHES_MAX * settings.batch_rows_max)
        self._partitions = Partitions(self.shared, self._flow)
        self._status = WorkerStatus(self._partitions, self._lane_of, self._server.address, version)
        self._app = self._make_app()

    def _make_app(self) -> App:
        shared, settings = self.shared, self.shared.settings
        app = App(
            shared.names.app_id,
            **faust_broker_options(shared.kafka),
            broker_client_id=client_id("score", self._server.address),
            store="memory://",
            datadir=str(shared.directory / "faust"),
            topic_allow_declare=False,
            topic_disable_leader=True,
            topic_partitions=shared.partitions,
            web_enabled=False,
            consumer_auto_offset_reset="earliest",
            consumer_max_fetch_size=_FETCH_BYTES_MAX,
            consumer_metadata_max_age_ms=_METADATA_AGE_MS,
            stream_buffer_maxsize=_STREAM_BUFFER_RECORDS,
            stream_wait_empty=False,
            stream_recovery_delay=0.0,
            broker_session_timeout=float(settings.session_timeout_seconds),
            broker_heartbeat_interval=float(settings.heartbeat_interval_seconds),
            # Without standby replicas Faust falls back to an assignor that does not keep the lanes together.
            table_standby_replicas=1,
        )
        app.transport_class = make_transport(lambda: self._partitions)
        raw: dict[str, Any] = {
            "key_type": bytes,
            "value_type": bytes,
            "key_serializer": "raw",
            "value_serializer": "raw",
        }
        for topic, lane in self._lane_of.items():
            app.agent(app.topic(topic, **raw), name=f"clout.{lane}", concurrency=1)(self._feed)
        app.on_partitions_revoked.connect(cast("Any", self._revoked), weak=False)
        app.on_partitions_assigned.connect(cast("Any", self._assigned), weak=False)
        app.on_before_shutdown.connect(cast("Any", self._leave), weak=False)
        app.task(self._observe)
        return app

    def run(self) -> None:
        """Work until told to stop; SIGTERM finishes the batch in hand, commits and leaves."""
        # Faust names the loggers of its services after the module that subclasses them.
        logging.getLogger(App.__module__).setLevel(logging.getLogger("faust").level)
        load_stages(self.shared.model)
        set_up_garbage_collection()
        status = self._status
        self._server.start(
            self.shared.metrics.registry,
            status.document,
            status.missing,
            [
                *routes(self._partitions.tasks, self.shared.partitions),
                *look_routes(self._partitions.tasks, self.shared.partitions),
                *fault_routes(self.shared.partitions),
            ],
        )
        try:
            Process(self._app).execute_from_commandline()
        finally:
            self._server.stop()

    async def _feed(self, stream: Any) -> None:
        """Hand records to their tasks; never wait, or one partition would hold back all others of the lane."""
        async for event in stream.noack().events():
            message = event.message
            lane, partition = self._lane_of[message.topic], message.partition
            task = self._partitions.tasks.get(partition)
            if task is None or task.stopped:
                self.shared.metrics.stale.inc()
                continue
            content = (message.key, message.value)
            verdict = task.intake.offer(lane, message.offset, message.generation_id, content, event)
            if verdict is Verdict.ACCEPTED:
                self._partitions.wake(partition)
                self._flow.hold(TP(message.topic, partition), task.intake.rows[lane])
            elif verdict is Verdict.STALE:
                self.shared.metrics.stale.inc()
            else:
                problem = CloutError(
                    f"partition {partition} stopped: the sequence of a lane has a gap or a repeat",
                    detail=task.intake.gap,
                    hint="nothing from there on was taken in; bring the lane's records back, or, if ingest's committed "
                    "offsets were lost and its numbers began anew, begin under another kafka.prefix",
                )
                self._partitions.stop(task, problem)

    async def _revoked(self, _app: Any, _revoked: set[TP], **_: Any) -> None:
        await self._partitions.revoked()

    async def _assigned(self, _app: Any, assigned: set[TP], **_: Any) -> None:
        mine = {tp.partition for tp in assigned if tp.topic in self._lane_of}
        await self._partitions.assigned(mine, self._app.consumer_generation_id)

    async def _leave(self, _app: Any, **_: Any) -> None:
        await self._partitions.leave()

    async def _observe(self) -> None:
        while not self._app.should_stop:
            await self._status.observe(self._app.consumer)
            await self._app.sleep(_OBSERVE_SECONDS)
