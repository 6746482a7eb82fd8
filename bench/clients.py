"""Clients of a gateway, many in one process, as cheap as Python has them: they share the cores with what is measured.

Reads what to do from the first line of standard input, as JSON; writes a line when all are connected, goes on until
standard input ends, and then writes what came, as JSON.
"""

import asyncio
import re
import sys
import time
from collections.abc import Callable
from typing import Final, cast

import msgspec
import numpy as np
import uvloop

from bench.changes import user_id

_CHANGE: Final = re.compile(rb'event: change\n.*?"reference":"(\d+)"', re.DOTALL)
_LENGTH: Final = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)
_CONNECTING_MAX: Final = 50


class Job(msgspec.Struct):
    """What to do: listen to changes, or ask for scores, each connection again as soon as it has its answer."""

    host: str
    port: int
    connections: int
    users: int
    """Of whom scores are asked, or to whom is listened."""
    listen_to: int = 0
    """Users of each stream; 0 listens to everybody."""
    asks: bool = False


class Came(msgspec.Struct):
    """What came."""

    count: int
    latency_ms: dict[str, float]
    """p50 and p99."""
    closed: int
    """Connections that ended before they were to."""


class Clients:
    """All connections, and what came over them."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.count = self.closed = 0
        self.latencies: list[float] = []
        self.slots = asyncio.Semaphore(_CONNECTING_MAX)

    async def connect(self, number: int) -> asyncio.Transport:
        """Connect one, and return when it is served."""
        job, loop = self.job, asyncio.get_running_loop()
        async with self.slots:
            served = loop.create_future()
            made: Callable[[], _Asking | _Listening] = (
                (lambda: _Asking(self, number, served)) if job.asks else (lambda: _Listening(self, number, served))
            )
            transport, _ = await loop.create_connection(made, job.host, job.port)
            await served
        return transport


class _Listening(asyncio.Protocol):
    """One stream."""

    def __init__(self, all_: Clients, number: int, served: asyncio.Future[None]) -> None:
        self._all, self._number, self._served = all_, number, served

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        job = self._all.job
        users = (user_id((self._number * job.listen_to + at) % job.users) for at in range(job.listen_to))
        query = "&".join(f"user={user}" for user in users)
        cast("asyncio.Transport", transport).write(
            f"GET /v1/scores/stream?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        if not self._served.done():
            if not data.startswith(b"HTTP/1.1 200"):
                raise SystemExit(data.decode())
            self._served.set_result(None)
        now = time.time() * 1e6
        # What is cut in two by the socket is not counted: a few in a thousand where pieces are large.
        for reference in _CHANGE.findall(data):
            self._all.count += 1
            self._all.latencies.append(now - int(reference))

    def connection_lost(self, _: Exception | None) -> None:
        self._all.closed += 1


class _Asking(asyncio.Protocol):
    """One connection that asks for a score after the other."""

    def __init__(self, all_: Clients, number: int, served: asyncio.Future[None]) -> None:
        self._all, self._served = all_, served
        self._chance = np.random.default_rng(number).integers(0, all_.job.users, 100_000).tolist()
        self._asked, self._at, self._came = 0, 0.0, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._ask()

    def _ask(self) -> None:
        user = user_id(self._chance[self._asked % len(self._chance)])
        self._asked += 1
        self._at = time.perf_counter()
        self._transport.write(f"GET /v1/scores/{user} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())

    def data_received(self, data: bytes) -> None:
        self._came += data
        head, end, body = self._came.partition(b"\r\n\r\n")
        length = _LENGTH.search(head + b"\r\n")
        if not end or length is None or len(body) < int(length[1]):
            return
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(self._came.decode())
        self._came = b""
        self._all.count += 1
        self._all.latencies.append((time.perf_counter() - self._at) * 1e6)
        if not self._served.done():
            self._served.set_result(None)
        self._ask()

    def connection_lost(self, _: Exception | None) -> None:
        self._all.closed += 1


async def run() -> None:
    """Connect all, go on until told to end, and say what came."""
    all_ = Clients(msgspec.json.decode(sys.stdin.buffer.readline(), type=Job))
    loop = asyncio.get_running_loop()
    await asyncio.gather(*(all_.connect(number) for number in range(all_.job.connections)))
    _say(b"connected")
    # A line begins the measured stretch; the end of the input ends it.
    await loop.run_in_executor(None, sys.stdin.buffer.readline)
    all_.count, all_.latencies = 0, []
    await loop.run_in_executor(None, sys.stdin.buffer.read)
    p50, p99 = np.percentile(all_.latencies or [0.0], (50, 99)) / 1000
    _say(msgspec.json.encode(Came(all_.count, {"p50": float(p50), "p99": float(p99)}, all_.closed)))


def _say(line: bytes) -> None:
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    uvloop.run(run())
