"""A score changed: the public event of `scores.changes.v1`.

Keyed by user, JSON, with CloudEvents 1.0 headers in binary mode. For every user the sequence runs 1, 2, 3 … without
gap or repeat and `previous` is the score before, so that any reader can prove that nothing was lost or doubled.
"""

from typing import Annotated, Final, Literal, get_args

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from schemas.interaction import TimeText, UserId
from schemas.times import format_ms

Cause = Literal["interaction", "decay", "retraction", "forget", "model", "correction"]
"""Why a score moved: the weightiest cause of the batch."""

CAUSES: Final[tuple[Cause, ...]] = get_args(Cause)

Score = Annotated[float, Meta(ge=1, le=100, description="1 to 100, rounded half up to 0.1.")]

CHANGE_TYPE: Final = "clout.score.changed.v1"
"""CloudEvents type of a change."""

ID_HEADER: Final = "ce_id"
"""The one header that no two changes have in common."""

Headers = list[tuple[str, str | bytes | None]]
"""Headers as the Kafka client takes them."""

_COMMON_HEADERS: Final[Headers] = [
    ("ce_specversion", b"1.0"),
    ("ce_type", CHANGE_TYPE.encode()),
    ("content-type", b"application/json"),
]


GRANTED_STEPS: Final = 100_000
"""A reason's `granted` is rounded to whole steps of 1 / 100,000."""


class Subscores(Struct, frozen=True, gc=False):
    """The three parts of a score, on the same scale."""

    reach: Annotated[Score, Meta(description="How many people engage.")]
    amplification: Annotated[Score, Meta(description="How much they engage.")]
    network: Annotated[Score, Meta(description="How influential those are who engage.")]


class Reason(Struct, frozen=True, gc=False):
    """What one person's interactions added."""

    actor: Annotated[UserId | None, Meta(description="Who; null for somebody who is not named.")]
    network: str
    events: Annotated[int, Meta(ge=1, description="Interactions of this person.")]
    granted: Annotated[float, Meta(ge=0, description="Added to the network sum, as granted, rounded to 0.00001.")]


class ScoreChange(Struct, frozen=True, gc=False):
    """One user's score as published, and the one before."""

    user: UserId
    sequence: Annotated[int, Meta(ge=1, description="1, 2, 3 … for each user, without gap or repeat.")]
    score: Annotated[Score | None, Meta(description="The score; null when all was taken back, or the user forgotten.")]
    previous: Annotated[Score | None, Meta(description="The score before; null at the first and after null.")]
    subscores: Annotated[Subscores | None, Meta(description="Null when there is no score.")]
    networks: Annotated[dict[str, Score], Meta(description="The score on each network by itself.")]
    as_of: Annotated[TimeText, Meta(description="The moment that the score speaks of, RFC 3339 in UTC.")]
    cause: Annotated[Cause, Meta(description="Why the score moved: the weightiest cause.")]
    model: Annotated[str, Meta(description="Name of the model that computed it.")]
    reference: Annotated[str | None, Meta(description="What a correction or a retraction refers to.")] = None
    reasons: Annotated[
        list[Reason] | UnsetType,
        Meta(description="Who added most since the change before, the largest first; absent where it was not noted."),
    ] = UNSET


_encode: Final = msgspec.json.Encoder().encode

decode_change: Final = msgspec.json.Decoder(ScoreChange).decode
"""Read a change; a msgspec.DecodeError says what is wrong."""


def encode_change(
    user: str,
    sequence: int,
    score: float | None,
    previous: float | None,
    subscores: Subscores | None,
    networks: dict[str, float],
    as_of_ms: int,
    cause: Cause,
    model: str,
    reference: str | None = None,
    reasons: list[Reason] | UnsetType = UNSET,
) -> bytes:
    """Write a change as a record's value; scores come rounded as they are published.

    >>> encode_change("twitter:1", 1, 26.4, None, Subscores(30.1, 25.0, 20.5), {"twitter": 26.4},
    ...               1_340_000_000_000, "interaction", "1")[:61]
    b'{"user":"twitter:1","sequence":1,"score":26.4,"previous":null'
    """
    as_of = format_ms(as_of_ms)
    return _encode(
        ScoreChange(user, sequence, score, previous, subscores, networks, as_of, cause, model, reference, reasons),
    )


def change_id(user: bytes, sequence: int) -> bytes:
    """Return the CloudEvents id of a change.

    >>> change_id(b"twitter:1", 3)
    b'twitter:1:3'
    """
    return b"%b:%d" % (user, sequence)


def common_headers(source: bytes) -> Headers:
    """Write the CloudEvents headers that all changes of an installation and model, its `source`, have in common."""
    return [*_COMMON_HEADERS, ("ce_source", source)]


def change_headers(user: str, sequence: int, source: bytes) -> Headers:
    """Write the CloudEvents headers of a change; `source` names the installation and model.

    >>> change_headers("twitter:1", 3, b"/clout/1")[-1]
    ('ce_id', b'twitter:1:3')
    """
    return [*common_headers(source), (ID_HEADER, change_id(user.encode(), sequence))]
