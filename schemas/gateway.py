"""What the gateway answers over HTTP: JSON, described at /openapi.json, which is made from these types."""

from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from schemas.change import Cause, Score, Subscores
from schemas.interaction import TimeText, UserId

Percentile = Annotated[float, Meta(ge=0, le=100, description="Percent of users whose score is lower.")]


class ScoreAnswer(Struct, frozen=True, kw_only=True):
    """One user's score as it was last published, and what it means."""

    user: UserId
    score: Score
    sequence: Annotated[int, Meta(ge=1, description="Of the change that made it: 1, 2, 3 … for each user.")]
    previous: Annotated[Score | None, Meta(description="The score before; null at the first.")]
    subscores: Subscores
    networks: Annotated[dict[str, Score], Meta(description="The score on each network by itself.")]
    as_of: Annotated[TimeText, Meta(description="The moment that the score speaks of.")]
    cause: Annotated[Cause, Meta(description="Why it last moved.")]
    model: Annotated[str, Meta(description="Name of the model that computed it.")]
    percentile: Annotated[Percentile | None, Meta(description="Null while nobody knows how many users there are.")]
    meaning: Annotated[str, Meta(description="The same in plain words.")]
    age_seconds: Annotated[float, Meta(ge=0, description="For how long there may be changes that are not seen here.")]
    stale: Annotated[bool, Meta(description="The user's partition stands still, or was not heard of for long.")]
    reference: Annotated[str | UnsetType, Meta(description="What a correction or a retraction refers to.")] = UNSET


class Problem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What went wrong, as RFC 9457 has it."""

    type: Annotated[str, Meta(description="A name of the problem: its documentation is at this address.")]
    title: Annotated[str, Meta(description="What the problem is, in a line.")]
    status: Annotated[int, Meta(ge=400, le=599, description="HTTP status.")]
    detail: Annotated[str, Meta(description="What about this request.")] = ""
    hint: Annotated[str, Meta(description="What to do about it.")] = ""


encode: Final = msgspec.json.Encoder().encode
"""Write an answer."""
