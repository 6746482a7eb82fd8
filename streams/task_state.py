"""The task's own record: where it stands in its lanes, what it has counted, what it calls its networks.

One MessagePack map under `META_KEY`, written last in every batch, so that the last record of a changelog partition
is always the newest one.
"""

from contextlib import suppress
from typing import Final

import msgspec

from schemas.limits import NETWORKS_MAX
from schemas.packed import PackedError
from streams.clocks import Inputs
from streams.ledger import LedgerState
from streams.population_state import PopulationState

VERSION: Final = 4
_VERSIONS_READ: Final = (1, 2, 3, 4)
"""Version 1 knew no ledger: its events are not recognised when they come again, and cannot be taken back. Up to
version 2 a clock was the largest event time seen in the partition; it stands until the watermark has passed it. Up to
version 3 nobody counted users: they are counted when the partition opens."""

ACTORS: Final = "actors"
TARGETS: Final = "targets"
LANES: Final = (ACTORS, TARGETS)
ACTORS_COUNTERS: Final = (
    "credited",
    "self",
    "duplicate",
    "withheld",
    "forgotten",
    "retracted",
    "repeated",
    "unmatched",
)
"""What became of interactions and, the last three, of retractions in the actors stage. `withheld` are events that were
taken back before they left the stage, mostly because their retraction came first."""
TARGETS_COUNTERS: Final = ("applied", "adjusted", "dropped", "dropped_adjustments")
"""Credits folded in and taken back, and those of both kinds that named somebody who was forgotten."""
QUARANTINED: Final = "quarantined"
"""Events in lane records that an operator set aside, in either stage."""
COUNTERS: Final = (*ACTORS_COUNTERS, *TARGETS_COUNTERS, QUARANTINED)


_TASK_SOURCE: Final = "actors/"


def source_of_task(partition: int) -> str:
    """Return the name under which a partition's actors task numbers its records for the targets lane."""
    return f"{_TASK_SOURCE}{partition}"


def task_of(source: str) -> int:
    """Return the partition of the actors task that a source is; raise `PackedError` when it is none.

    >>> task_of(source_of_task(3))
    3
    """
    number = source.removeprefix(_TASK_SOURCE)
    if number == source or not number.isdecimal():
        raise PackedError(f"clocks are told by actors tasks alone, not by {source[:80]!r}")
    return int(number)


class TaskStateError(ValueError):
    """A task record that this program cannot use."""


ORDER_COUNTERS: Final = ("retracted", "repeated", "elsewhere", "unmatched")
"""What became of the events that an operator takes back: taken back now; before, or never credited; another copy of
the event counted; not in the ledger."""


class Ordered(msgspec.Struct, kw_only=True):
    """What became of the events that the latest order to take some back named."""

    epoch: int = -1
    """The order's offset in the control topic; -1 before the first one."""
    counters: dict[str, int] = msgspec.field(default_factory=lambda: dict.fromkeys(ORDER_COUNTERS, 0))
    """Rows by outcome, see `ORDER_COUNTERS`."""


class TaskState(msgspec.Struct, kw_only=True):
    """Everything a task must know to go on exactly where it stopped."""

    version: int = VERSION
    model: str
    model_hash: str
    """Hash of the model's parameters: state made with others is refused."""
    topic_ids: dict[str, str] = {}
    """Kafka's id of each lane: a topic deleted and made again is not the same lane."""
    positions: dict[str, int] = msgspec.field(default_factory=lambda: dict.fromkeys(LANES, -1))
    """Offset of the last record taken in, by lane."""
    seen: dict[str, dict[str, int]] = msgspec.field(default_factory=lambda: {lane: {} for lane in LANES})
    """Last sequence taken in, by lane and source."""
    sent: dict[int, int] = {}
    """Last sequence written, by partition of the targets lane."""
    networks: list[str] = []
    """Names of the networks; a network's code is its place."""
    inputs: dict[str, Inputs] = {}
    """By network: what the actors stage has heard of its inputs."""
    told_ms: dict[str, dict[int, int]] = {}
    """By network and task: the clocks that the targets stage was told."""
    clocks: dict[str, int] = {}
    """Each network's clock in ms, by which the targets stage takes scores."""
    counters: dict[str, dict[str, int]] = {}
    """By network: rows by outcome, see `COUNTERS`."""
    hash_key_mark: str = ""
    """Tells one hash key from another, without giving it away: who was forgotten is only known under their own."""
    ledger: LedgerState = msgspec.field(default_factory=LedgerState)
    ordered: Ordered = msgspec.field(default_factory=Ordered)
    population: PopulationState = msgspec.field(default_factory=PopulationState)

    def copy(self) -> "TaskState":
        """Return an independent copy, for a proposal that may be dropped."""
        return decode(encode(self))

    def total(self, outcome: str) -> int:
        """Return a counter's sum over all networks."""
        return sum(counters.get(outcome, 0) for counters in self.counters.values())

    def count(self, network: str, outcome: str, rows: int) -> None:
        """Add to a counter."""
        counters = self.counters[network]
        counters[outcome] = counters.get(outcome, 0) + rows

    def network_code(self, name: str) -> int:
        """Return a network's code, given out at first sight."""
        if name not in self.networks:
            if len(self.networks) == NETWORKS_MAX:
                raise TaskStateError(f"network {name!r} is one too many: a partition knows at most {NETWORKS_MAX}")
            self.networks.append(name)
            self.counters[name] = dict.fromkeys(COUNTERS, 0)
        return self.networks.index(name)


class _Version(msgspec.Struct):
    version: int = VERSION


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(TaskState).decode
_decode_version = msgspec.msgpack.Decoder(_Version).decode
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def encode(state: TaskState) -> bytes:
    """Return the record's bytes.

    >>> decode(encode(TaskState(model="1", model_hash="ab"))).positions
    {'actors': -1, 'targets': -1}
    """
    return _encode(state)


def decode(value: bytes) -> TaskState:
    """Read a record; raise `TaskStateError` for an unknown version or broken bytes."""
    try:
        state = _decode(value)
    except _UNREADABLE as error:
        raise TaskStateError(_why_unreadable(value, str(error))) from error
    if state.version not in _VERSIONS_READ:
        raise TaskStateError(_unknown_version(state.version))
    state.version = VERSION
    return state


def _why_unreadable(value: bytes, text: str) -> str:
    """Tell a record of another version, whose fields may differ, from one that is broken."""
    with suppress(*_UNREADABLE):
        version = _decode_version(value).version
        if version not in _VERSIONS_READ:
            return _unknown_version(version)
    return f"the task's record in the state cannot be read: {text}"


def _unknown_version(version: int) -> str:
    return f"the state has format version {version}; this program reads {VERSION}: use a matching one"
