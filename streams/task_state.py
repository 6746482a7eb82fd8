"""The task's own record: where it stands in its lanes, what it has counted, what it calls its networks.

One MessagePack map under `META_KEY`, written last in every batch, so that the last record of a changelog partition
is always the newest one.
"""

from typing import Final

import msgspec

VERSION: Final = 1
NETWORKS_MAX: Final = 64
"""Networks a partition can know; their codes are stored in every row."""

ACTORS: Final = "actors"
TARGETS: Final = "targets"
LANES: Final = (ACTORS, TARGETS)
COUNTERS: Final = ("credited", "self", "applied")


class TaskStateError(ValueError):
    """A task record that this program cannot use."""


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
    clocks: dict[str, int] = {}
    """Each network's clock in ms: until ticks exist the largest event time seen on it here."""
    counters: dict[str, dict[str, int]] = {}
    """By network: rows credited and self-interactions (actors stage), rows applied (targets stage)."""

    def copy(self) -> "TaskState":
        """Return an independent copy, for a proposal that may be dropped."""
        return decode(encode(self))

    def total(self, outcome: str) -> int:
        """Return a counter's sum over all networks."""
        return sum(counters[outcome] for counters in self.counters.values())

    def network_code(self, name: str) -> int:
        """Return a network's code, given out at first sight."""
        if name not in self.networks:
            if len(self.networks) == NETWORKS_MAX:
                raise TaskStateError(f"network {name!r} is one too many: a partition knows at most {NETWORKS_MAX}")
            self.networks.append(name)
            self.counters[name] = dict.fromkeys(COUNTERS, 0)
        return self.networks.index(name)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(TaskState).decode


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
    except msgspec.DecodeError as error:
        raise TaskStateError(f"the task's record in the state cannot be read: {error}") from error
    if state.version != VERSION:
        raise TaskStateError(
            f"the state has format version {state.version}; this program reads {VERSION}: use a matching one"
        )
    return state
