"""What the gateway answers over HTTP: JSON, described at /openapi.json, which is made from these types."""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from schemas.change import Cause, Score, ScoreChange, Subscores
from schemas.dead_letter import Reason
from schemas.explanation import Explanation, Standing
from schemas.incident import IncidentFacts, IncidentStatus, Severity
from schemas.interaction import TimeText, UserId
from schemas.population import Histogram, Shift

Percentile = Annotated[float, Meta(ge=0, le=100, description="Percent of users whose score is lower.")]
AgeSeconds = Annotated[float, Meta(ge=0, description="For how long there may be changes that are not seen here.")]
AsOf = Annotated[TimeText | None, Meta(description="The latest moment that a score speaks of; null before the first.")]
SomeStale = Annotated[bool, Meta(description="A partition stands still, or was not heard of for long.")]


class Found(Struct, frozen=True, kw_only=True):
    """Somebody who was found."""

    user: UserId
    score: Score


class SearchAnswer(Struct, frozen=True, kw_only=True):
    """Users whose id begins so."""

    users: Annotated[list[Found], Meta(description="In the order of their ids.")]
    more: Annotated[bool, Meta(description="Whether there may be more.")]


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
    age_seconds: AgeSeconds
    stale: Annotated[bool, Meta(description="The user's partition stands still, or was not heard of for long.")]
    reference: Annotated[str | UnsetType, Meta(description="What a correction or a retraction refers to.")] = UNSET


class NotFound(Struct, frozen=True):
    """A user who was asked about and has no score."""

    user: UserId
    problem: Annotated[str, Meta(description="Name of the problem: unknown-user or no-score.")]


class ScoresAnswer(Struct, frozen=True, kw_only=True):
    """The scores of several users, in the order in which they were named."""

    scores: list[ScoreAnswer]
    unknown: Annotated[list[NotFound], Meta(description="Those who have none.")]


class HistoryPoint(Struct, frozen=True, gc=False):
    """A change of a user's score, as it was published."""

    sequence: Annotated[int, Meta(ge=1)]
    as_of: TimeText
    score: Annotated[Score | None, Meta(description="Null when all was taken back.")]
    subscores: Annotated[Subscores | None, Meta(description="Null when there is no score.")]
    cause: Cause
    model: str


class Mark(Struct, frozen=True, kw_only=True):
    """Something to know about a stretch of a user's history."""

    kind: Annotated[Literal["incident", "model"], Meta(description="An incident that touched them, or a new model.")]
    at: Annotated[TimeText, Meta(description="From when on: of an incident, since when results may be touched.")]
    until: Annotated[TimeText | None, Meta(description="When an incident was resolved; null while it is open.")] = None
    title: Annotated[str, Meta(description="What happened, in a line.")]
    incident: Annotated[str | UnsetType, Meta(description="The incident's id.")] = UNSET
    severity: Severity | UnsetType = UNSET
    status: IncidentStatus | UnsetType = UNSET


class HistoryAnswer(Struct, frozen=True, kw_only=True):
    """How a user's score moved; points are as they were published, and none is made up."""

    user: UserId
    first: Annotated[TimeText, Meta(description="From when on it was asked for.")]
    last: Annotated[TimeText, Meta(description="Until when.")]
    full_since: Annotated[TimeText, Meta(description="From here on every change is kept; before, the last of a day.")]
    changes: Annotated[int, Meta(ge=0, description="How many are kept of this time.")]
    thinned: Annotated[bool, Meta(description="Whether not all of them are among the points.")]
    points: Annotated[list[HistoryPoint], Meta(description="The oldest first.")]
    marks: Annotated[list[Mark], Meta(description="The oldest first.")]
    age_seconds: AgeSeconds
    stale: Annotated[bool, Meta(description="The user's partition stands still, or was not heard of for long.")]


class ExplanationAnswer(Struct, frozen=True, kw_only=True):
    """Why a user's score is what it is, from the worker that keeps it."""

    explanation: Explanation
    standing: Annotated[Standing | None, Meta(description="Null while nobody knows how many users there are.")]
    meaning: Annotated[str, Meta(description="Where the score stands, in plain words.")]
    changes: Annotated[list[ScoreChange], Meta(description="The last ones, the newest last.")]
    incidents: Annotated[list[IncidentFacts], Meta(description="Those that touched this user, the newest first.")]


