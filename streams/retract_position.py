"""What `clout retract` keeps, as the metadata of an offset that it commits with what it writes.

It is that of the control topic in a group of its own; the offset is the order's place there. Offsets of the raw
partitions are committed with it. So whoever goes on does so exactly where the last transaction ended.
"""

from typing import Final

import msgspec

from streams.errors import CloutError

VERSION: Final = 1
SOURCE: Final = "@retract/0"
"""Under which it numbers its records for the lanes; no network can be called so."""
COUNTERS: Final = ("events", "chosen", "retractions", "unreadable")
"""What lay in the span: events of all collectors; those to take back; retractions of the collector, which stay; and
what could not be read, so never counted."""


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be taken back, and why."""

    network: str
    source: str
    """The collector; empty: all of them."""
    since_ms: int
    until_ms: int
    """Arrival of the first event, and of the first one that is not concerned any more."""
    incident: str


class RetractPosition(msgspec.Struct, kw_only=True):
    """How far the latest order was carried out."""

    sent: list[int]
    """Last sequence written to each lane partition, by all orders."""
    span: Span | None = None
    epoch: int = -1
    """The order's offset in the control topic."""
    counters: dict[str, int] = msgspec.field(default_factory=lambda: dict.fromkeys(COUNTERS, 0))
    done: bool = False
    """Whether it was carried out to its end."""
    version: int = VERSION

    @property
    def unfinished(self) -> Span | None:
        """Return what an order asked for that was not carried out to its end."""
        return None if self.done else self.span


class _Version(msgspec.Struct):
    version: int = VERSION


_encode = msgspec.json.Encoder().encode
_decode_version = msgspec.json.Decoder(_Version).decode
_decode = msgspec.json.Decoder(RetractPosition).decode


def encode(position: RetractPosition) -> str:
    """Return the metadata text.

    >>> decode(encode(RetractPosition(sent=[3, 0])), 2).sent
    [3, 0]
    """
    return _encode(position).decode()


def decode(text: str | None, lane_partitions: int) -> RetractPosition:
    """Read the metadata; nothing was ever sent where there is none. Raise `CloutError` when it cannot be used."""
    if not text:
        return RetractPosition(sent=[0] * lane_partitions)
    try:
        # Before the rest: the fields of another version may differ.
        version = _decode_version(text).version
        if version != VERSION:
            raise _unusable(f"has format version {version}; this program reads version {VERSION}")
        position = _decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _unusable(f"cannot be read: {error}") from error
    if len(position.sent) != lane_partitions:
        raise _unusable(f"speaks of {len(position.sent)} lane partitions, not {lane_partitions}")
    return position


def _unusable(detail: str) -> CloutError:
    return CloutError(
        "the position of `clout retract` cannot be used",
        detail=f"the metadata of its committed offset {detail}",
        hint="use the release that wrote it, or a later one, and the lanes.partitions that the topics were made with",
    )
