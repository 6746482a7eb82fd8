"""A look at all users of a partition as of one moment: what a worker answers to an audit.

The answer is a row of frames, each four bytes big-endian that say its length, then MessagePack: a `LookHead`, then
`LookPiece` after `LookPiece` in the order of the user ids, the last of them empty. The rows are those of the state
(`scorer.target_state`), since who checks a sum must have it as it is; it is no contract with anybody outside.
"""

from collections.abc import Iterable, Iterator
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

VERSION: Final = 1
FRAME_BYTES_MAX: Final = 64 << 20
"""A piece is far smaller; what claims to be larger is something else."""
_LENGTH_BYTES: Final = 4

T = TypeVar("T", bound=Struct)


class LookError(ValueError):
    """An answer that is no look, or breaks off."""


class LookHead(Struct, frozen=True, kw_only=True):
    """The partition as of the moment of the look."""

    version: int = VERSION
    partition: int
    model: str
    model_hash: str
    networks: list[str]
    """By their codes in the rows."""
    clocks_ms: dict[str, int]
    counters: dict[str, dict[str, int]]
    """Rows by network and outcome, since the partition began."""
    changelog_end: int
    """Offset after the last record of the changelog partition that is in it."""
    anyone_forgotten: bool
    """Whether anybody ever was: then less may be there than was counted."""
    due_left: bool
    """Whether there may have been users whose time had come and who had not been looked at."""
    histograms: list[list[int]]
    """Users by published score as the partition counts them, as in `schemas.population`: over all, then by network."""
    hour: int
    """Of event time, since 1970: the one that shifts are counted in."""
    shift: list[int]
    """Users below their anchor by each of `STEPS_POINTS`, above it, and gone (`scorer.population`)."""
    changes: int
    """Changes that the partition has counted."""
    standing: str
    """Why the partition stands still, if it does."""


class LookPiece(Struct, frozen=True, array_like=True):
    """Some of the users."""

    users: list[bytes]
    rows: list[bytes]
    tenths: bytes
    """What the worker says of their scores as of the clocks, u2[n, 4 + networks] in tenths: score, reach,
    amplification, network, then each network's own; 0 where there is none."""


_encode: Final = msgspec.msgpack.Encoder().encode
_head: Final = msgspec.msgpack.Decoder(LookHead)
_piece: Final = msgspec.msgpack.Decoder(LookPiece)


def encode_frame(content: LookHead | LookPiece) -> bytes:
    """Write one frame.

    >>> list(encode_frame(LookPiece([], [], b"")))
    [0, 0, 0, 5, 147, 144, 144, 196, 0]
    """
    data = _encode(content)
    return len(data).to_bytes(_LENGTH_BYTES, "big") + data


def decode_look(chunks: Iterable[bytes]) -> Iterator[LookHead | LookPiece]:
    """Read an answer as it comes: the head, then the pieces without the last, empty one; raise `LookError`.

    >>> list(decode_look([encode_frame(LookPiece([], [], b""))]))
    Traceback (most recent call last):
    ...
    schemas.look.LookError: the answer is no look at a partition: Expected `object`, got `array`
    """
    frames = _frames(chunks)
    head = _decoded(_head, next(frames, b""))
    if head.version != VERSION:
        raise LookError(f"the look has format version {head.version}; this program reads version {VERSION}")
    yield head
    for frame in frames:
        piece = _decoded(_piece, frame)
        if not piece.users:
            return
        yield piece
    raise LookError("the look breaks off before its end")


def _frames(chunks: Iterable[bytes]) -> Iterator[bytes]:
    left = bytearray()
    for chunk in chunks:
        left += chunk
        while len(left) >= _LENGTH_BYTES:
            size = int.from_bytes(left[:_LENGTH_BYTES], "big")
            if size > FRAME_BYTES_MAX:
                raise LookError(f"a frame of {size} bytes is none of a look")
            end = _LENGTH_BYTES + size
            if len(left) < end:
                break
            yield bytes(left[_LENGTH_BYTES:end])
            del left[:end]


def _decoded(decoder: msgspec.msgpack.Decoder[T], frame: bytes) -> T:
    try:
        return decoder.decode(frame)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise LookError(f"the answer is no look at a partition: {error}") from error