class Ranked(Struct, frozen=True, kw_only=True):
    """One place of a list of those who stand highest."""

    rank: Annotated[int, Meta(ge=1)]
    user: UserId
    value: Annotated[Score, Meta(description="What the list is ordered by.")]
    score: Score


class TopAnswer(Struct, frozen=True, kw_only=True):
    """Who stands highest."""

    by: Literal["score", "reach", "amplification", "network"]
    network: Annotated[str | None, Meta(description="The network that they are on; null for all.")]
    users: Annotated[list[Ranked], Meta(description="The highest first.")]
    as_of: AsOf
    age_seconds: AgeSeconds
    stale: SomeStale


class Mover(Struct, frozen=True, kw_only=True):
    """Somebody whose score moved far."""

    user: UserId
    score: Score
    moved: Annotated[float, Meta(description="Points since the last full hour of event time began.")]


class MoversAnswer(Struct, frozen=True, kw_only=True):
    """Whose score moved furthest, up or down."""

    users: Annotated[list[Mover], Meta(description="The furthest first.")]
    since: Annotated[TimeText | None, Meta(description="The hour that moves are counted from; null before any move.")]
    as_of: AsOf
    age_seconds: AgeSeconds
    stale: SomeStale


class PopulationPart(Struct, frozen=True, kw_only=True):
    """The users of one network, by their score there."""

    users: Annotated[int, Meta(ge=0)]
    histogram: Histogram
    clock: Annotated[TimeText | None, Meta(description="The moment by which scores are taken; null before the first.")]


class PopulationAnswer(Struct, frozen=True, kw_only=True):
    """All users who have a score, in numbers."""

    users: Annotated[int, Meta(ge=0)]
    histogram: Histogram
    histogram_before: Annotated[
        Histogram | None,
        Meta(description="An hour of event time before `as_of`, or more; null where not known yet."),
    ]
    before_as_of: Annotated[TimeText | None, Meta(description="When that was; null where it is not known yet.")]
    networks: dict[str, PopulationPart]
    shift: Annotated[Shift | None, Meta(description="How scores moved in the hour of event time that is going on.")]
    shift_before: Annotated[Shift | None, Meta(description="How they moved in the last hour before it.")]
    changes: Annotated[dict[Cause, int], Meta(description="Changes published since the beginning, by cause.")]
    partitions: Annotated[int, Meta(ge=0, description="How many there are.")]
    partitions_told: Annotated[int, Meta(ge=0, description="How many of them have told their users.")]
    written: Annotated[TimeText | None, Meta(description="When the newest of them told; null before the first.")]
    as_of: Annotated[TimeText | None, Meta(description="The furthest clock; null before the first.")]
    stale: SomeStale


class IncidentsAnswer(Struct, frozen=True, kw_only=True):
    """What went wrong, or seems to: what everybody may know of it."""

    incidents: Annotated[list[IncidentFacts], Meta(description="The open ones first, each time the newest first.")]
    open: Annotated[int, Meta(ge=0, description="How many are not resolved, shown or not.")]
    count: Annotated[int, Meta(ge=0, description="How many there are, shown or not.")]


class ClockHolder(Struct, frozen=True, kw_only=True):
    """Something that a network's clock waits for."""

    name: Annotated[str, Meta(description="freeze, ingest, raw partition N, source NAME, or partition N.")]
    time: Annotated[TimeText | None, Meta(description="How far it has come; null when nothing was heard of it.")]
    why: str


class Freeze(Struct, frozen=True, kw_only=True):
    """A network of which nothing is read by order."""

    since: TimeText
    incident: Annotated[str, Meta(description="The incident that it was frozen for; empty if for none.")]


class NetworkVolume(Struct, frozen=True, kw_only=True):
    """What came of five minutes of event time."""

    bucket: Annotated[TimeText, Meta(description="When they began.")]
    events: Annotated[int, Meta(ge=0)]
    retracting: Annotated[int, Meta(ge=0, description="How many of them take something back.")]
    actors: Annotated[int, Meta(ge=0, description="About how many people acted, off by 6.5 %.")]


