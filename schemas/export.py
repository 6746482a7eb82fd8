"""Everything that is known about one user: a line of `clout export`, and what a worker answers about its users."""

from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from schemas.change import Score, Subscores
from schemas.interaction import TimeText, UserId


class NetworkState(Struct, frozen=True):
    """What one network adds to a user's score; the sums are not rounded and speak of `time`."""

    reach: float
    amplification: float
    network: float
    time: Annotated[TimeText, Meta(description="The moment that the three sums refer to.")]
    events: Annotated[int, Meta(ge=0, description="Interactions that were folded in.")]
    score: Score


class UserState(Struct, frozen=True):
    """One user's score as of the clocks, with the sums behind it."""

    user: UserId
    score: Annotated[Score | None, Meta(description="The score; null when all that others did was taken back.")]
    sequence: Annotated[int, Meta(ge=0)]
    as_of: TimeText
    subscores: Annotated[Subscores | None, Meta(description="Null when there is no score.")]
    networks: dict[str, NetworkState]
    stale: Annotated[
        bool | UnsetType,
        Meta(description="True while the user's partition stands still: the score is the last good one."),
    ] = UNSET


encode_user: Final = msgspec.json.Encoder().encode
"""Write one user as a line of JSON, without the line's end."""

decode_user: Final = msgspec.json.Decoder(UserState).decode
"""Read one line; a msgspec.DecodeError says what is wrong."""
