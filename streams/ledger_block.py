"""A block of the ledger as it is stored: rows by column, and names as bytes until somebody asks for one.

One MessagePack array:

    [version, rows, networks, labels, actors, targets, time, columns, arrival]

`networks` and `labels` are lists of distinct texts; `actors` and `targets` are distinct user ids, as their bytes one
after the other and their lengths (u2); `time` is the earliest event time in ms, `arrival` the earliest arrival.
`columns` are little-endian arrays in
the order of `COLUMNS`; what they save is written, read and kept for every event that ever comes:

- `time` counts from the block's (u4, or u8 where that is too short);
- `arrival` counts from the block's too (u2, u4 or u8, as short as it can be); a block of version 1 has none;
- `influence` is one an actor, as it was in that batch; an event granted its amplification times that;
- `network`, `label` and `rate_lead` (how much later than the event its actor's rate rose) are empty where all are 0;
- `memory` says what the slot of the pair held before: `NOTHING`, the target `ITSELF`, `ANOTHER`, or nothing although
  the target was `KNOWN`. Rows with `NOTHING` reached a new person, and have no place in the four columns after it;
  only those with `ANOTHER` have one in the last.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import numba
import numpy as np
from numpy.typing import NDArray

from schemas.limits import LANE_RECORD_BYTES_MAX
from schemas.users import user_hash
from streams.packing import Index, renumber

VERSION: Final = 2
_WITHOUT_ARRIVAL: Final = 1
"""The version before, which is still read."""
UNKNOWN_ARRIVAL: Final = -1
BLOCK_ROWS_MAX: Final = 4_096
_BLOCK_BYTES_MAX: Final = LANE_RECORD_BYTES_MAX - 50_000
"""What names, labels and columns may take; the frame comes on top."""

NOTHING: Final = 0
ITSELF: Final = 1
ANOTHER: Final = 2
KNOWN: Final = 3

COLUMNS: Final = {
    name: np.dtype(text)
    for name, text in {
        "actor": "<u2",
        "target": "<u2",
        "network": "u1",
        "kind": "u1",
        "label": "<u2",
        "time": "<u4",
        "event_hash": "<u8",
        "amplification": "<f8",
        "influence": "<f8",
        "rate_lead": "<i8",
        "memory": "u1",
        "reach": "<f8",
        "former_x": "<f8",
        "former_time": "<i8",
        "former_target": "<u8",
        "arrival": "<u2",
    }.items()
}
_ARRIVALS: Final = {size: np.dtype(f"<u{size}") for size in (2, 4, 8)}
_LONG_TIME: Final = np.dtype("<u8")
_LENGTH: Final = np.dtype("<u2")
_EVERY_ROW: Final = ("actor", "target", "kind", "event_hash", "amplification", "memory")
_ZERO_WHEN_EMPTY: Final = ("network", "label", "rate_lead")
_OF_REMEMBERED: Final = ("reach", "former_x", "former_time")

_BELOW: Final = {"actor": "actors", "target": "targets", "network": "networks", "label": "labels"}
"""Columns of indices, and what they point into."""


class LedgerRows(NamedTuple):
    """Rows for the ledger, every column of one length but `influences`, which has one element an actor."""

    networks: list[str]
    labels: list[str]
    actors: list[bytes]
    targets: list[bytes]
    influences: NDArray[np.float64]
    columns: dict[str, NDArray[Any]]
    """Those of `COLUMNS` without `influence`; times in ms since 1970."""

    @property
    def rows(self) -> int:
        """Return the number of rows."""
        return len(self.columns["actor"])


class BlockError(ValueError):
    """A block that cannot be read."""


class Names:
    """User ids, one after the other."""

    __slots__ = ("_ends", "_text")

    def __init__(self, text: bytes, lengths: NDArray[np.uint16]) -> None:
        """Take the ids' bytes and how long each is."""
        self._text = text
        self._ends = np.zeros(len(lengths) + 1, np.int64)
        np.cumsum(lengths, out=self._ends[1:])

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._ends) - 1

    def __getitem__(self, number: int) -> bytes:
        """Return one id."""
        return self._text[self._ends[number] : self._ends[number + 1]]

    def index(self, name: bytes) -> int | None:
        """Return the number of an id, None where it is not among these."""
        if name not in self._text:
            return None
        return next((number for number in range(len(self)) if self[number] == name), None)


