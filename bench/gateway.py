"""The gateway measured: reading changes in, handing them to streams, and answering for single scores."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from bench.changes import Changes, hidden, produce
from bench.clients import Came, Job
from bench.figures import Figure, quantiles_between
from bench.paced_changes import Pace
from bench.site import Installation, Role, Site, until
from bench.usage import Usage, by_kind

Counted = TypeVar("Counted")
ROOT: Final = Path(__file__).resolve().parents[1]
_SETTLE_SECONDS: Final = 2.0
_UP_SECONDS: Final = 120.0
_READ_SECONDS_MAX: Final = 300.0


@dataclass(frozen=True, slots=True)
class GatewaySizes:
    """How much is measured."""

    users: int = 100_000
    changes: int = 300_000
    """Read in at once."""
    seconds: float = 10.0
    """Of a stretch with clients."""
    changes_per_second: int = 2_100
    streams: int = 2_000
    stream_users: int = 10
    """Users of each stream; each user that is listened to changes once a second."""
    streams_of_all: int = 10
    """Streams that are about everybody."""
    connections: int = 16
    """That ask for scores."""


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway that runs, and how much is asked of it."""

    installation: Installation
    role: Role
    sizes: GatewaySizes

    def positions(self) -> int:
        """Return how far it has read, over all partitions."""
        return int(sum(json.loads(self.role.get("/v1/status"))["positions"].values()))

    def deliveries(self) -> float:
        """Return how many changes it has handed to streams."""
        return sum(self.role.metric("^clout_gateway_deliveries_total").values())

    def handed(self) -> dict[str, float]:
        """Return the histogram of how long changes took until they were handed to streams."""
        return self.role.metric("^clout_gateway_change_to_streams_seconds_bucket")


@contextmanager
def gateway(site: Site, sizes: GatewaySizes) -> Iterator[Gateway]:
    """Run a gateway that knows all users."""
    with site.installation("gateway") as installation:
        with installation.config.open("a", encoding="utf-8") as config:
            config.write('[gateway]\nport = 0\nanonymous_scopes = ["read", "stream"]\n')
        partitions = installation.settings.lanes.partitions
        with hidden(installation) as producer:
            for change in Changes(sizes.users, partitions, 1).of_everyone():
                produce(producer, installation.names.changes, change)
        with installation.role("serve") as role:
            role.wait_until_up(_UP_SECONDS)
            yield Gateway(installation, role, sizes)


def measure(site: Site, sizes: GatewaySizes) -> Iterator[Figure]:
    """Yield all figures."""
    with gateway(site, sizes) as running:
        yield from reading(running)
        yield from listening(running, sizes.streams, sizes.stream_users)
        yield from listening(running, sizes.streams_of_all, 0)
        yield from asking(running, 0)
        yield from asking(running, sizes.changes_per_second)
        yield Figure("gateway", f"{sizes.users:,} users", running.role.usage().resident_mb, "MB resident")


def reading(running: Gateway) -> Iterator[Figure]:
    """Read in what is there all at once."""
    sizes, installation = running.sizes, running.installation
    changes = Changes(sizes.users, installation.settings.lanes.partitions, 2, 1).at_random()
    before_ends = running.positions()
    with hidden(installation) as producer:
        for change in islice(changes, sizes.changes):
            produce(producer, installation.names.changes, change)
        producer.flush(120)
        before = running.role.usage()
    begun = time.monotonic()
    until(lambda: running.positions() - before_ends >= sizes.changes, _READ_SECONDS_MAX, "the gateway reads all")
    after = running.role.usage()
    load = f"{sizes.changes:,} changes at once"
    yield Figure("gateway, reading in", load, sizes.changes / (after.at_seconds - begun), "changes/s")
    yield _cpu("gateway, reading in", load, before, after, sizes.changes, "change")


