"""A block of the ledger as it is stored: rows by column, as packed records are, but names stay bytes until asked for.

One MessagePack array:

    [version, rows, networks, labels, actors, targets, columns]

`networks` and `labels` are lists of distinct texts; `actors` and `targets` are distinct user ids, as their bytes one
after the other and their lengths (u2); `columns` are little-endian arrays of `rows` elements, in the order of
`COLUMNS`, or empty where every row has zero. Most blocks are written, restored and dropped without a name ever being
looked at.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import numba
import numpy as np
from numpy.typing import NDArray

from schemas.limits import LANE_RECORD_BYTES_MAX
from streams.packing import Index, Rows, renumber

VERSION: Final = 1
BLOCK_ROWS_MAX: Final = 4_096
_BLOCK_BYTES_MAX: Final = LANE_RECORD_BYTES_MAX - 50_000
"""What names, labels and columns may take; the frame comes on top."""

COLUMNS: Final = {
    name: np.dtype(text)
    for name, text in {
        "actor": "<u2",
        "target": "<u2",
        "network": "u1",
        "kind": "u1",
        "label": "<u2",
        "time": "<i8",
        "event_hash": "<u8",
        "reach": "<f8",
        "amplification": "<f8",
        "influence": "<f8",
        "rate_lead": "<i8",
        "former_target": "<u8",
        "former_x": "<f8",
        "former_time": "<i8",
    }.items()
}
"""Names and types. `rate_lead` is how much later than the event its actor's rate rose; `former_*` is what the slot of
the pair held before (`scorer.actors.Undo`)."""
_LENGTH: Final = np.dtype("<u2")

_BELOW: Final = {"actor": "actors", "target": "targets", "network": "networks", "label": "labels"}
"""Columns of indices, and what they point into."""


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
    """A block as read; empty columns are zero in every row."""

    rows: int
    networks: list[str]
    labels: list[str]
    actors: Names
    targets: Names
    columns: dict[str, NDArray[Any]]


class _Wire(msgspec.Struct, array_like=True, gc=False, forbid_unknown_fields=True):
    version: int
    rows: int
    networks: list[str]
    labels: list[str]
    actors: tuple[bytes, bytes]
    targets: tuple[bytes, bytes]
    columns: list[bytes]


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

    def __call__(self, index: Index) -> tuple[tuple[bytes, bytes], NDArray[np.uint16]]:
        renumbered = np.empty(len(index), np.uint16)
        kept = self._kept[: renumber(index, self._slots, self._kept, renumbered)]
        lengths = self._ends[kept + 1] - self._ends[kept]
        text = np.empty(int(lengths.sum()), np.uint8)
        _gather(self._text, self._ends, kept, text)
        return (text.tobytes(), lengths.astype(_LENGTH).tobytes()), renumbered


@numba.njit(cache=True, nogil=True)
def _gather(text: NDArray[np.uint8], ends: NDArray[np.int64], kept: NDArray[np.uint32], out: NDArray[np.uint8]) -> None:
    at = 0
    for number in kept:
        for byte in range(ends[number], ends[number + 1]):
            out[at] = text[byte]
            at += 1


def encode_blocks(rows: Rows) -> Iterator[tuple[int, bytes]]:
    """Yield the number of rows and the bytes of each block that rows fill, in order."""
    actors, targets = _Gatherer(rows.actors), _Gatherer(rows.targets)

    def blocks(begin: int, end: int) -> Iterator[tuple[int, bytes]]:
        mine = {name: rows.columns[name][begin:end] for name in COLUMNS}
        who, mine["actor"] = actors(mine["actor"])
        whom, mine["target"] = targets(mine["target"])
        labels, mine["label"] = _labels(rows.labels, mine["label"])
        columns = [mine[name].astype(kind, copy=False).tobytes() for name, kind in COLUMNS.items()]
        if sum(map(len, (*who, *whom, *columns, *map(str.encode, labels)))) > _BLOCK_BYTES_MAX:
            middle = (begin + end) // 2
            yield from blocks(begin, middle)
            yield from blocks(middle, end)
            return
        yield end - begin, _encode(_Wire(VERSION, end - begin, rows.networks, labels, who, whom, columns))

    for begin in range(0, len(rows), BLOCK_ROWS_MAX):
        yield from blocks(begin, min(begin + BLOCK_ROWS_MAX, len(rows)))


def _labels(labels: list[str], index: NDArray[Any]) -> tuple[list[str], NDArray[Any]]:
    if len(labels) == 1:
        return labels, index
    kept, renumbered = np.unique(index, return_inverse=True)
    return [labels[number] for number in kept.tolist()], renumbered


def decode_block(value: bytes) -> Block:
    """Read a block; raise `BlockError` for an unknown version, a wrong length or an index past its list."""
    wire = _read(value)
    if not 0 < wire.rows <= BLOCK_ROWS_MAX or len(wire.columns) != len(COLUMNS):
        raise BlockError(f"{wire.rows} rows and {len(wire.columns)} columns; a block has at most {BLOCK_ROWS_MAX} rows")
    actors, targets = _names(wire.actors), _names(wire.targets)
    block = Block(wire.rows, wire.networks, wire.labels, actors, targets, {})
    for (name, kind), content in zip(COLUMNS.items(), wire.columns, strict=True):
        if content and len(content) != wire.rows * kind.itemsize:
            raise BlockError(f"column {name} has {len(content)} bytes for {wire.rows} rows")
        if not content and name in _ALWAYS:
            raise BlockError(f"column {name} is missing")
        block.columns[name] = np.frombuffer(content, kind)
        if name in _BELOW and int(block.columns[name].max()) >= len(getattr(block, _BELOW[name])):
            raise BlockError(f"column {name} points past its list")
    return block


_ALWAYS: Final = frozenset({*_BELOW, "kind", "time", "event_hash", "reach", "amplification", "influence"})


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
        if version == VERSION:
            raise BlockError(f"not a ledger block: {error}") from error
        raise BlockError(_unknown(version)) from error
    if wire.version != VERSION:
        raise BlockError(_unknown(wire.version))
    return wire


def _unknown(version: int) -> str:
    return f"ledger block of format version {version}; this program reads version {VERSION}: use a matching one"