class Block(NamedTuple):
    """A block as read, its columns as they are stored."""

    rows: int
    networks: list[str]
    labels: list[str]
    actors: Names
    targets: Names
    time_ms: int
    arrival_ms: int
    """The earliest; `UNKNOWN_ARRIVAL` where the block says none."""
    columns: dict[str, NDArray[Any]]

    def select(self, rows: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """Return some rows with all columns filled in."""
        stored = self.columns
        found = {name: stored[name][rows] for name in _EVERY_ROW}
        for name in _ZERO_WHEN_EMPTY:
            found[name] = stored[name][rows] if len(stored[name]) else np.zeros(len(rows), COLUMNS[name])
        found["time"] = self.time_ms + stored["time"][rows].astype(np.int64)
        found["arrival"] = np.full(len(rows), self.arrival_ms, np.int64)
        if self.arrival_ms != UNKNOWN_ARRIVAL:
            found["arrival"] += stored["arrival"][rows].astype(np.int64)
        found["influence"] = found["amplification"] * stored["influence"][found["actor"]]
        memory = stored["memory"]
        remembered = found["memory"] != NOTHING
        place = np.cumsum(memory != NOTHING)[rows[remembered]] - 1
        for name in _OF_REMEMBERED:
            found[name] = np.full(len(rows), 1 if name == "reach" else 0, COLUMNS[name])
            found[name][remembered] = stored[name][place]
        another = found["memory"] == ANOTHER
        former = np.zeros(len(rows), np.uint64)
        former[another] = stored["former_target"][np.cumsum(memory == ANOTHER)[rows[another]] - 1]
        itself = np.flatnonzero(found["memory"] == ITSELF)
        former[itself] = [user_hash(self.targets[number]) for number in found["target"][itself].tolist()]
        return found | {"former_target": former}


class _Wire(msgspec.Struct, array_like=True, gc=False, forbid_unknown_fields=True):
    version: int
    rows: int
    networks: list[str]
    labels: list[str]
    actors: tuple[bytes, bytes]
    targets: tuple[bytes, bytes]
    time: int
    columns: list[bytes]
    arrival: int = UNKNOWN_ARRIVAL


class _Version(msgspec.Struct, array_like=True, gc=False):
    version: int


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Wire).decode
_decode_version = msgspec.msgpack.Decoder(_Version).decode
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoders raise: for broken MessagePack, text that is none, and nesting beyond the stack."""


class _Gatherer:
    """The distinct ids of a selection of rows, with scratch space for one batch."""

    def __init__(self, names: Sequence[bytes]) -> None:
        self._text = np.frombuffer(b"".join(names), np.uint8)
        self._ends = np.zeros(len(names) + 1, np.int64)
        np.cumsum(np.fromiter(map(len, names), np.int64, len(names)), out=self._ends[1:])
        self._slots = np.zeros(len(names), np.uint32)
        self._kept = np.empty(len(names), np.uint32)

    def __call__(self, index: Index) -> tuple[tuple[bytes, bytes], NDArray[np.uint16], NDArray[np.uint32]]:
        renumbered = np.empty(len(index), np.uint16)
        kept = self._kept[: renumber(index, self._slots, self._kept, renumbered)]
        lengths = self._ends[kept + 1] - self._ends[kept]
        text = np.empty(int(lengths.sum()), np.uint8)
        _gather(self._text, self._ends, kept, text)
        return (text.tobytes(), lengths.astype(_LENGTH).tobytes()), renumbered, kept


@numba.njit(cache=True, nogil=True)
def _gather(text: NDArray[np.uint8], ends: NDArray[np.int64], kept: NDArray[np.uint32], out: NDArray[np.uint8]) -> None:
    at = 0
    for number in kept:
        for byte in range(ends[number], ends[number + 1]):
            out[at] = text[byte]
            at += 1


def encode_blocks(rows: LedgerRows) -> Iterator[tuple[int, bytes]]:
    """Yield the number of rows and the bytes of each block that rows fill, in order."""
    actors, targets = _Gatherer(rows.actors), _Gatherer(rows.targets)
    begins = range(0, rows.rows, BLOCK_ROWS_MAX)
    parts = deque((begin, min(begin + BLOCK_ROWS_MAX, rows.rows)) for begin in begins)
    while parts:  # no function that calls itself: `streams.packing.cut` says why
        begin, end = parts.popleft()
        mine = {name: column[begin:end] for name, column in rows.columns.items()}
        who, mine["actor"], numbers = actors(mine["actor"])
        whom, mine["target"], _ = targets(mine["target"])
        labels, mine["label"] = _labels(rows.labels, mine["label"])
        mine["influence"] = rows.influences[numbers]
        earliest, first = int(mine["time"].min()), int(mine["arrival"].min())
        columns = _stored(mine, earliest, first)
        if sum(map(len, (*who, *whom, *columns, *map(str.encode, labels)))) > _BLOCK_BYTES_MAX:
            middle = (begin + end) // 2
            parts.extendleft([(middle, end), (begin, middle)])
            continue
        lists = rows.networks, labels, who, whom
        yield end - begin, _encode(_Wire(VERSION, end - begin, *lists, earliest, columns, first))


def _stored(columns: dict[str, NDArray[Any]], earliest: int, first: int) -> list[bytes]:
    """Return the columns as they are written."""
    memory = columns["memory"]
    remembered = np.flatnonzero(memory)
    columns = columns | {name: columns[name][remembered] for name in _OF_REMEMBERED}
    columns["former_target"] = columns["former_target"][memory == ANOTHER]
    for name in _ZERO_WHEN_EMPTY:
        if not columns[name].any():
            columns[name] = columns[name][:0]
    columns["time"] = columns["time"] - earliest
    columns["arrival"] = columns["arrival"] - first
    long = int(columns["time"].max()) > np.iinfo(COLUMNS["time"]).max
    types = COLUMNS | {"time": _LONG_TIME} if long else COLUMNS
    latest = int(columns["arrival"].max())
    types = types | {"arrival": next(kind for kind in _ARRIVALS.values() if latest <= np.iinfo(kind).max)}
    return [columns[name].astype(kind, copy=False).tobytes() for name, kind in types.items()]


def _labels(labels: list[str], index: NDArray[Any]) -> tuple[list[str], NDArray[Any]]:
    if len(labels) == 1:
        return labels, index
    kept, renumbered = np.unique(index, return_inverse=True)
    return [labels[number] for number in kept.tolist()], renumbered


def decode_block(value: bytes) -> Block:
    """Read a block; raise `BlockError` for an unknown version, a wrong length or an index past its list."""
    wire = _read(value)
    without_arrival = wire.version == _WITHOUT_ARRIVAL
    if not 0 < wire.rows <= BLOCK_ROWS_MAX or len(wire.columns) != len(COLUMNS) - without_arrival:
        raise BlockError(f"{wire.rows} rows and {len(wire.columns)} columns; a block has at most {BLOCK_ROWS_MAX} rows")
    stored = dict(zip(COLUMNS, [*wire.columns, b""] if without_arrival else wire.columns, strict=True))
    types = COLUMNS | {"time": _LONG_TIME} if len(stored["time"]) == wire.rows * _LONG_TIME.itemsize else COLUMNS
    types = types | {"arrival": _ARRIVALS.get(len(stored["arrival"]) // wire.rows, COLUMNS["arrival"])}
    ragged = [name for name, content in stored.items() if len(content) % types[name].itemsize]
    if ragged:
        raise BlockError(f"column {ragged[0]} has {len(stored[ragged[0]])} bytes, no whole number of elements")
    columns = {name: np.frombuffer(content, types[name]) for name, content in stored.items()}
    block = Block(
        wire.rows,
        wire.networks,
        wire.labels,
        _names(wire.actors),
        _names(wire.targets),
        wire.time,
        UNKNOWN_ARRIVAL if without_arrival else wire.arrival,
        columns,
    )
    for name, size in _sizes(block).items():
        may_be_empty = name in _ZERO_WHEN_EMPTY or (name == "arrival" and without_arrival)
        empty = may_be_empty and not len(columns[name])
        if not empty and len(columns[name]) != size:
            raise BlockError(f"column {name} has {len(columns[name])} elements, not {size}")
    for name, listed in _BELOW.items():
        if len(columns[name]) and int(columns[name].max()) >= len(getattr(block, listed)):
            raise BlockError(f"column {name} points past its list")
    return block


def _sizes(block: Block) -> dict[str, int]:
    """Return how many elements each column must have."""
    memory = block.columns["memory"]
    sizes = dict.fromkeys((*_EVERY_ROW, *_ZERO_WHEN_EMPTY, "time", "arrival"), block.rows)
    sizes |= dict.fromkeys(_OF_REMEMBERED, int(np.count_nonzero(memory)))
    return sizes | {"influence": len(block.actors), "former_target": int(np.count_nonzero(memory == ANOTHER))}


def without(value: bytes, name: bytes, instead: bytes) -> bytes | None:
    """Return a block with another id in the place of a user's; None where the block does not name the user."""
    block, wire = decode_block(value), _decode(value)
    actor, target = block.actors.index(name), block.targets.index(name)
    if actor is None and target is None:
        return None
    wire.actors, wire.targets = _replaced(block.actors, actor, instead), _replaced(block.targets, target, instead)
    return _encode(wire)