def listening(running: Gateway, streams: int, stream_users: int) -> Iterator[Figure]:
    """Changes come at a steady rate, and go to streams: of some users each, or of everybody."""
    sizes = running.sizes
    listened = sizes.changes_per_second if stream_users else sizes.users
    whom = f"{stream_users} users" if stream_users else "everybody"
    load = f"{streams:,} streams of {whom}, {sizes.changes_per_second:,} changes/s"
    with ExitStack() as stack:
        clients = stack.enter_context(_clients(running, Job("", 0, streams, listened, stream_users)))
        stack.enter_context(_paced(running, listened, sizes.changes_per_second))
        handed = running.handed
        before, after, counts = _stretch(running, clients, lambda: (running.deliveries(), handed()))
        came = _came(clients)
    (count_before, handed_before), (count_after, handed_after) = counts
    count = count_after - count_before
    seconds = after.at_seconds - before.at_seconds
    note = f"{came.count:,} of {count:,.0f} seen by clients, {came.closed} streams closed"
    yield Figure("gateway, streams", load, count / seconds, "deliveries/s", note)
    yield _cpu("gateway, streams", load, before, after, count, "delivery")
    share = (after.cpu_seconds - before.cpu_seconds) / seconds * 100
    waited = (after.waited_seconds - before.waited_seconds) / seconds * 100
    yield Figure("gateway, streams", load, share, "% of a core", f"its threads waited {waited:.0f} % for a core")
    for name, value in came.latency_ms.items():
        yield Figure(f"gateway, change to subscriber, {name}", load, value / 1000, "s")
    for name, value in quantiles_between(handed_before, handed_after).items():
        # The rest of the way is the sending, and the listening process that has to take its turns.
        yield Figure(f"gateway, change to streams, {name}", load, value, "s", "by the gateway's own histogram")


def asking(running: Gateway, changes_per_second: int) -> Iterator[Figure]:
    """Ask for single scores as fast as they come, while changes come or not."""
    sizes = running.sizes
    load = f"{sizes.connections} connections, {changes_per_second:,} changes/s"
    with ExitStack() as stack:
        clients = stack.enter_context(_clients(running, Job("", 0, sizes.connections, sizes.users, asks=True)))
        if changes_per_second:
            stack.enter_context(_paced(running, sizes.users, changes_per_second))
        before, after, _ = _stretch(running, clients, lambda: None)
        came = _came(clients)
    cpu = after.cpu_seconds - before.cpu_seconds
    yield Figure("gateway, one score", load, came.count / (after.at_seconds - before.at_seconds), "requests/s")
    yield _cpu("gateway, one score", load, before, after, came.count, "request")
    yield Figure("gateway, one score", load, came.count / cpu, "requests/s a core")
    for name, value in came.latency_ms.items():
        yield Figure(f"gateway, one score, {name}", load, value / 1000, "s")


@contextmanager
def _clients(running: Gateway, job: Job) -> Iterator[subprocess.Popen[bytes]]:
    """Run clients; they are connected."""
    job.host, _, port = json.loads(running.role.get("/v1/status"))["public_address"].partition(":")
    job.port = int(port)
    command = [sys.executable, "-m", "bench.clients"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as process:  # noqa: S603
        assert process.stdin is not None  # noqa: S101  for mypy
        assert process.stdout is not None  # noqa: S101  for mypy
        try:
            process.stdin.write(msgspec.json.encode(job) + b"\n")
            process.stdin.flush()
            if process.stdout.readline() != b"connected\n":
                raise RuntimeError("the clients cannot connect")
            yield process
        finally:
            process.kill()


def _came(clients: "subprocess.Popen[bytes]") -> Came:
    assert clients.stdin is not None  # noqa: S101  for mypy
    assert clients.stdout is not None  # noqa: S101  for mypy
    clients.stdin.close()
    return msgspec.json.decode(clients.stdout.readline(), type=Came)


@contextmanager
def _paced(running: Gateway, users: int, changes_per_second: int) -> Iterator[None]:
    """Let changes come while this is entered."""
    installation, seconds = running.installation, running.sizes.seconds + 2 * _SETTLE_SECONDS
    sequence = 10 * time.time_ns() // 1_000_000_000
    partitions = installation.settings.lanes.partitions
    topic, broker = installation.names.changes, installation.kafka.broker
    pace = Pace(broker, topic, partitions, users, sequence, changes_per_second, seconds)
    with subprocess.Popen([sys.executable, "-m", "bench.paced_changes"], stdin=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdin is not None  # noqa: S101  for mypy
        process.stdin.write(msgspec.json.encode(pace))
        process.stdin.close()
        try:
            yield
        finally:
            process.kill()


def _stretch(
    running: Gateway, clients: "subprocess.Popen[bytes]", counted: Callable[[], Counted]
) -> tuple[Usage, Usage, tuple[Counted, Counted]]:
    """Return what the gateway has used before and after a stretch, and what was counted then."""
    assert clients.stdin is not None  # noqa: S101  for mypy
    time.sleep(_SETTLE_SECONDS)
    first = counted()
    clients.stdin.write(b"begin\n")
    clients.stdin.flush()
    before = running.role.usage()
    time.sleep(running.sizes.seconds)
    after = running.role.usage()
    return before, after, (first, counted())


def _cpu(measure: str, load: str, before: Usage, after: Usage, count: float, of: str) -> Figure:
    value = (after.cpu_seconds - before.cpu_seconds) / max(1.0, count) * 1e6
    return Figure(measure, load, value, f"CPU µs/{of}", by_kind(before, after, round(max(1.0, count))))
