"""What ingest took in from one raw partition: a record of `feeds.v1`, keyed `NETWORK/RAW_PARTITION`.

Written in ingest's transactions, so it tells of nothing that was not taken in. Counters run since the beginning of
the raw partition and survive every crash. Volumes are told once, as they come, and wait for up to about a second to be:
those that wait when ingest crashes or is stopped, or when a rebalance takes the raw partition from it, are lost. Read
it with `isolation.level=read_committed`.
"""

from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from schemas.interaction import TimeText

BUCKET_MS: Final = 300_000
"""Event time that one volume is of: five minutes, counted from 1970."""

VOLUMES_MAX: Final = 500
"""Volumes in one record; a batch that spans more is told in several."""

REGISTERS: Final = 256
"""Of a sketch: its estimate of distinct users is off by 6.5 % (one standard deviation, 1.04/√256)."""

OTHER_SOURCES: Final = ""
"""Stands for all collectors that the settings of the network do not list, and for events that name none."""


class Volume(Struct, frozen=True, kw_only=True):
    """Events of one collector in one stretch of event time, since the record before."""

    source: Annotated[str, Meta(description="A registered collector; empty for all others together.")]
    bucket: Annotated[TimeText, Meta(description="When the stretch of five minutes of event time began.")]
    events: Annotated[int, Meta(ge=1, description="Interactions, retractions among them; no heartbeats.")]
    retracting: Annotated[int, Meta(ge=0, description="How many of them take something back.")]
    actors: Annotated[
        bytes,
        Meta(
            min_length=REGISTERS,
            max_length=REGISTERS,
            description="HyperLogLog registers of who acted, base64 of a byte each (Flajolet et al. 2007); the "
            "largest of each register over records is the sketch of all of them.",
        ),
    ]
    targets: Annotated[
        bytes,
        Meta(
            max_length=REGISTERS,
            description="The same of whom interactions credit, retractions left out; empty from an ingest that "
            "does not tell it.",
        ),
    ] = b""


class FeedReport(Struct, frozen=True, kw_only=True):
    """One raw partition as ingest has read it."""

    network: str
    raw_partition: Annotated[int, Meta(ge=0)]
    raw_partitions: Annotated[int, Meta(ge=1, description="How many the network has.")]
    written: Annotated[TimeText, Meta(description="When it was written, by the clock of ingest.")]
    position: Annotated[int, Meta(ge=0, description="Offset of the next record to read.")]
    lag_records: Annotated[int, Meta(ge=0, description="Records that have come and were not read.")]
    at_end: Annotated[bool, Meta(description="Whether everything that had come was read.")]
    frozen: Annotated[bool, Meta(description="Whether the network is frozen: nothing of it is read.")]
    time: Annotated[TimeText | None, Meta(description="Latest event time, or heartbeat, read; null before any.")]
    arrival: Annotated[TimeText | None, Meta(description="Latest arrival read, by the broker's clock.")]
    heartbeats: Annotated[dict[str, TimeText], Meta(description="Last heartbeat of each registered collector.")]
    counters: Annotated[
        dict[str, int],
        Meta(
            description="Events since the beginning: read, and of these passed, dead_lettered, heartbeat, retracting."
        ),
    ]
    volumes: Annotated[list[Volume], Meta(max_length=VOLUMES_MAX)] = []


encode_feed_report: Final = msgspec.json.Encoder().encode
"""Write a report as a record's value."""

decode_feed_report: Final = msgspec.json.Decoder(FeedReport).decode
"""Read a report; a msgspec.DecodeError says what is wrong."""
