"""What a partition that stops by itself tells the world: the records of its incidents, from one task's point of view.

Pure. An incident's name comes from what it is about and where the partition stood, so that a restart which meets the
same fault writes the same one. It is resolved when the partition has passed the records that it names.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from schemas.incident import (
    USERS_NAMED_MAX,
    Evidence,
    Incident,
    IncidentKind,
    Slice,
    Span,
    UserValues,
    decode_incident,
)
from schemas.times import format_ms
from schemas.users import CANARY_PREFIX
from streams.intake import Accepted
from streams.task_state import ACTORS, TARGETS, TaskState

OPEN_MAX: Final = 100
"""Incidents of one partition that its task keeps in mind, the newest; others stay open until somebody closes them."""
RESOLVED: Final = "resolved"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Why a partition stopped."""

    kind: IncidentKind
    finding: str
    detail: str
    spans: list[Span]
    suspect: Span | None = None
    users: list[str] = []
    values: list[UserValues] = []


def spans_of(batch: Iterable[Accepted]) -> list[Span]:
    """Return the places of a batch's records, by lane."""
    offsets: dict[str, list[int]] = {}
    for accepted in batch:
        offsets.setdefault(accepted.lane, []).append(accepted.offset)
    return [Span(lane=lane, first=min(of), last=max(of)) for lane, of in offsets.items()]  # type: ignore[arg-type]


def identity(kind: IncidentKind, model: str, partition: int, state: TaskState) -> str:
    """Return the name of an incident of a partition that stands where `state` says.

    >>> identity("law_violation", "1", 3, TaskState(model="1", model_hash="", positions={"actors": 16, "targets": -1}))
    'law_violation:1:3:17:0'
    """
    return f"{kind}:{model}:{partition}:{state.positions[ACTORS] + 1}:{state.positions[TARGETS] + 1}"


def opened(
    finding: Finding, known: Mapping[str, Incident], *, partition: int, state: TaskState, now_ms: int
) -> Incident:
    """Return the record of a stop; it goes on with an incident in `known` that is about the same records."""
    before = known.get(identity(finding.kind, state.model, partition, state)) or _overlapping(finding, known)
    now = format_ms(now_ms)
    # Synthetic accounts are nobody.
    people = [user for user in finding.users if not user.startswith(CANARY_PREFIX)]
    return Incident(
        id=before.id if before is not None else identity(finding.kind, state.model, partition, state),
        kind=finding.kind,
        slice=Slice(partition=partition),
        severity="critical",
        status="investigating",
        title=f"partition {partition} stands still: {finding.finding}",
        opened=before.opened if before is not None else now,
        updated=now,
        evidence=[
            Evidence(
                finding=finding.finding,
                detail=finding.detail,
                positions=finding.spans,
                suspect=finding.suspect,
                users=[of for of in finding.values if not of.user.startswith(CANARY_PREFIX)],
            )
        ],
        affected_users=len(people),
        users=people[:USERS_NAMED_MAX],
        model=state.model,
    )


def refused(reason: str, *, partition: int, model: str, now_ms: int) -> Incident:
    """Return the record of a partition that refuses to open; it names no records, so its next batch resolves it.

    >>> incident = refused("it has lost its state", partition=3, model="1", now_ms=0)
    >>> incident.id, is_passed(incident, {})
    ('partition_stopped:1:3:refused', True)
    """
    now = format_ms(now_ms)
    return Incident(
        id=f"partition_stopped:{model}:{partition}:refused",
        kind="partition_stopped",
        slice=Slice(partition=partition),
        severity="critical",
        status="investigating",
        title=f"partition {partition} refuses to start",
        opened=now,
        updated=now,
        evidence=[Evidence(finding="refuses to start", detail=reason)],
        affected_users=0,
        model=model,
    )


def resolved(
    incident: Incident, reference: str | None, now_ms: int, is_forgotten: Callable[[str], bool] = lambda _: False
) -> Incident:
    """Return the record of its end; who was forgotten since is not named again."""
    return msgspec.structs.replace(
        incident,
        status=RESOLVED,
        updated=format_ms(now_ms),
        reference=reference,
        users=[user for user in incident.users if not is_forgotten(user)],
        evidence=[
            msgspec.structs.replace(of, users=[values for values in of.users if not is_forgotten(values.user)])
            for of in incident.evidence
        ],
    )


def is_passed(incident: Incident, positions: Mapping[str, int]) -> bool:
    """Return whether a partition that has taken in these positions is beyond all that the incident names."""
    return all(span.last <= positions[span.lane] for of in incident.evidence for span in of.positions)


def reference_of(incident: Incident, set_aside: Iterable[tuple[str, int, str]]) -> str | None:
    """Return the command that set aside a record which the incident names; each is a lane, an offset and an id."""
    spans = [span for of in incident.evidence for span in of.positions]
    return next(
        (
            command
            for lane, offset, command in set_aside
            for span in spans
            if span.lane == lane and span.first <= offset <= span.last
        ),
        None,
    )


def still_open(values: Sequence[bytes], partition: int, model: str) -> dict[str, Incident]:
    """Return a partition's own incidents that were not resolved, by id; `values` are the topic's records in order."""
    newest: dict[str, Incident] = {}
    for value in values:
        try:
            incident = decode_incident(value)
        except msgspec.DecodeError:
            continue  # Others write here too: what this version does not know is theirs.
        if incident.slice == Slice(partition=partition) and incident.model == model and _is_own(incident):
            newest.pop(incident.id, None)
            newest[incident.id] = incident
    unresolved = [incident for incident in newest.values() if incident.status != RESOLVED]
    return {incident.id: incident for incident in unresolved[-OPEN_MAX:]}


def _is_own(incident: Incident) -> bool:
    return incident.id.startswith(f"{incident.kind}:")


def _overlapping(finding: Finding, known: Mapping[str, Incident]) -> Incident | None:
    for incident in known.values():
        theirs = [span for of in incident.evidence for span in of.positions]
        if incident.kind == finding.kind and any(
            one.lane == other.lane and one.first <= other.last and other.first <= one.last
            for one in theirs
            for other in finding.spans
        ):
            return incident
    return None