class NetworkAnswer(Struct, frozen=True, kw_only=True):
    """One network: how far it is, and what comes."""

    network: str
    format: str
    users: Annotated[int, Meta(ge=0, description="How many people have a score there.")]
    clock: Annotated[TimeText | None, Meta(description="The moment by which scores are taken; null before the first.")]
    furthest: Annotated[TimeText | None, Meta(description="The newest event time read; null before any.")]
    behind_seconds: Annotated[Annotated[float, Meta(ge=0)] | None, Meta(description="From the clock to that.")]
    held_by: Annotated[list[ClockHolder], Meta(description="What holds the clock; of many the first few.")]
    frozen: Annotated[Freeze | None, Meta(description="Null while it is read.")]
    lag_records: Annotated[int, Meta(ge=0, description="Records that have come and were not read.")]
    raw_partitions: Annotated[int, Meta(ge=0, description="How many it has; 0 while nothing was heard of them.")]
    events: Annotated[dict[str, int], Meta(description="Events since the beginning, by what ingest made of them.")]
    last_arrival: Annotated[TimeText | None, Meta(description="When the newest of them came.")]
    volumes: Annotated[list[NetworkVolume], Meta(description="The last stretches of event time, the oldest first.")]


class NetworksAnswer(Struct, frozen=True, kw_only=True):
    """All networks of this installation."""

    networks: list[NetworkAnswer]


class UnreadRecords(Struct, frozen=True, kw_only=True):
    """Packed records of a partition's lanes that its worker has not taken in; each holds many events."""

    actors: Annotated[int, Meta(ge=0, description="Interactions, by who acts.")]
    targets: Annotated[int, Meta(ge=0, description="What they grant, by whom.")]


class PartitionState(Struct, frozen=True, kw_only=True):
    """One partition of the users, and how far its worker is."""

    partition: Annotated[int, Meta(ge=0)]
    state: Annotated[
        Literal["running", "restoring", "stopped", "away"], Meta(description="away: no worker answers for it.")
    ]
    unread: Annotated[
        UnreadRecords | None,
        Meta(
            description="As its worker says; while that one does not follow, what came since the partition told last, "
            "Kafka's own marks among it. Null where it never told."
        ),
    ]


class PartitionsAnswer(Struct, frozen=True, kw_only=True):
    """All partitions of the users."""

    age_seconds: Annotated[
        Annotated[float, Meta(ge=0)] | None, Meta(description="Since the gateway looked; null before it first did.")
    ]
    partitions: Annotated[list[PartitionState], Meta(description="In the order of their numbers.")]


class Accepted(Struct, frozen=True, kw_only=True):
    """Interactions were taken: Kafka has them."""

    network: str
    accepted: Annotated[int, Meta(ge=1, description="How many.")]


class EventError(Struct, frozen=True, kw_only=True):
    """Why one event cannot be taken."""

    index: Annotated[int, Meta(ge=0, description="Its place in the array; 0 when there is no array.")]
    reason: Reason
    detail: str


ORDER_REASON_LENGTH_MAX: Final = 200
"""Characters of an order's reason: a command's has 1,000 bytes, and says through whom it came too."""
OrderReason = Annotated[
    str, Meta(min_length=1, max_length=ORDER_REASON_LENGTH_MAX, pattern=r"\S", description="It is published.")
]


class NetworkOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """About which network, and why."""

    network: str
    reason: OrderReason


class IncidentOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """What to say of an incident that is over."""

    note: OrderReason


class Ordered(Struct, frozen=True, kw_only=True):
    """An order that was sent; what becomes of it is on public record (`clout control log`)."""

    command: Annotated[str, Meta(description="Id of the command, as the record has it.")]


class Problem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What went wrong, as RFC 9457 has it."""

    type: Annotated[str, Meta(description="A name of the problem: its documentation is at this address.")]
    title: Annotated[str, Meta(description="What the problem is, in a line.")]
    status: Annotated[int, Meta(ge=400, le=599, description="HTTP status.")]
    detail: Annotated[str, Meta(description="What about this request.")] = ""
    hint: Annotated[str, Meta(description="What to do about it.")] = ""
    errors: Annotated[list[EventError], Meta(description="What is wrong with events, of many the first.")] = []


class ProblemKind(Struct, frozen=True, kw_only=True):
    """A problem that an answer can name."""

    name: Annotated[str, Meta(description="What `type` of a problem has after /problems#.")]
    status: Annotated[int, Meta(ge=400, le=599)]
    title: str


class ProblemsAnswer(Struct, frozen=True, kw_only=True):
    """Every problem that there is."""

    problems: list[ProblemKind]


encode: Final = msgspec.json.Encoder().encode
"""Write an answer."""

decode_point: Final = msgspec.json.Decoder(HistoryPoint).decode
"""Read what a history shows of a change that was published; a msgspec.DecodeError says what is wrong."""
