"""What makes one case of many findings: which slices belong together, and an incident as findings come to it. Pure."""

from collections.abc import Iterable, Iterator
from typing import Final

from msgspec.structs import replace

from schemas.control import CommandRecord
from schemas.incident import (
    EVIDENCE_MAX,
    NOTES_MAX,
    USERS_NAMED_MAX,
    Evidence,
    Incident,
    IncidentKind,
    Note,
    Severity,
    Slice,
)
from schemas.times import format_ms, parse_ms
from streams.guard.detector import Verdict

RANKS: Final[dict[Severity, int]] = {"minor": 0, "major": 1, "critical": 2}
"""How severities compare."""

RESOLVED: Final = "resolved"
OF_POPULATION: Final[frozenset[IncidentKind]] = frozenset(
    {"population_fall", "population_shift", "population_at_floor"}
)
"""What scores that fall together look like, during and after it: a histogram stays shifted until they are back."""
EXPLAINED: Final = "explained by "
"""How evidence begins that another incident is the cause."""
TAKEN_BACK: Final = "taken_back"
"""Evidence of whom `clout retract` lowered for an incident: what came of it, and nothing that was found of it."""


def slice_name(of: Slice) -> str:
    """Return the name of a slice in an incident's id.

    >>> slice_name(Slice(network="twitter", source="west")), slice_name(Slice(partition=2)), slice_name(Slice())
    ('twitter:west', 'partition-2', 'all')
    """
    partition = f"partition-{of.partition}" if of.partition is not None else None
    parts = (partition, of.network, of.source, of.raw_partition)
    return ":".join(str(part) for part in parts if part is not None) or "all"


def is_within(inner: Slice, outer: Slice) -> bool:
    """Return whether a slice is another one, or a collector or raw partition of the network that the other is.

    >>> is_within(Slice(network="twitter", source="west"), Slice(network="twitter"))
    True
    >>> is_within(Slice(network="twitter"), Slice())
    False
    """
    return (
        (inner.network, inner.partition) == (outer.network, outer.partition)
        and outer.source in {None, inner.source}
        and outer.raw_partition in {None, inner.raw_partition}
    )


def joint(one: Slice, other: Slice) -> Slice:
    """Return what two slices are about together: the wider one, or everything.

    >>> joint(Slice(network="twitter", source="west"), Slice(network="twitter")) == Slice(network="twitter")
    True
    >>> joint(Slice(network="twitter"), Slice(network="mastodon")) == Slice()
    True
    """
    if is_within(one, other):
        return other
    return one if is_within(other, one) else Slice()


def is_same_case(verdict: Verdict, incident: Incident) -> bool:
    """Return whether a finding and an incident are about the same: one slice is within the other, or scores fall.

    Where all scores fall, or those on several networks, detectors find that of each network and perhaps of all.
    """
    return (
        is_within(verdict.slice, incident.slice)
        or is_within(incident.slice, verdict.slice)
        or {verdict.kind, incident.kind} <= OF_POPULATION
    )


def is_of_a_task(incident: Incident) -> bool:
    """Return whether a partition task wrote it, which resolves it too; what operators declare has any id they like."""
    return incident.kind != "declared" and incident.id.startswith(f"{incident.kind}:")


def opened(verdict: Verdict, model: str, now_ms: int) -> Incident:
    """Return a new incident about what a detector found."""
    now, name = format_ms(now_ms), slice_name(verdict.slice)
    incident = Incident(
        id=f"{verdict.kind}/{name}/{now}",
        kind=verdict.kind,
        slice=verdict.slice,
        severity=verdict.severity,
        status="investigating",
        title=_title(verdict, verdict.slice),
        opened=now,
        updated=now,
        evidence=[],
        affected_users=0,
        model=model,
    )
    return with_finding(incident, verdict, now_ms)


def _title(verdict: Verdict, about: Slice) -> str:
    return f"{verdict.kind.replace('_', ' ')}, {slice_name(about)}: {verdict.detail}"


def declared(record: CommandRecord, model: str) -> Incident:
    """Return an incident as an operator declares it."""
    return Incident(
        id=record.incident or "",
        kind="declared",
        slice=Slice(network=record.network or None, source=record.source or None),
        severity="major",
        status="investigating",
        title=record.reason,
        opened=record.received,
        updated=record.received,
        evidence=[],
        affected_users=0,
        model=model,
        since=record.since or None,
    )


