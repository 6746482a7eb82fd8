"""What ingest keeps about a raw partition, as the metadata of the offset that it commits.

Ingest has no state of its own: its sequences and counters travel with the offset, in the same transaction as the
lane records that they speak of, so that they are right after any crash. JSON, because Kafka takes a string of at
most 4096 bytes.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import msgspec

from streams.errors import CloutError

VERSION: Final = 1
COUNTERS: Final = ("read", "passed", "dead_lettered", "heartbeat", "retracting")
"""Events of a raw partition by what ingest did with them; read is the sum of the others."""

CONTROL: Final = "@control"
"""Stands for the control topic where the name of a network stands for its raw topic; no network can be called so."""

COMMAND_OUTCOMES: Final = ("read", "accepted", "refused", "dead_lettered")
"""What came as commands, by what ingest did with it; read is the sum of the others."""


@dataclass(slots=True)
class FeedPosition:
    """Sequences and counters of one raw partition."""

    sent: list[int]
    """Last sequence written to each lane partition."""
    counters: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTERS, 0))
    """Events since the beginning of the raw partition, by outcome."""
    issued_ms: dict[str, int] = field(default_factory=dict)
    """When each key last issued a command; only of the control topic."""
    time_ms: int = 0
    """Latest event time, or heartbeat, read; 0 when there was none."""
    arrival_ms: int = 0
    """Latest arrival read."""
    heartbeats_ms: dict[str, int] = field(default_factory=dict)
    """Last heartbeat of each registered collector."""
    version: int = VERSION
    """Of this format; the first ones did not say it."""


class _Version(msgspec.Struct):
    version: int = VERSION


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(FeedPosition).decode
_decode_version = msgspec.json.Decoder(_Version).decode


def encode(position: FeedPosition) -> str:
    """Return the metadata text.

    >>> decode(encode(FeedPosition([3, 0])), 2).sent
    [3, 0]
    """
    return _encode(position).decode()


def decode(text: str | None, lane_partitions: int, outcomes: Iterable[str] = COUNTERS) -> FeedPosition:
    """Read the metadata; a partition never committed starts at zero.

    Raise `ValueError` when it is not ours, `CloutError` when it is of another version.
    """
    if not text:
        return FeedPosition([0] * lane_partitions, dict.fromkeys(outcomes, 0))
    try:
        # Before the rest: the fields of another version may differ.
        version = _decode_version(text).version
        if version != VERSION:
            raise CloutError(
                f"ingest's position has format version {version}",
                detail=f"it is the metadata of a committed offset; this program reads version {VERSION}",
                hint="use the release that wrote it, or a later one",
            )
        position = _decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"offset metadata {text[:80]!r} was not written by ingest: {error}") from error
    if len(position.sent) != lane_partitions:
        raise ValueError(f"offset metadata speaks of {len(position.sent)} lane partitions, not {lane_partitions}")
    return position


def source_of(network: str, raw_partition: int) -> str:
    """Return the source name that packed records of a raw partition carry."""
    return f"{network}/{raw_partition}"
