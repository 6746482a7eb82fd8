"""The HTTP server that every role runs: metrics, health, status, and what the role adds.

It runs uvicorn in a thread of its own, so that a busy role still answers.
"""

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from streams.errors import CloutError
from streams.settings import HttpSettings

_START_SECONDS_MAX = 10.0


class RoleServer:
    """A role's HTTP server; its address is known before it starts."""

    def __init__(self, settings: HttpSettings, role: str, public_address: str = "") -> None:
        """Take the port; `public_address` is where the role serves others, if it does."""
        self.role, self.public_address = role, public_address
        try:
            self._socket = socket.create_server((settings.host, settings.port))
        except OSError as error:
            raise CloutError(
                f"the HTTP port {settings.host}:{settings.port} cannot be had",
                detail=str(error),
                hint="choose another with http.port, or 0 for a free one",
            ) from error
        self.address = f"{settings.advertised_host or settings.host}:{self._socket.getsockname()[1]}"
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    def start(
        self,
        registry: CollectorRegistry,
        status: Callable[[], dict[str, Any]],
        ready: Callable[[], str | None],
        routes: Sequence[Route] = (),
    ) -> None:
        """Serve; `ready` returns None or what is still missing, `status` the answer of /v1/status."""

        async def live(_: Request) -> Response:
            return PlainTextResponse("live\n")

        async def readiness(_: Request) -> Response:
            missing = ready()
            return PlainTextResponse(f"{missing or 'ready'}\n", status_code=503 if missing else 200)

        def show_metrics(_: Request) -> Response:
            return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

        def show_status(_: Request) -> Response:
            return JSONResponse(status())

        app = Starlette(
            routes=[
                Route("/livez", live),
                Route("/readyz", readiness),
                Route("/v1/status", show_status),
                *routes,
                Route("/metrics", show_metrics),
            ]
        )
        config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name="http", daemon=True
        )
        self._thread.start()
        deadline = time.monotonic() + _START_SECONDS_MAX
        while not self._server.started and time.monotonic() < deadline:
            time.sleep(0.01)
        announce(self.role, self.address, self.public_address)

    def stop(self) -> None:
        """Stop serving."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(timeout=3)
        self._socket.close()


def announce(role: str, address: str, public_address: str = "") -> None:
    """Tell a supervisor where this role listens, if one asked through CLOUT_RUN_FILE."""
    name = os.environ.get("CLOUT_RUN_FILE")
    if name:
        path = Path(name)
        draft = path.with_suffix(".new")
        found = {"role": role, "pid": os.getpid(), "address": address}
        draft.write_text(json.dumps(found | ({"public_address": public_address} if public_address else {})))
        draft.replace(path)