def goes_before(one: Incident, other: Incident) -> bool:
    """Return whether the first stands where the guards of two models declared the same: one answers for it.

    >>> record = CommandRecord(id="7", command="declare", subject="", key="ops", reason="half", issued="", received="",
    ...                        epoch=0, accepted=True, incident="mine")
    >>> one, two = declared(record, "1"), declared(record, "2")
    >>> goes_before(one, two), goes_before(two, one), goes_before(one, one)
    (True, False, False)
    """
    if one.kind != "declared" or not isinstance(one.model, str) or not isinstance(other.model, str):
        return False
    return one.model < other.model


def found_in(incident: Incident) -> Iterator[Evidence]:
    """Yield what was found of an incident itself, and not of others that explain it, nor what came of it."""
    return (
        found for found in incident.evidence if not found.detail.startswith(EXPLAINED) and found.finding != TAKEN_BACK
    )


def ended_at(incident: Incident) -> str:
    """Return when the last of its findings ended, the newest in the record; where none has a time, when it opened."""
    return max((found.at for found in found_in(incident) if found.at is not None), default=incident.opened)


def ended_ms(incident: Incident) -> int:
    """Return since when nothing of an incident was found; of what operators declare, since when it is resolved.

    What is said of it later, and whom it touches, is written without changing that.
    """
    is_found = incident.kind != "declared" and any(found.at is not None for found in found_in(incident))
    return parse_ms(ended_at(incident) if is_found else incident.updated)


def kinds_of(incident: Incident) -> set[str]:
    """Return the kinds of what was found of an incident, whatever it was opened as."""
    return {incident.kind, *(found.finding for found in found_in(incident))}


def evidence_of(verdict: Verdict, now_ms: int) -> Evidence:
    """Return what an incident keeps of what a detector said."""
    return Evidence(
        finding=verdict.finding or verdict.kind, detail=verdict.detail, numbers=verdict.numbers, at=format_ms(now_ms)
    )


def with_finding(incident: Incident, verdict: Verdict, now_ms: int) -> Incident:
    """Return the incident with what a detector found; it is of the highest severity and the widest slice of all."""
    users = [*dict.fromkeys([*incident.users, *verdict.users])]
    since = [text for text in (incident.since, _since(verdict)) if text is not None]
    # What operators declare is about what they say; what detectors opened may turn out to be wider.
    is_fixed = incident.kind == "declared" or not verdict.firing
    widest = incident.slice if is_fixed else joint(verdict.slice, incident.slice)
    # The headline says how bad it is; what joined it, that it eases and that it is over, the evidence says.
    is_about_all = widest == Slice() != incident.slice
    is_news = is_about_all or (verdict.kind == incident.kind and verdict.slice == widest)
    return replace(
        incident,
        title=_title(verdict, widest) if is_news and verdict.firing and not verdict.eases else incident.title,
        slice=widest,
        severity=max(incident.severity, verdict.severity, key=RANKS.__getitem__),
        evidence=kept([*incident.evidence, evidence_of(verdict, now_ms)]),
        users=users[:USERS_NAMED_MAX],
        affected_users=max(incident.affected_users, len(users)),
        since=min(since, default=None),
    )


def kept(evidence: list[Evidence]) -> list[Evidence]:
    """Return the findings that a record keeps: the first of each detector, and then the newest.

    >>> many = [Evidence(finding="a", detail=str(n)) for n in range(30)]
    >>> [found.detail for found in kept([*many, Evidence(finding="b", detail="b")])][:3]
    ['0', '12', '13']
    """
    firsts = {found.finding: place for place, found in reversed(list(enumerate(evidence)))}
    others = [place for place in range(len(evidence)) if place not in firsts.values()]
    room = max(0, EVIDENCE_MAX - len(firsts))
    places = sorted([*firsts.values(), *others[len(others) - room if room < len(others) else 0 :]])
    return [evidence[place] for place in places][-EVIDENCE_MAX:]


def with_note(incident: Incident, record: CommandRecord, text: str) -> Incident:
    """Return the incident with what an operator says; the same is noted once."""
    note = Note(at=record.received, key=record.key, text=text)
    return with_notes(incident, [note])


def with_notes(incident: Incident, notes: Iterable[Note]) -> Incident:
    """Return the incident with these notes too, in the order of time."""
    missing = [note for note in notes if note not in incident.notes]
    if not missing:
        return incident
    return replace(incident, notes=sorted([*incident.notes, *missing], key=lambda note: note.at)[-NOTES_MAX:])


def _since(verdict: Verdict) -> str | None:
    return None if verdict.since_ms is None else format_ms(verdict.since_ms)
