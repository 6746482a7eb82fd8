"""Packed records: many rows in one lane record, worked in columns.

On the wire a packed record is one MessagePack array:

    [version, kind, rows, networks, labels, actors, targets, columns]

`networks`, `labels` (collectors' names, or references of adjustments and retractions), `actors` and `targets` are lists
of distinct values (user ids as UTF-8 bytes); `columns` are little-endian arrays of `rows` elements each, in the order
of `COLUMNS[kind]`; columns of indices point into those lists. An account column may be empty, which says that every
account named is the user it resolves to.

A retraction travels among interactions, so that it keeps its place after what it takes back: its kind is
`schemas.interaction.RETRACT_CODE`, its event hash that of the event taken back, its target its own actor. What an
operator takes back of a whole feed comes in records of its own, `RETRACTIONS`.

The Kafka key says who wrote the record and the how-manieth it is for this lane partition, as `twitter/3:17` (raw
partition 3 of twitter) or `actors/2:5` (the actors stage of partition 2), so that a reader sees any gap or repeat,
even around a record whose value it cannot read.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.change import CAUSES
from schemas.interaction import RETRACT_CODE
from schemas.kinds import KIND_CODES
from schemas.limits import (
    LANE_RECORD_BYTES_MAX,
    LANE_RECORD_ROWS_MAX,
    LANE_SOURCE_BYTES_MAX,
    NETWORKS_MAX,
    SEQUENCE_MAX,
    TIME_MS_MAX,
    TIME_MS_MIN,
    USER_BYTES_MAX,
)

VERSION: Final = 1

INTERACTIONS: Final = "interactions"
CREDITS: Final = "credits"
ADJUSTMENTS: Final = "adjustments"
COMMANDS: Final = "commands"
RELEASES: Final = "releases"
TICKS: Final = "ticks"
CLOCKS: Final = "clocks"
RETRACTIONS: Final = "retractions"

FORGET: Final = 1
UNFORGET: Final = 2
COMMAND_CODES: Final = {"forget": FORGET, "unforget": UNFORGET}
"""Number of each command about a user, as it travels in a lane."""

_WHO: Final = {"actor": "<u2", "actor_account": "<u2", "target": "<u2", "target_account": "<u2"}
_WHAT: Final = {
    "network": "u1",
    "kind": "u1",
    "label": "<u2",
    "time": "<i8",
    "arrival": "<i8",
    "event_hash": "<u8",
}
_GRANT: Final = {"reach": "<f8", "amplification": "<f8", "influence": "<f8"}

COLUMNS: Final[dict[str, dict[str, np.dtype[Any]]]] = {
    kind: {name: np.dtype(text) for name, text in columns.items()}
    for kind, columns in {
        # What somebody did, as ingest passes it on.
        INTERACTIONS: _WHO | _WHAT,
        # What it was worth: R, A and N, frozen by the actors stage.
        CREDITS: _WHO | _WHAT | _GRANT,
        # A signed correction of somebody's sums; label is its reference.
        ADJUSTMENTS: {
            "target": "<u2",
            "target_account": "<u2",
            "network": "u1",
            "label": "<u2",
            "cause": "u1",
            "time": "<i8",
        }
        | _GRANT,
        # What somebody who may decided; label is the command's id, epoch its offset in the control topic.
        COMMANDS: {"target": "<u2", "label": "<u2", "command": "u1", "time": "<i8", "epoch": "<u8"},
        # Collectors that somebody who may has decided to wait for no longer; label is the collector's name.
        RELEASES: {"network": "u1", "label": "<u2"},
        # How far a raw partition has come: its latest event time and arrival, 0 when there is none; at_end says that
        # after its tick before this one was written, everything was seen to be read. Where label names a collector,
        # time is its last heartbeat there, and at_end says nothing.
        TICKS: {
            "network": "u1",
            "label": "<u2",
            "raw_partition": "<u2",
            "raw_partitions": "<u2",
            "time": "<i8",
            "arrival": "<i8",
            "at_end": "u1",
        },
        # The clock of a network, as the task that writes the record has it.
        CLOCKS: {"network": "u1", "time": "<i8"},
        # Events that an operator takes back: what came of a feed, without a name in it. Only the copy counts that came
        # at this time from this collector (the hash of its name); label is the reference, epoch the order's.
        RETRACTIONS: {
            "network": "u1",
            "label": "<u2",
            "epoch": "<u8",
            "actor_hash": "<u8",
            "event_hash": "<u8",
            "source_hash": "<u8",
            "arrival": "<i8",
        },
    }.items()
}
"""Column names and types of each kind of record, in wire order; times in ms UTC."""


_FIRST_PRINTABLE: Final = 0x20
_SEQUENCE_DIGITS_MAX: Final = len(str(SEQUENCE_MAX))

_LIST_OF: Final = {
    "actor": "actors",
    "actor_account": "actors",
    "target": "targets",
    "target_account": "targets",
    "network": "networks",
    "label": "labels",
}

Columns = Mapping[str, NDArray[Any]]


class PackedError(ValueError):
    """A packed record that cannot be read; `reason` says what is wrong with it."""

    def __init__(self, reason: str) -> None:
        """Keep the reason."""
        super().__init__(reason)
        self.reason = reason


class Record(NamedTuple):
    """One packed record, its columns as read-only arrays over the bytes that came in."""

    kind: str
    rows: int
    networks: list[str]
    labels: list[str]
    actors: list[bytes]
    targets: list[bytes]
    columns: Columns


class _Wire(msgspec.Struct, array_like=True, gc=False, forbid_unknown_fields=True):
    version: int
    kind: str
    rows: int
    networks: list[str]
    labels: list[str]
    actors: list[bytes]
    targets: list[bytes]
    columns: list[bytes]


class _Version(msgspec.Struct, array_like=True, gc=False):
    version: int


class _Head(msgspec.Struct, array_like=True, gc=False):
    version: int
    kind: str
    rows: int


class Peek(NamedTuple):
    """What a record says of itself."""

    kind: str
    rows: int


class Stamp(NamedTuple):
    """Who wrote a lane record, and which of its records for this lane partition it is, from 1."""

    source: str
    sequence: int


def encode_key(stamp: Stamp) -> bytes:
    """Return the key of a lane record.

    >>> encode_key(Stamp("twitter/3", 17))
    b'twitter/3:17'
    """
    return f"{stamp.source}:{stamp.sequence}".encode()


def decode_key(key: bytes | None) -> Stamp:
    """Read the key of a lane record; raise `PackedError` when it is none.

    >>> decode_key(b"actors/2:5")
    Stamp(source='actors/2', sequence=5)
    """
    source, colon, sequence = (key or b"").rpartition(b":")
    if not (source and colon and sequence.isdigit()):
        raise PackedError(f"the key {_shown(key)} does not name a source and its sequence")
    if len(source) > LANE_SOURCE_BYTES_MAX:
        raise PackedError(f"the key names a source of {len(source)} bytes, at most {LANE_SOURCE_BYTES_MAX}")
    # Before it is read: Python refuses to read very long numbers, with another error.
    if len(sequence) > _SEQUENCE_DIGITS_MAX or int(sequence) > SEQUENCE_MAX:
        raise PackedError(f"the key {_shown(key)} has a sequence of more than {SEQUENCE_MAX}")
    return Stamp(source.decode(errors="replace"), int(sequence))


_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoders raise: for broken MessagePack, text that is none, and nesting beyond the stack."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Wire).decode
_decode_version = msgspec.msgpack.Decoder(_Version).decode
_decode_head = msgspec.msgpack.Decoder(_Head).decode


def encode(record: Record) -> bytes:
    """Return the bytes of a record.

    >>> empty = {name: np.zeros(0, kind) for name, kind in COLUMNS[CREDITS].items()}
    >>> decode(encode(Record(CREDITS, 0, ["twitter"], [], [], [], empty))).networks
    ['twitter']
    """
    columns = [record.columns[name].astype(kind, copy=False).tobytes() for name, kind in COLUMNS[record.kind].items()]
    return _encode(_Wire(VERSION, *record[:-1], columns))


def decode(value: bytes) -> Record:
    """Read a record; raise `PackedError` for an unknown version, a wrong length, or a value that no writer writes."""
    if len(value) > LANE_RECORD_BYTES_MAX:
        raise PackedError(f"a packed record of {len(value)} bytes, at most {LANE_RECORD_BYTES_MAX}")
    try:
        wire = _decode(value)
    except _UNREADABLE as error:
        raise PackedError(_why_unreadable(value, str(error))) from error
    if wire.version != VERSION:
        raise PackedError(_unknown_version(wire.version))
    types = COLUMNS.get(wire.kind)
    if types is None:
        raise PackedError(f"unknown kind of packed record {wire.kind!r}; known are {', '.join(COLUMNS)}")
    if not 0 <= wire.rows <= LANE_RECORD_ROWS_MAX:
        raise PackedError(f"{wire.rows} rows; a record has 0 to {LANE_RECORD_ROWS_MAX}")
    _check_lists(wire)
    if len(wire.columns) != len(types):
        raise PackedError(f"{len(wire.columns)} columns; {wire.kind} have {len(types)}")
    columns = {
        name: _column(name, kind, content, wire)
        for (name, kind), content in zip(types.items(), wire.columns, strict=True)
    }
    return Record(
        wire.kind,
        wire.rows,
        wire.networks,
        wire.labels,
        wire.actors,
        wire.targets,
        columns,
    )


def peek(value: bytes) -> Peek:
    """Return what a record says that it is, without reading its rows; no kind and one row when that cannot be told.

    The rows are at least one and at most the limit, whatever a damaged record says: flow is measured by them.

    >>> peek(b"?")
    Peek(kind='', rows=1)
    """
    try:
        head = _decode_head(value)
    except _UNREADABLE:
        return Peek("", 1)
    return Peek(head.kind, min(max(1, head.rows), LANE_RECORD_ROWS_MAX))


def _column(name: str, kind: np.dtype[Any], content: bytes, wire: _Wire) -> NDArray[Any]:
    if not content and name.endswith("_account"):
        return np.empty(0, kind)
    if len(content) != wire.rows * kind.itemsize:
        raise PackedError(f"column {name} has {len(content)} bytes; {wire.rows} rows need {wire.rows * kind.itemsize}")
    column = np.frombuffer(content, kind)
    listed: Sequence[object] | None = getattr(wire, _LIST_OF[name]) if name in _LIST_OF else None
    if listed is not None and wire.rows and int(column.max()) >= len(listed):
        raise PackedError(f"column {name} points at entry {int(column.max())} of a list of {len(listed)}")
    _check_values(name, column, wire.kind)
    return column


def _check_lists(wire: _Wire) -> None:
    longest = max(len(wire.labels), len(wire.actors), len(wire.targets))
    if longest > LANE_RECORD_ROWS_MAX:
        raise PackedError(f"a list of {longest} entries, at most {LANE_RECORD_ROWS_MAX}")
    if len(wire.networks) > NETWORKS_MAX:
        raise PackedError(f"{len(wire.networks)} networks, at most {NETWORKS_MAX}")
    _check_users("actors", wire.actors)
    _check_users("targets", wire.targets)


def _check_users(name: str, users: list[bytes]) -> None:
    """Refuse ids that ingest would refuse: they become keys of the state and JSON; all of them in a few passes."""
    if not users:
        return
    text = b"\n".join(users)
    if np.count_nonzero(np.frombuffer(text, np.uint8) < _FIRST_PRINTABLE) != len(users) - 1:
        raise PackedError(f"a user of {name} holds a control character")
    if not all(users) or max(map(len, users)) > USER_BYTES_MAX:
        raise PackedError(f"a user of {name} is empty or has more than {USER_BYTES_MAX} bytes")
    try:
        text.decode()
    except UnicodeDecodeError as error:
        raise PackedError(f"a user of {name} is not UTF-8: {error}") from error


def _check_values(name: str, column: NDArray[Any], kind: str) -> None:
    """Refuse codes that kernels would look up past a table's end, and times that would carry a clock away."""
    known = _KNOWN_CODES.get((kind, name))
    if known is not None and not known.take(column).all():
        raise PackedError(f"column {name} holds the unknown code {int(column[~known[column]][0])}")
    if name == "time" and len(column):
        for time in (int(column.min()), int(column.max())):
            if not TIME_MS_MIN <= time < TIME_MS_MAX:
                raise PackedError(f"column time holds {time} ms, outside 1970 to 2099")


def _table(*codes: int) -> NDArray[np.bool_]:
    known = np.zeros(256, np.bool_)
    known[list(codes)] = True
    return known


_KNOWN_CODES: Final = {
    (INTERACTIONS, "kind"): _table(*KIND_CODES.values(), RETRACT_CODE),
    (CREDITS, "kind"): _table(*KIND_CODES.values()),
    (ADJUSTMENTS, "cause"): _table(*range(len(CAUSES))),
    (COMMANDS, "command"): _table(*COMMAND_CODES.values()),
}
"""For each column of codes, whether each of the 256 is one."""


def _shown(key: bytes | None) -> str:
    return repr(key if key is None else key[:80])


def _why_unreadable(value: bytes, text: str) -> str:
    """Tell a record of another version, whose fields may differ, from one that is broken."""
    try:
        version = _decode_version(value).version
    except _UNREADABLE:
        return f"not a packed record: {text}"
    return _unknown_version(version) if version != VERSION else f"not a packed record: {text}"


def _unknown_version(version: int) -> str:
    return f"packed record of format version {version}; this program reads version {VERSION}: use a matching one"
