"""What ingest keeps about a raw partition, as the metadata of the offset that it commits.

Ingest has no state of its own: its sequences and counters travel with the offset, in the same transaction as the
lane records that they speak of, so that they are right after any crash. JSON, because Kafka takes a string of at
most 4096 bytes.
"""

from dataclasses import dataclass, field
from typing import Final

import msgspec

COUNTERS: Final = ("read", "passed", "dead_lettered", "heartbeat", "retracting")
"""Events of a raw partition by what ingest did with them; read is the sum of the others."""


@dataclass(slots=True)
class FeedPosition:
    """Sequences and counters of one raw partition."""

    sent: list[int]
    """Last sequence written to each lane partition."""
    counters: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTERS, 0))
    """Events since the beginning of the raw partition, by outcome."""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(FeedPosition).decode


def encode(position: FeedPosition) -> str:
    """Return the metadata text.

    >>> decode(encode(FeedPosition([3, 0])), 2).sent
    [3, 0]
    """
    return _encode(position).decode()


def decode(text: str | None, lane_partitions: int) -> FeedPosition:
    """Read the metadata; a partition never committed starts at zero. Raise `ValueError` when it is not ours."""
    if not text:
        return FeedPosition([0] * lane_partitions)
    try:
        position = _decode(text)
    except msgspec.DecodeError as error:
        raise ValueError(f"offset metadata {text[:80]!r} was not written by ingest: {error}") from error
    if len(position.sent) != lane_partitions:
        raise ValueError(f"offset metadata speaks of {len(position.sent)} lane partitions, not {lane_partitions}")
    return position


def source_of(network: str, raw_partition: int) -> str:
    """Return the source name that packed records of a raw partition carry."""
    return f"{network}/{raw_partition}"
