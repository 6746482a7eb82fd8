"""What a social network reports: one person did something towards another.

A value of `interactions.<network>.v1` is one interaction or an array of them, as JSON. The struct is flat and its
types are plain because twenty thousand of them are read at a time; what a kind needs is in `REQUIRED`, and limits
are checked by column in `streams.decoders.columns`.
"""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from schemas.kinds import HEARTBEAT, KIND_CODES, KINDS, RETRACT
from schemas.limits import (
    ID_BYTES_MAX,
    OBJECT_BYTES_MAX,
    SOURCE_BYTES_MAX,
    TIME_MS_MAX,
    TIME_MS_MIN,
    USER_BYTES_MAX,
)

Kind = Literal["share", "quote", "reply", "mention", "follow", "reaction", "retract", "heartbeat"]

RETRACT_CODE: Final = 254
HEARTBEAT_CODE: Final = 255

CODES: Final[dict[str, int]] = {**KIND_CODES, RETRACT: RETRACT_CODE, HEARTBEAT: HEARTBEAT_CODE}
"""Number of every kind that may come in; a lane carries all but heartbeats."""

REQUIRED: Final[dict[str, tuple[str, ...]]] = {
    **dict.fromkeys(KINDS, ("id", "kind", "actor", "target", "time")),
    RETRACT: ("id", "kind", "actor", "time"),
    HEARTBEAT: ("kind", "time"),
}
"""Fields that an interaction of each kind must have, not empty."""


def _text(description: str, bytes_max: int) -> Meta:
    # Only for the JSON Schema: lengths count UTF-8 bytes, which a schema cannot say and columns check.
    return Meta(description=description, extra_json_schema={"minLength": 1, "maxLength": bytes_max})


UserId = Annotated[
    str,
    _text("A person's account: any text without control characters.", USER_BYTES_MAX),
    Meta(extra_json_schema={"pattern": r"^[^\u0000-\u001f]+$"}),
]
TimeMs = Annotated[int, Meta(extra_json_schema={"minimum": TIME_MS_MIN, "exclusiveMaximum": TIME_MS_MAX})]
TimeText = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]


class Interaction(Struct, frozen=True, gc=False, omit_defaults=True):
    """Someone did something towards someone else; or took it back; or a collector is alive.

    >>> encode(Interaction(id="17", kind="share", actor="twitter:1", target="twitter:2", time=1_340_000_000_000))
    b'{"kind":"share","time":1340000000000,"id":"17","actor":"twitter:1","target":"twitter:2"}'
    """

    kind: Annotated[
        Kind,
        Meta(
            description="What was done. `retract` takes back the event that `id` names, by the same actor; "
            "`heartbeat` says that this source has written all it has up to `time` to this raw partition."
        ),
    ]
    time: Annotated[
        TimeMs | TimeText,
        Meta(description="When it happened: RFC 3339 with an offset, or milliseconds since 1970 in UTC."),
    ]
    id: Annotated[str, _text("Name of the event, unique for its actor on this network.", ID_BYTES_MAX)] = ""
    actor: UserId = ""
    target: UserId = ""
    object: Annotated[str, _text("What was shared, answered or liked.", OBJECT_BYTES_MAX)] | None = None
    source: Annotated[str, _text("The collector that reports this.", SOURCE_BYTES_MAX)] | None = None


encode: Final = msgspec.json.Encoder().encode
"""Write one interaction, or a list of them, as a record's value."""
