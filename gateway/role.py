"""The gateway role: it follows the topics, and answers over HTTP at an address of its own.

Metrics, health and status are served apart from that, at the role's own address, as every role does.
"""

import os
import resource
import socket
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Event
from typing import Any, Final

import structlog
import uvicorn
from rocksdict import Cache
from starlette.types import ASGIApp

from gateway.access import Access
from gateway.api.stream import Abortable
from gateway.app import make_app
from gateway.backlog import Backlog
from gateway.bulletins import Bulletins
from gateway.columns import Columns
from gateway.connections import LimitedConnection
from gateway.context import Context
from gateway.erasing import Eraser
from gateway.feeds import READ_BACK_SECONDS
from gateway.live.cursor import tag_of
from gateway.live.hub import Hub
from gateway.metrics import GatewayMetrics
from gateway.middleware.safety import Safety
from gateway.operator import Operator
from gateway.read_model import ReadModel
from gateway.reader import Reader
from gateway.sender import Sender
from gateway.standing import World
from schemas.webhook import is_loopback
from streams import clients, topics
from streams.control_secrets import control_secrets
from streams.errors import CloutError
from streams.http import RoleServer
from streams.names import Names
from streams.process import set_up_garbage_collection
from streams.settings import (
    ControlSettings,
    GatewaySettings,
    HttpSettings,
    KafkaSettings,
    LaneSettings,
    NetworkSettings,
    VisibilitySettings,
)

_log = structlog.get_logger(__name__)

_START_SECONDS_MAX: Final = 10.0
_STOP_SECONDS: Final = 5.0
_SEND_BUFFER_BYTES: Final = 256 << 10
_FILES_BESIDE_STREAMS: Final = 1_000


class Gateway:
    """One gateway process."""

    def __init__(
        self,
        *,
        kafka: KafkaSettings,
        lanes: LaneSettings,
        networks: Mapping[str, NetworkSettings],
        model: str,
        settings: GatewaySettings,
        visibility: VisibilitySettings,
        control: ControlSettings,
        http: HttpSettings,
        data_dir: Path,
        slot: int,
        version: str,
    ) -> None:
        """Check the topics, open the read model and take the ports; `run` starts it."""
        require_keys(settings)
        names = Names(kafka.prefix, model)
        topics.require(kafka, topics.specification(names, lanes, dict(networks)))
        self._version = version
        self._socket = _listen(settings)
        self.address = "{}:{}".format(*self._socket.getsockname()[:2])
        self._server = RoleServer(http, "gateway", self.address)
        path = data_dir / "state" / names.gateway_id / f"gateway-{slot}"
        topic_id = topics.topic_id(clients.admin(kafka), names.changes)
        read_model, columns, world = ReadModel(path, topic_id, Cache(settings.cache_bytes)), Columns(networks), World()
        reader = Reader(kafka, names, lanes.partitions, read_model, columns)
        access = Access(visibility, settings.anonymous_scopes)
        metrics = GatewayMetrics()
        self.sender = Sender(kafka, names)
        self.context = Context(
            kafka,
            names,
            lanes.partitions,
            settings,
            read_model,
            columns,
            reader,
            world,
            access,
            metrics,
            networks,
            self.sender,
            Operator(kafka, names, lambda: control_secrets(control, data_dir)),
            Backlog(kafka, names, lanes.partitions, world),
        )
        place = [read_model.state.positions.get(partition, 0) for partition in range(lanes.partitions)]
        self.hub = Hub(tag_of(topic_id), place, access, metrics)
        self.eraser = Eraser(read_model)
        reader.listeners += [self.hub.offer, self.eraser.on_changes, lambda changes: metrics.changes.inc(len(changes))]
        metrics.follow(lambda: max(map(self.context.age_seconds, range(lanes.partitions))), lambda: len(columns.slots))
        self.bulletins = Bulletins(
            kafka,
            f"{names.gateway_id}-bulletins",
            {
                names.population: world.on_population,
                names.incidents: world.on_incident,
                names.access: access.on_record,
                names.incident_users: world.listed.on_users,
                names.feeds: world.feeds.on_report,
                names.control_record: world.feeds.on_command,
            },
            {names.feeds: READ_BACK_SECONDS},
        )
        access.is_told, access.missing = self.bulletins.is_level, self.missing
        self._stop = Event()
        self._failed: list[BaseException] = []

    def missing(self) -> str | None:
        """Return what is still missing before this gateway should be asked; None when nothing is."""
        if not self.bulletins.is_level():
            return "the population and the incidents are not read to their end yet"
        if not self.context.reader.is_level():
            return "the score changes are not read to their end yet"
        return None

    def status(self) -> dict[str, Any]:
        """Return what /v1/status says."""
        state = self.context.model.state
        return {
            "role": "gateway",
            "pid": os.getpid(),
            "address": self._server.address,
            "public_address": self.address,
            "version": self._version,
            "users": len(self.context.columns.slots),
            "positions": {str(at): position for at, position in sorted(state.positions.items())},
            "ready": self.missing() is None,
        }

    def run(self) -> None:
        """Work until told to stop, or until something that it needs fails."""
        allow_open_files(self.context.settings.streams_max + _FILES_BESIDE_STREAMS)
        self.context.reader.load()
        set_up_garbage_collection()
        app = Safety(make_app(self.context, self.hub, self._version), self.context.settings.cors_origins)
        public = _PublicServer(app, self.hub, self._socket)
        # Whoever listens must be there before the first change is read.
        public.start()
        threads = [
            self._thread("bulletins", lambda: self.bulletins.run(self._stop)),
            self._thread("changes", lambda: self.context.reader.run(self._stop)),
            self._thread("eraser", lambda: self.eraser.run(self._stop)),
            self._thread("sender", lambda: self.sender.run(self._stop)),
            self._thread("backlog", lambda: self.context.backlog.run(self._stop)),
        ]
        self._server.start(self.context.metrics.registry, self.status, self.missing)
        _log.info("the gateway listens", address=self.address)
        try:
            self._stop.wait()
        finally:
            self._stop.set()
            public.stop()
            for thread in threads:
                thread.join(_STOP_SECONDS)
            self.context.model.close()
            self._server.stop()
        if self._failed:
            raise self._failed[0]

    def stop(self) -> None:
        """Tell it to end; any thread may."""
        self._stop.set()

    def _thread(self, name: str, work: Callable[[], None]) -> threading.Thread:
        def guarded() -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001  a gateway that no longer follows must not go on answering
                self._failed.append(error)
                self._stop.set()

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        thread.start()
        return thread