def _replaced(names: Names, number: int | None, instead: bytes) -> tuple[bytes, bytes]:
    replaced = [instead if at == number else names[at] for at in range(len(names))]
    return b"".join(replaced), np.array([len(name) for name in replaced], _LENGTH).tobytes()


def _names(coded: tuple[bytes, bytes]) -> Names:
    text, lengths = coded
    if len(lengths) % _LENGTH.itemsize:
        raise BlockError("the lengths of names are damaged")
    sizes = np.frombuffer(lengths, _LENGTH)
    if int(sizes.sum(dtype=np.int64)) != len(text):
        raise BlockError(f"names have {len(text)} bytes, their lengths say otherwise")
    return Names(text, sizes)


def _read(value: bytes) -> _Wire:
    try:
        wire = _decode(value)
    except _UNREADABLE as error:
        try:
            version = _decode_version(value).version
        except _UNREADABLE:
            raise BlockError(f"not a ledger block: {error}") from error
        if version in (_WITHOUT_ARRIVAL, VERSION):
            raise BlockError(f"not a ledger block: {error}") from error
        raise BlockError(_unknown(version)) from error
    if wire.version not in (_WITHOUT_ARRIVAL, VERSION):
        raise BlockError(_unknown(wire.version))
    return wire


def _unknown(version: int) -> str:
    return f"ledger block of format version {version}; this program reads version {VERSION}: use a matching one"
