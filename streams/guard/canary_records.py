"""What synthetic accounts do, as raw records in the format of their network: `streams.decoders` reads it back."""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct

from schemas.interaction import Interaction, Kind, encode
from schemas.kinds import KINDS
from schemas.times import format_ms
from schemas.users import CANARY_SOURCE

Headers = list[tuple[str, bytes]]


class Act(Struct, frozen=True):
    """A synthetic account does something towards another, or takes back what it did under this id."""

    kind: Kind
    actor: str
    target: str
    """Also of what is taken back."""
    id: str
    time_ms: int


class CanaryRecord(NamedTuple):
    """A raw record to send."""

    network: str
    raw_partition: int
    value: bytes
    headers: Headers


class Format(NamedTuple):
    """How acts are written in a format."""

    kinds: tuple[Kind, ...]
    """Kinds of interaction that it has words for, and are written here."""
    write: Callable[[Act], tuple[bytes, Headers]]


def canary_record(network: str, format_: str, raw_partition: int, act: Act) -> CanaryRecord:
    """Write an act as a record of its network.

    >>> act = Act("share", "@canary/t/1", "@canary/t/2", "7", 1_340_000_000_000)
    >>> canary_record("t", "native", 0, act).value[:48]
    b'{"kind":"share","time":1340000000000,"id":"7","a'
    """
    return CanaryRecord(network, raw_partition, *FORMATS[format_].write(act))


def _native(act: Act) -> tuple[bytes, Headers]:
    target = "" if act.kind == "retract" else act.target
    event = Interaction(act.kind, act.time_ms, act.id, act.actor, target, source=CANARY_SOURCE)
    return encode(event), []


_ACTIVITIES: Final[dict[Kind, str]] = {"share": "Announce", "reaction": "Like", "follow": "Follow"}


def _activity(act: Act) -> tuple[bytes, Headers]:
    time = format_ms(act.time_ms)
    activity: dict[str, Any] = {"actor": act.actor, "published": time}
    if act.kind == "retract":
        activity |= {"id": f"{act.id}/undo", "type": "Undo", "object": act.id}
    else:
        aim = act.target if act.kind == "follow" else {"id": f"{act.id}/object", "attributedTo": act.target}
        activity |= {"id": act.id, "type": _ACTIVITIES[act.kind], "object": aim}
    attributes = {
        "ce_specversion": "1.0",
        "ce_id": activity["id"],
        "ce_source": CANARY_SOURCE,
        "ce_type": "clout.canary.v1",
        "ce_time": time,
        "content-type": "application/activity+json",
    }
    return msgspec.json.encode(activity), [(name, text.encode()) for name, text in attributes.items()]


FORMATS: Final[Mapping[str, Format]] = {
    "native": Format(KINDS, _native),
    "activitystreams": Format(tuple(_ACTIVITIES), _activity),
}
"""By the decoder's name."""