class _PublicServer:
    """Uvicorn in a thread of its own, at the gateway's own address."""

    def __init__(self, app: ASGIApp, hub: Hub, listening: socket.socket) -> None:
        self._hub = hub
        config = uvicorn.Config(
            Abortable(app),
            http=LimitedConnection,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._socket = listening
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [listening]}, name="public", daemon=True
        )

    def start(self) -> None:
        """Serve; return when it does."""
        self._thread.start()
        deadline = time.monotonic() + _START_SECONDS_MAX
        while not self._server.started and time.monotonic() < deadline:
            time.sleep(0.01)

    def stop(self) -> None:
        """Send the streams elsewhere and stop serving."""
        self._hub.end()
        self._server.should_exit = True
        self._thread.join(_STOP_SECONDS)
        self._socket.close()


def require_keys(settings: GatewaySettings) -> None:
    """Raise `CloutError` where anybody on a network could ask without a key."""
    if settings.anonymous_scopes and not is_loopback(settings.host):
        raise CloutError(
            f"a gateway at {settings.host} needs API keys",
            detail=f"gateway.anonymous_scopes lets anybody {', '.join(settings.anonymous_scopes)}",
            hint="take it out and make keys with `clout key create`, or let it listen on 127.0.0.1",
        )


def _listen(settings: GatewaySettings) -> socket.socket:
    try:
        listening = socket.create_server((settings.host, settings.port), backlog=2_048)
    except OSError as error:
        raise CloutError(
            f"the gateway's port {settings.host}:{settings.port} cannot be had",
            detail=str(error),
            hint="choose another with gateway.port, or 0 for a free one",
        ) from error
    # Connections inherit it. Left to itself Linux keeps up to 4 MB for one that takes nothing.
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
    return listening


def allow_open_files(count: int) -> None:
    """Let this process have so many files and connections open, or as many as the system lets it.

    What a shell allows by itself, often 1,024, is fewer than the streams that a gateway can have.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    least = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < least:
        resource.setrlimit(resource.RLIMIT_NOFILE, (least, hard))
    if least < count:
        _log.warning("there may be fewer connections than gateway.streams_max says", open_files_max=hard, wanted=count)
