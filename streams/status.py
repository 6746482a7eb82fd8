"""The documents that the roles answer `/v1/status` with."""

from typing import Literal

import msgspec

TaskState = Literal["restoring", "running", "stopped"]


class LedgerStatus(msgspec.Struct, kw_only=True):
    """What a partition recognises when it comes again."""

    rows: int = 0
    """Events and retractions."""
    window_seconds: float = 0.0
    """Arrival time between the oldest and the newest: the effective window."""
    begins_ms: int | None = None
    """Arrival of the oldest, where older ones have expired; None: it holds all that ever came."""


class OrderedStatus(msgspec.Struct, kw_only=True):
    """What became of the events that the latest order to take some back named."""

    epoch: int = -1
    """The order's offset in the control topic; -1 before the first one."""
    counters: dict[str, int] = {}
    """Events by outcome."""


class InputStatus(msgspec.Struct, kw_only=True):
    """An input that a network's clock waits for."""

    name: str
    """`raw partition 3`, or `source west`."""
    time_ms: int | None = None
    """How far it is; None when nothing was ever heard of it."""
    arrival_ms: int | None = None
    """When a raw partition was last heard."""
    raw_partition: int | None = None
    """Of a source: where it is so far behind, if it is not everywhere."""


class InputsStatus(msgspec.Struct, kw_only=True):
    """The inputs of a network, as the actors stage of a partition knows them."""

    clock_ms: int | None = None
    """The clock that it told the targets stage; None before it had one."""
    furthest_ms: int | None = None
    """The newest time heard of any input."""
    waits_for: list[InputStatus] = []
    """What the clock waits for, the furthest behind first; of many the first few."""
    heartbeats_ms: dict[str, int] = {}
    """Last heartbeat of each registered source, wherever it came in."""
    released: list[str] = []
    """Sources that an operator has released: the clock does not wait for them."""


class TaskStatus(msgspec.Struct, kw_only=True):
    """One owned partition of a worker."""

    partition: int
    state: TaskState
    reason: str | None = None
    """Why it stopped."""
    positions: dict[str, int] = {}
    """Offset of the last record taken in, by lane."""
    lag_records: dict[str, int] = {}
    """Packed records of each lane that are not folded yet."""
    seen: dict[str, dict[str, int]] = {}
    """Last sequence taken in, by lane and source."""
    sent: dict[str, int] = {}
    """Last sequence written to each partition of the targets lane."""
    counters: dict[str, dict[str, int]] = {}
    """Rows by network and outcome."""
    due: bool = False
    """Whether there may be users whose time has come and who were not looked at yet."""
    clocks: dict[str, int] = {}
    """Clock of each network in milliseconds, by which the targets stage takes scores."""
    told_ms: dict[str, dict[int, int]] = {}
    """By network and partition: the clock that each one's actors stage told the targets stage."""
    inputs: dict[str, InputsStatus] = {}
    """By network: what the clock of the actors stage waits for."""
    ledger: LedgerStatus = msgspec.field(default_factory=LedgerStatus)
    ordered: OrderedStatus = msgspec.field(default_factory=OrderedStatus)


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
    frozen: bool = False
    """Whether nothing of it is read, because its network is frozen."""
    sent: dict[str, int] = {}
    counters: dict[str, int] = {}


class FreezeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Why a network is frozen."""

    since: str
    """When the order arrived."""
    reason: str = ""
    incident: str = ""
    """The incident that it was ordered for; empty if for none."""
    epoch: int = 0
    """Number of the latest such order in the control topic."""


class IngestStatus(msgspec.Struct, kw_only=True):
    """An ingest process."""

    role: str
    pid: int
    address: str
    version: str = ""
    partitions: list[FeedStatus] = []
    frozen: dict[str, FreezeStatus] = {}
    """The networks that this process knows to be frozen, whether or not it has raw partitions of them."""


class GatewayStatus(msgspec.Struct, kw_only=True):
    """A gateway."""

    role: str
    pid: int
    address: str
    public_address: str = ""
    """HOST:PORT of its pages and its API."""
    version: str = ""
    users: int = 0
    positions: dict[str, int] = {}
    """Next change to read, by partition."""
    ready: bool = False


class OpenIncident(msgspec.Struct, kw_only=True):
    """An incident that is not resolved."""

    id: str
    severity: str
    status: str
    title: str
    opened: str


class GuardStatus(msgspec.Struct, kw_only=True):
    """A guard."""

    role: str
    pid: int
    address: str
    version: str = ""
    active: bool = False
    """Whether it watches; the others of an installation stand by."""
    reading: bool = False
    """Whether it still reads what was there when it began: it judges nothing yet."""
    detectors: dict[str, list[dict[str, str | int]]] = {}
    """By detector: the slices about which it fires."""
    incidents: list[OpenIncident] = []
    positions: dict[str, int] = {}
    """Last offset of each topic that all detectors have seen."""
