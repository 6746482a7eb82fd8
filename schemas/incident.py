"""Something went wrong, or seems to: a record of `incidents.v1`, keyed by the incident's id; the newest one counts.

Who finds the same fault again writes the same id, so that one cause is one incident. Read it with
`isolation.level=read_committed`.
"""

from typing import Annotated, Final, Literal, get_args

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from schemas.change import Score
from schemas.interaction import TimeText, UserId

IncidentKind = Literal["law_violation", "lane_gap", "partition_stopped"]

INCIDENT_KINDS: Final[dict[IncidentKind, str]] = {
    "law_violation": "A batch broke a law of the score: nothing of it was published, its partition stands still.",
    "lane_gap": "A record of a lane is missing, or came twice: nothing from there on was taken in, its partition "
    "stands still.",
    "partition_stopped": "A batch could not be worked off: nothing of it was published, its partition stands still.",
}
"""Every kind of incident, and what it means."""

Severity = Literal["critical", "major", "minor"]
IncidentStatus = Literal["investigating", "identified", "monitoring", "resolved"]
INCIDENT_STATUSES: Final[tuple[IncidentStatus, ...]] = get_args(IncidentStatus)

USERS_NAMED_MAX: Final = 1_000
"""Users whom a record names; how many there were it always says."""
USERS_SHOWN_MAX: Final = 20
"""Users of whom a record shows values."""


class Slice(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an incident is about; what is absent does not narrow it."""

    network: Annotated[str | None, Meta(description="A social network.")] = None
    partition: Annotated[int | None, Meta(description="A partition of the scores.")] = None


class Span(Struct, frozen=True, kw_only=True):
    """Records of a lane, by their offsets."""

    lane: Annotated[Literal["actors", "targets"], Meta(description="The lane between the stages.")]
    first: Annotated[int, Meta(ge=0, description="Offset of the first record.")]
    last: Annotated[int, Meta(ge=0, description="Offset of the last record.")]


class UserValues(Struct, frozen=True, kw_only=True):
    """What a user had, and what was about to be published."""

    user: UserId
    score: Annotated[Score | None, Meta(description="The last good score; null where there was none.")]
    proposed: Annotated[float | None, Meta(description="The score that was stopped; null where it is not a number.")]
    networks: Annotated[
        dict[str, list[float | None]],
        Meta(description="By network: reach, amplification and network sum before, then as proposed; null: no number."),
    ]


class Evidence(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was found, in numbers."""

    finding: Annotated[str, Meta(description="The law that was broken, or the detector that fired.")]
    detail: Annotated[str, Meta(description="In words and numbers.")]
    positions: Annotated[list[Span], Meta(description="The lane records concerned.")] = []
    suspect: Annotated[
        Span | None, Meta(description="The one record that breaks the law by itself; absent where none does.")
    ] = None
    users: Annotated[list[UserValues], Meta(description="Some of the users concerned.")] = []


class Incident(Struct, frozen=True, kw_only=True):
    """One incident as it stands."""

    id: Annotated[str, Meta(description="Its name; the same cause has the same.")]
    kind: IncidentKind
    slice: Slice
    severity: Severity
    status: IncidentStatus
    title: Annotated[str, Meta(description="What happened, in a line.")]
    opened: TimeText
    updated: TimeText
    evidence: list[Evidence]
    affected_users: Annotated[int, Meta(ge=0, description="How many users it touches.")]
    users: Annotated[list[UserId], Meta(description=f"Who they are, the first {USERS_NAMED_MAX:,} of them.")] = []
    reference: Annotated[str | None, Meta(description="What mended it, for instance a command's id.")] = None
    model: Annotated[str | UnsetType, Meta(description="Name of the model whose scores it concerns.")] = UNSET


encode_incident: Final = msgspec.json.Encoder().encode
"""Write an incident as a record's value."""

decode_incident: Final = msgspec.json.Decoder(Incident).decode
"""Read an incident; a msgspec.DecodeError says what is wrong."""
