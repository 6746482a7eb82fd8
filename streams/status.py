"""The documents that the roles answer `/v1/status` with."""

import msgspec


class LedgerStatus(msgspec.Struct, kw_only=True):
    """What a partition recognises when it comes again."""

    rows: int = 0
    """Events and retractions."""
    window_seconds: float = 0.0
    """Arrival time between the oldest and the newest: the effective window."""


class TaskStatus(msgspec.Struct, kw_only=True):
    """One owned partition of a worker."""

    partition: int
    state: str
    """`restoring`, `running` or `stopped`."""
    reason: str | None = None
    """Why it stopped."""
    positions: dict[str, int] = {}
    """Next offset of each lane."""
    lag_records: dict[str, int] = {}
    """Packed records of each lane that are not folded yet."""
    seen: dict[str, dict[str, int]] = {}
    """Last sequence taken in, by lane and source."""
    sent: dict[str, int] = {}
    """Last sequence written to each partition of the targets lane."""
    counters: dict[str, dict[str, int]] = {}
    """Rows by network and outcome."""
    clocks: dict[str, int] = {}
    """Clock of each network in milliseconds."""
    ledger: LedgerStatus = msgspec.field(default_factory=LedgerStatus)


class WorkerStatus(msgspec.Struct, kw_only=True):
    """A worker: the score role."""

    role: str
    pid: int
    address: str
    version: str = ""
    partitions: list[TaskStatus] = []


class FeedStatus(msgspec.Struct, kw_only=True):
    """One raw partition of an ingest process."""

    topic: str
    network: str
    partition: int
    position: int
    end: int
    lag_records: int
    sent: dict[str, int] = {}
    counters: dict[str, int] = {}


class IngestStatus(msgspec.Struct, kw_only=True):
    """An ingest process."""

    role: str
    pid: int
    address: str
    version: str = ""
    partitions: list[FeedStatus] = []
