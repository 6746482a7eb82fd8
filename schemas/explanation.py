"""Why a user's score is what it is: what a worker answers at `/v1/explanations/USER`, and `clout explain --json`.

The numbers add up. On each network `granted` - `decayed` - `taken_back` = `sums`; over all networks `sums` are the
user's; `strength` = reach^1/4 · amplification^1/4 · network^1/2, and

    unrounded = min(100, 1 + 99 · ln(1 + strength) / ln(1 + model.score_scale))

which, rounded half up to 0.1, is the score. The numbers are not rounded, so this holds to about 1e-12 of them.
"""

from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from schemas.change import Score, ScoreChange, Subscores
from schemas.incident import IncidentFacts
from schemas.interaction import TimeText, UserId

Share = Annotated[float, Meta(ge=0, le=1)]


class Sums(Struct, frozen=True):
    """Three sums, or what became of them."""

    reach: Annotated[float, Meta(description="How many people.")]
    amplification: Annotated[float, Meta(description="How much they do.")]
    network: Annotated[float, Meta(description="How influential they are.")]


class Contributor(Struct, frozen=True, kw_only=True):
    """What one person's interactions are worth now, in the network sum, as far as a summary of eight people knows."""

    actor: Annotated[UserId | None, Meta(description="Who; null for somebody who is not named.")]
    weight: Annotated[float, Meta(ge=0, description="About what they gave, decayed to now.")]
    least: Annotated[float, Meta(ge=0, description="They gave no less than this.")]
    most: Annotated[float, Meta(ge=0, description="They gave no more than this.")]
    share: Annotated[Share, Meta(description="Of the network sum, by weight.")]


class NetworkPart(Struct, frozen=True, kw_only=True):
    """What one network adds to a user's score."""

    score: Annotated[Score, Meta(description="The score on this network by itself.")]
    events: Annotated[int, Meta(ge=1, description="Interactions that count, those taken back left out.")]
    last_event: TimeText
    clock: Annotated[TimeText | None, Meta(description="How far the network's time has come; null before it is known.")]
    taken_at: Annotated[TimeText, Meta(description="The moment that its sums are taken at: the later of both.")]
    sums: Annotated[Sums, Meta(description="At that moment.")]
    share: Annotated[Sums, Meta(description="Of the user's sums over all networks, 0 to 1.")]
    granted: Annotated[Sums, Meta(description="All that interactions were ever worth when they came.")]
    decayed: Annotated[Sums, Meta(description="What time has taken of it.")]
    taken_back: Annotated[Sums, Meta(description="What retractions took back, as it was worth then.")]
    contributors: Annotated[
        list[Contributor],
        Meta(
            description="Who may have given the network sum most, by weight. Whoever gave more than `others_most` is "
            "among them; where many gave alike, nobody may have."
        ),
    ]
    others: Annotated[float, Meta(ge=0, description="What is left of the network sum beside their weights.")]
    others_most: Annotated[float, Meta(ge=0, description="Nobody else gave more than this.")]


class ModelUsed(Struct, frozen=True, kw_only=True):
    """The model and its parameters."""

    name: str
    half_life_days: float
    rate_half_life_days: float
    rate_reference: float
    alpha: float
    influence_floor: float
    score_scale: float
    weights: Annotated[dict[str, float], Meta(description="What an interaction of each kind is worth.")]


class Anchor(Struct, frozen=True, kw_only=True):
    """The score a while ago."""

    hour: Annotated[TimeText, Meta(description="When the hour began that the furthest clock is in.")]
    score: Annotated[Score | None, Meta(description="What was published then; null where there was no score.")]


class NextDecay(Struct, frozen=True, kw_only=True):
    """When decay alone will next change what is published, if all clocks go on alike."""

    after_seconds: Annotated[float, Meta(ge=0)]
    at: Annotated[dict[str, TimeText], Meta(description="By network, in the time of its clock.")]


class Explanation(Struct, frozen=True, kw_only=True):
    """Why a user's score is what it is, as of the clocks."""

    user: UserId
    score: Annotated[Score | None, Meta(description="Null when all that others did was taken back.")]
    sequence: Annotated[int, Meta(ge=0, description="Number of the last change.")]
    as_of: TimeText
    subscores: Annotated[Subscores | None, Meta(description="Null when there is no score.")]
    sums: Annotated[Sums, Meta(description="Over all networks.")]
    strength: Annotated[float, Meta(ge=0, description="What the score is the logarithm of.")]
    unrounded: Annotated[float | None, Meta(description="The score before it is rounded; null when there is none.")]
    networks: dict[str, NetworkPart]
    model: ModelUsed
    anchor: Annotated[Anchor | None, Meta(description="Null where it is not known.")]
    next_decay: Annotated[NextDecay | None, Meta(description="Null when decay will change nothing any more.")]
    stale: Annotated[
        bool | UnsetType,
        Meta(description="True while the user's partition stands still: the score is the last good one."),
    ] = UNSET


class Standing(Struct, frozen=True, kw_only=True):
    """Where a score stands among all."""

    users: Annotated[int, Meta(ge=1, description="How many people have a score.")]
    lower: Annotated[
        Share, Meta(description="At least so many of them have a lower one; the same whole points do not count.")
    ]


class Explained(Struct, frozen=True, kw_only=True):
    """What `clout explain USER --json` prints."""

    explanation: Explanation
    standing: Annotated[Standing | None, Meta(description="Null before the workers have counted their users.")]
    changes: Annotated[list[ScoreChange], Meta(description="The last ones, the newest last.")]
    unexplained: Annotated[
        dict[int, float],
        Meta(description="Of these, by their numbers, which fell further than decay takes, and by how many points."),
    ] = {}
    incidents: Annotated[list[IncidentFacts], Meta(description="Those that touched this user; nobody is named.")]


class ChangeExplained(Struct, frozen=True, kw_only=True):
    """What `clout explain USER --change SEQUENCE --json` prints."""

    change: ScoreChange
    before: Annotated[ScoreChange | None, Meta(description="The change before; null when the topic has it no more.")]
    moved: Annotated[float | None, Meta(description="By how many points; null where there was or is no score.")]
    elapsed_seconds: Annotated[float | None, Meta(description="Event time since the change before.")]
    by_decay_alone: Annotated[
        float | None,
        Meta(description="About the score that decay alone would have left, not rounded; null on several networks."),
    ]
    unexplained: Annotated[
        float | None,
        Meta(
            description="By how many points it fell further than decay takes in that time, by a change with the cause "
            "`decay`: that is a fault, since others only add. Null where it did not, and where nothing was computed."
        ),
    ] = None


encode_explained: Final = msgspec.json.Encoder().encode
"""Write what `clout explain --json` prints."""

encode_explanation: Final = msgspec.json.Encoder().encode
"""Write an explanation as JSON."""

decode_explanation: Final = msgspec.json.Decoder(Explanation).decode
"""Read an explanation; a msgspec.DecodeError says what is wrong."""
