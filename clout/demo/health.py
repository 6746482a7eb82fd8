"""What the demonstration shows of the machinery: its roles, their lag and their counts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import httpx
import msgspec

from clout.supervisor import RoleState
from streams.feed_position import CONTROL
from streams.status import IngestStatus, WorkerStatus

HTTP_TIMEOUT_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Health:
    """A look at the roles."""

    read: int
    """Events and heartbeats taken in by ingest."""
    applied: int
    self_: int
    dead_lettered: int
    lag_records: int | None
    """Raw and packed records that wait; None while not all workers tell."""
    partitions_running: int
    roles: Sequence[RoleState]
    opened: frozenset[str] = frozenset()
    """Incidents that the guard has told of since the beginning."""
    open: frozenset[str] = frozenset()
    """Those of them that are not resolved."""
    frozen: tuple[str, ...] = ()
    """Networks of which nothing is read."""


class _Told(msgspec.Struct):
    id: str


class _GuardStatus(msgspec.Struct):
    incidents: list[_Told]


class HealthReader:
    """Asks the roles of this machine how they are."""

    def __init__(self, partitions: int) -> None:
        """Keep one connection a role; `partitions` are to be told of."""
        self._partitions = partitions
        self._http = httpx.Client(timeout=HTTP_TIMEOUT_SECONDS)
        self._known: Health | None = None

    def read(self, roles: Sequence[RoleState]) -> Health:
        """Ask every role that listens; counts that one does not tell, as while it starts, stay as they were."""
        ingests, workers, told = [], [], set[str]()
        for role in roles:
            if role.address is None:
                continue
            try:
                answer = self._http.get(f"http://{role.address}/v1/status").raise_for_status().content
                if role.role == "ingest":
                    ingests.append(msgspec.json.decode(answer, type=IngestStatus))
                elif role.role == "guard":
                    told |= {of.id for of in msgspec.json.decode(answer, type=_GuardStatus).incidents}
                else:
                    workers.append(msgspec.json.decode(answer, type=WorkerStatus))
            except (httpx.HTTPError, msgspec.DecodeError):
                continue
        feeds = [feed for ingest in ingests for feed in ingest.partitions if feed.network != CONTROL]
        tasks = [task for worker in workers for task in worker.partitions]
        by_network = [counters for task in tasks for counters in task.counters.values()]
        waiting = [feed.lag_records for feed in feeds] + [lag for task in tasks for lag in task.lag_records.values()]
        health = Health(
            read=sum(feed.counters.get("read", 0) for feed in feeds),
            applied=sum(counters.get("applied", 0) for counters in by_network),
            self_=sum(counters.get("self", 0) for counters in by_network),
            dead_lettered=sum(feed.counters.get("dead_lettered", 0) for feed in feeds),
            lag_records=sum(waiting) if len({task.partition for task in tasks}) == self._partitions else None,
            partitions_running=sum(task.state == "running" for task in tasks),
            roles=roles,
            opened=frozenset(told),
            open=frozenset(told),
            frozen=tuple(sorted({network for ingest in ingests for network in ingest.frozen})),
        )
        self._known = kept(self._known, health)
        return self._known


def kept(known: Health | None, health: Health) -> Health:
    """Return a look whose counts, which only grow, are not less than what was known.

    >>> before, restarting = Health(9, 8, 1, 0, 3, 4, ()), Health(10, 0, 0, 0, 7, 0, ())
    >>> known = kept(before, restarting)
    >>> known.read, known.applied, known.self_, known.lag_records, known.partitions_running
    (10, 8, 1, 7, 0)
    """
    if known is None:
        return health
    return replace(
        health,
        read=max(known.read, health.read),
        applied=max(known.applied, health.applied),
        self_=max(known.self_, health.self_),
        dead_lettered=max(known.dead_lettered, health.dead_lettered),
        opened=known.opened | health.opened,
    )
