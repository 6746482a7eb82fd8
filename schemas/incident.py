"""Something went wrong, or seems to: a record of `incidents.v1`, keyed by the incident's id; the newest one counts.

Who finds the same fault again writes the same id, so that one cause is one incident. Read it with
`isolation.level=read_committed`.
"""

from typing import Annotated, Final, Literal, get_args

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from schemas.change import Score
from schemas.interaction import TimeText, UserId

IncidentKind = Literal[
    "law_violation",
    "lane_gap",
    "partition_stopped",
    "partition_silent",
    "partition_shrunk",
    "population_fall",
    "population_shift",
    "population_at_floor",
    "feed_stalled",
    "feed_partial",
    "dead_letter_surge",
    "duplicate_surge",
    "retraction_surge",
    "forget_surge",
    "canary",
    "canary_late",
    "declared",
]

INCIDENT_KINDS: Final[dict[IncidentKind, str]] = {
    "law_violation": "A batch broke a law of the score: nothing of it was published, its partition stands still.",
    "lane_gap": "A record of a lane is missing, or came twice: nothing from there on was taken in, its partition "
    "stands still.",
    "partition_stopped": "A partition of the scores stands still, since it cannot start or cannot work off a batch: "
    "nothing of it is published until that is mended.",
    "partition_silent": "A partition tells nothing of its users any more: its scores are not brought up to date.",
    "partition_shrunk": "A partition came back with fewer users than it had, and nobody asked to be forgotten.",
    "population_fall": "More users fell within an hour of event time than decay can explain.",
    "population_shift": "The scores of the population are distributed otherwise than an hour of event time ago.",
    "population_at_floor": "More users than before stand at the lowest score.",
    "feed_stalled": "A network's time stands still: a collector, a raw partition or ingest itself brings nothing.",
    "feed_partial": "A network brings fewer events, or of fewer people, than at this hour of the week.",
    "dead_letter_surge": "More events than usual cannot be taken in.",
    "duplicate_surge": "More events than usual had come before.",
    "retraction_surge": "More events than usual are taken back.",
    "forget_surge": "More users than usual are forgotten.",
    "canary": "A synthetic account whose score is known has another one.",
    "canary_late": "The change of a synthetic account does not come in time.",
    "declared": "An operator says so.",
}
"""Every kind of incident, and what it means."""

Severity = Literal["critical", "major", "minor"]
IncidentStatus = Literal["investigating", "identified", "monitoring", "resolved"]
INCIDENT_STATUSES: Final[tuple[IncidentStatus, ...]] = get_args(IncidentStatus)

USERS_NAMED_MAX: Final = 1_000
"""Users whom a record names; how many there were it always says."""
USERS_SHOWN_MAX: Final = 20
"""Users of whom a record shows values."""
NOTES_MAX: Final = 50
"""Notes that a record keeps, the newest."""
EVIDENCE_MAX: Final = 20
"""Findings that a record of the guard keeps: the first of each detector, and then the newest."""


class Slice(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an incident is about; what is absent does not narrow it."""

    network: Annotated[str | None, Meta(description="A social network.")] = None
    partition: Annotated[int | None, Meta(description="A partition of the scores.")] = None
    source: Annotated[str | None, Meta(description="A collector of the network.")] = None
    raw_partition: Annotated[int | None, Meta(description="A partition of the network's interactions.")] = None


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


class FindingTold(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was found, in numbers, without the users concerned."""

    finding: Annotated[str, Meta(description="The law that was broken, or the detector that fired.")]
    detail: Annotated[str, Meta(description="In words and numbers.")]
    positions: Annotated[list[Span], Meta(description="The lane records concerned.")] = []
    suspect: Annotated[
        Span | None, Meta(description="The one record that breaks the law by itself; absent where none does.")
    ] = None
    numbers: Annotated[
        dict[str, float], Meta(description="What was measured, with units in the names, and the limit that it passed.")
    ] = {}
    at: Annotated[TimeText | None, Meta(description="When it was found.")] = None


class Evidence(FindingTold, frozen=True, kw_only=True, omit_defaults=True):
    """What was found, in numbers."""

    users: Annotated[list[UserValues], Meta(description="Some of the users concerned.")] = []


class Note(Struct, frozen=True, kw_only=True):
    """What an operator says of an incident."""

    at: TimeText
    key: Annotated[str, Meta(description="Name of the key that signed it.")]
    text: str


class IncidentFacts(Struct, frozen=True, kw_only=True):
    """What everybody may know of an incident."""

    id: Annotated[str, Meta(description="Its name; the same cause has the same.")]
    kind: IncidentKind
    slice: Slice
    severity: Severity
    status: IncidentStatus
    title: Annotated[str, Meta(description="What happened, in a line.")]
    opened: TimeText
    updated: TimeText
    affected_users: Annotated[int, Meta(ge=0, description="How many users it touches.")]
    reference: Annotated[str | None, Meta(description="What mended it, for instance a command's id.")] = None
    model: Annotated[str | UnsetType, Meta(description="Name of the model whose scores it concerns.")] = UNSET
    since: Annotated[
        TimeText | None, Meta(description="Event time from which on results may be touched; absent where unknown.")
    ] = None
    frozen: Annotated[list[str], Meta(description="Networks that were frozen because of it.")] = []
    notes: Annotated[list[Note], Meta(max_length=NOTES_MAX, description="The newest last.")] = []


class Incident(IncidentFacts, frozen=True, kw_only=True):
    """One incident as it stands."""

    evidence: list[Evidence]
    users: Annotated[list[UserId], Meta(description=f"Who they are, the first {USERS_NAMED_MAX:,} of them.")] = []


class IncidentUsers(Struct, frozen=True, kw_only=True):
    """Some of the users whom an incident touches: a record of `incidents.users.v1`, keyed `INCIDENT/NUMBER`.

    All records of an incident together name everyone. The topic is compacted; a record without a value takes names
    away, for instance of somebody who was forgotten.
    """

    incident: Annotated[str, Meta(description="The incident's id.")]
    number: Annotated[int, Meta(ge=0, description="0, 1, 2 … for each incident.")]
    users: Annotated[list[UserId], Meta(min_length=1, max_length=USERS_NAMED_MAX)]


encode_incident: Final = msgspec.json.Encoder().encode
"""Write an incident as a record's value."""

decode_incident: Final = msgspec.json.Decoder(Incident).decode
"""Read an incident; a msgspec.DecodeError says what is wrong."""

encode_incident_users: Final = msgspec.json.Encoder().encode
"""Write users of an incident as a record's value."""

decode_incident_users: Final = msgspec.json.Decoder(IncidentUsers).decode
"""Read users of an incident; a msgspec.DecodeError says what is wrong."""
