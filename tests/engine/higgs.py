"""The real interactions of July 2012, as a replay sends them and as the reference takes them."""

import gzip
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import msgspec

from clout.snap import RawEvent, SnapEvents
from schemas.interaction import Interaction
from scorer.reference import Event

LINES = 563_069
TWINS = 36_902
SELF = 7_081
APPLIED = 519_086
USERS = 59_075
LAST_MS = 1_341_705_593_000


class Interactions(NamedTuple):
    """Raw records, and the events that they are."""

    raw: list[RawEvent]
    events: list[Event]


def first_interactions(path: Path, count: int | None = None, *, prefix: str = "twitter") -> Interactions:
    """Return the first `count` interactions (twins left out) in the order of the file; all when None."""
    decode = msgspec.json.Decoder(Interaction).decode
    with gzip.open(path) as lines:
        raw = list(islice(SnapEvents("twitter", prefix=prefix).events(lines), count))
    found = [decode(value) for _, value, _ in raw]
    events = [
        Event("twitter", event.id, event.kind, event.actor, event.target, event.time)
        for event in found
        if isinstance(event.time, int)
    ]
    return Interactions(raw, events)
