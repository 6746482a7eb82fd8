"""How things stand, in the form that status page tools read: Atlassian Statuspage's `summary.json`, version 2.

Pure: made of the open incidents, the networks, and which of these are frozen, alone. No user whom an incident's record
names is named, also where an operator's words do.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal, NamedTuple

import msgspec
from msgspec import Struct

from schemas.incident import INCIDENT_KINDS, Incident, IncidentKind, IncidentStatus, Severity
from streams.guard.cases import EXPLAINED, ended_at
from streams.incident_facts import without_users

ComponentStatus = Literal["operational", "degraded_performance", "partial_outage", "major_outage"]
Indicator = Literal["none", "minor", "major", "critical"]

SCORES: Final = "scores"
GUARD: Final = "guard"
PAGE_ID: Final = "clout"

INDICATORS: Final[dict[Indicator, str]] = {
    "none": "All Systems Operational",
    "minor": "Minor Service Outage",
    "major": "Partial System Outage",
    "critical": "Major Service Outage",
}
"""How all of it stands, from the best to the worst, in the words that such tools know."""
COMPONENT_STATUSES: Final[tuple[ComponentStatus, ...]] = (
    "operational",
    "degraded_performance",
    "partial_outage",
    "major_outage",
)
"""From the best to the worst."""

_STATUS_OF: Final[dict[Severity, ComponentStatus]] = {
    "minor": "degraded_performance",
    "major": "partial_outage",
    "critical": "major_outage",
}
_OF_SCORES: Final[frozenset[IncidentKind]] = frozenset(
    {
        "law_violation",
        "lane_gap",
        "partition_stopped",
        "partition_silent",
        "partition_shrunk",
        "population_fall",
        "population_shift",
        "population_at_floor",
        "canary",
        "canary_late",
    }
)
_STANDING: Final[frozenset[IncidentKind]] = frozenset({"law_violation", "lane_gap", "partition_stopped"})
"""By which a partition stands still."""
_STATUS_WORDS: Final[dict[IncidentStatus, str]] = {
    "investigating": "We are looking into it.",
    "identified": "Somebody is at work on it.",
    "monitoring": "Nothing of it is seen any more; it is watched.",
    "resolved": "It is over.",
}
OF_A_FROZEN_ONE: Final = "partial_outage"
"""How the feed of a network stands that is frozen: nothing of it counts until it goes on, and nothing is lost."""
_HELD_BACK: Final = "It is held back, and goes on when an operator says so; nothing of it is lost."
_ID_BYTES: Final = 8


class Page(Struct, frozen=True, kw_only=True):
    """Whose status it is."""

    id: str = PAGE_ID
    name: str
    url: str
    time_zone: str = "Etc/UTC"
    updated_at: str


class Status(Struct, frozen=True, kw_only=True):
    """How all of it stands."""

    indicator: Indicator
    description: str


class Component(Struct, frozen=True, kw_only=True):
    """A part that can be out of order by itself."""

    id: str
    name: str
    status: ComponentStatus
    created_at: str
    updated_at: str
    position: int
    description: str
    showcase: bool = False
    start_date: str | None = None
    group_id: str | None = None
    page_id: str = PAGE_ID
    group: bool = False
    only_show_if_degraded: bool = False


class AffectedComponent(Struct, frozen=True, kw_only=True):
    """A part that an incident touches."""

    code: str
    name: str
    old_status: ComponentStatus = "operational"
    new_status: ComponentStatus


class Update(Struct, frozen=True, kw_only=True):
    """Something said of an incident."""

    id: str
    status: IncidentStatus
    body: str
    incident_id: str
    created_at: str
    updated_at: str
    display_at: str
    affected_components: list[AffectedComponent]
    deliver_notifications: bool = False
    custom_tweet: str | None = None
    tweet_id: str | None = None


class IncidentShown(Struct, frozen=True, kw_only=True):
    """An open incident; its updates the newest first."""

    id: str
    name: str
    status: IncidentStatus
    created_at: str
    updated_at: str
    monitoring_at: str | None
    resolved_at: str | None = None
    impact: Severity
    shortlink: str
    started_at: str
    page_id: str = PAGE_ID
    incident_updates: list[Update]
    components: list[Component]


class Summary(Struct, frozen=True, kw_only=True):
    """How things stand."""

    page: Page
    components: list[Component]
    incidents: list[IncidentShown]
    scheduled_maintenances: list[IncidentShown] = []
    status: Status


encode_summary: Final = msgspec.json.Encoder().encode
"""Write a summary as JSON."""


class Standing(NamedTuple):
    """What a guard knows."""

    incidents: Sequence[Incident]
    frozen: Mapping[str, str]
    """Networks that stand still, also those of which no incident is open any more, and since when."""
    partitions: int = 1
    """Of the scores: where incidents of all of them are open, nothing of the scores goes on."""


def summary(
    standing: Standing, networks: Sequence[str], *, now: str, since: str, name: str = "Clout", url: str = ""
) -> Summary:
    """Return how things stand `now`; `since` is when it was first looked at, `url` that of the page.

    >>> times = {"now": "2012-07-01T00:00:00.000Z", "since": "2012-07-01T00:00:00.000Z"}
    >>> summary(Standing([], {}), ["twitter"], **times).status.description
    'All Systems Operational'
    >>> summary(Standing([], {"twitter": "2012-07-01T00:05:00.000Z"}), ["twitter"], **times).components[0].status
    'partial_outage'
    """
    unresolved = sorted(
        (incident for incident in standing.incidents if incident.status != "resolved"),
        key=lambda incident: (incident.opened, incident.id),
        reverse=True,
    )
    frozen = {_feed(network) for network in standing.frozen}
    best: dict[str, ComponentStatus] = dict.fromkeys(frozen, OF_A_FROZEN_ONE)
    partitions = {of.slice.partition for of in unresolved if of.kind in _STANDING}
    if len(partitions - {None}) >= standing.partitions:
        best[SCORES] = "major_outage"
    touched = [_touches(incident, networks) for incident in unresolved]
    happened = [(parts, incident.updated) for parts, incident in zip(touched, unresolved, strict=True)]
    happened += [({_feed(network): OF_A_FROZEN_ONE}, at) for network, at in standing.frozen.items()]
    components = [
        _component(
            (position, id_, title, description),
            happened,
            since,
            at_best=best.get(id_, "operational"),
        )
        for position, (id_, title, description) in enumerate(_parts(networks), 1)
    ]
    by_id = {component.id: component for component in components}
    impacts: list[Indicator] = ["none", *(_impact(incident) for incident in unresolved)]
    impacts += ["major" for id_ in frozen if id_ in by_id]
    worst = max(impacts, key=list(INDICATORS).index)
    return Summary(
        page=Page(name=name, url=url, updated_at=now),
        components=components,
        incidents=[
            _shown(incident, parts, [by_id[id_] for id_ in parts if id_ in by_id], url)
            for incident, parts in zip(unresolved, touched, strict=True)
        ],
        status=Status(indicator=worst, description=INDICATORS[worst]),
    )


def _parts(networks: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Yield id, name and description of every component."""
    for network in networks:
        yield _feed(network), f"Feed of {network}", f"What is reported on {network}, as it comes in."
    yield SCORES, "Scores", "Scores, as they are kept and published."
    yield GUARD, "Guard", "Watches feeds and scores, and serves this page."


def _feed(network: str) -> str:
    return f"feed-{network}"


def _touches(incident: Incident, networks: Sequence[str]) -> dict[str, ComponentStatus]:
    """Return the components that an incident touches, and how."""
    network, status = incident.slice.network, _stands(incident)
    if incident.slice.partition is not None:  # The others go on.
        status = min(status, "partial_outage", key=COMPONENT_STATUSES.index)
    touched = {SCORES: status}
    if incident.kind not in _OF_SCORES and network is not None:
        touched = {_feed(network): status}
    elif incident.kind == "feed_stalled":
        touched = dict.fromkeys(map(_feed, networks), status)
    for frozen in incident.frozen:
        touched[_feed(frozen)] = max(
            touched.get(_feed(frozen), "operational"), OF_A_FROZEN_ONE, key=COMPONENT_STATUSES.index
        )
    return touched


def _stands(incident: Incident) -> ComponentStatus:
    """Return how it stands: a feed of which nothing more is seen works again, scores may be wrong still."""
    if incident.status != "monitoring":
        return _STATUS_OF[incident.severity]
    return "degraded_performance" if incident.kind in _OF_SCORES else "operational"


def _impact(incident: Incident) -> Indicator:
    """Return how much is out of order because of an incident."""
    if incident.status != "monitoring":
        return incident.severity
    return "minor" if incident.kind in _OF_SCORES else "none"


def _component(
    part: tuple[int, str, str, str],
    touched: Sequence[tuple[dict[str, ComponentStatus], str]],
    since: str,
    *,
    at_best: ComponentStatus,
) -> Component:
    """Return a component, of its position, id, name and description; `touched` is what each incident does, and when."""
    position, id_, name, description = part
    theirs = [(parts[id_], updated) for parts, updated in touched if id_ in parts]
    return Component(
        id=id_,
        name=name,
        status=max([at_best, *(status for status, _ in theirs)], key=COMPONENT_STATUSES.index),
        created_at=since,
        updated_at=max((updated for _, updated in theirs), default=since),
        position=position,
        description=f"{description} {_HELD_BACK}" if at_best == OF_A_FROZEN_ONE else description,
    )


def _shown(
    incident: Incident, touched: Mapping[str, ComponentStatus], components: list[Component], url: str
) -> IncidentShown:
    return IncidentShown(
        id=incident.id,
        name=without_users(incident.title, incident),
        status=incident.status,
        created_at=incident.opened,
        updated_at=incident.updated,
        monitoring_at=_began(incident) if incident.status == "monitoring" else None,
        impact=incident.severity,
        shortlink=f"{url}#{anchor(incident.id)}",
        started_at=incident.opened,
        incident_updates=list(_updates(incident, touched, components)),
        components=components,
    )


def anchor(incident: str) -> str:
    """Return the name of an incident's place on the page.

    >>> anchor("feed_partial/twitter/1")
    'i-b76825164623b501'
    """
    return f"i-{_digest(incident)}"


def _began(incident: Incident) -> str:
    """Return when an incident's status began, as far as its record tells: the same in every record of that status.

    It is monitored since the last of its findings ended, the newest in the record; identified since the first note or
    explanation in it; looked into since it was opened. That it began again after it was quiet the record does not tell,
    so both of these are then as of the first time. Where it holds no time, it is that of the opening.
    """
    if incident.status == "monitoring":
        return ended_at(incident)
    if incident.status == "identified":
        said = [note.at for note in incident.notes]
        explained = [found.at for found in incident.evidence if found.at and found.detail.startswith(EXPLAINED)]
        # What explains it can have been told before it.
        return max(incident.opened, min([*said, *explained], default=""))
    return incident.opened


def _updates(
    incident: Incident, touched: Mapping[str, ComponentStatus], components: Sequence[Component]
) -> Iterator[Update]:
    """Yield what is said of an incident, the newest first: how it stands, operators' notes, and what it is.

    How it stands keeps its id and its time while the status is the same; who it touches and what is held back is
    brought up to date in it.
    """
    affected = [
        AffectedComponent(code=component.id, name=component.name, new_status=touched[component.id])
        for component in components
    ]
    users = {0: "Nobody is", 1: "1 user is"}.get(incident.affected_users, f"{incident.affected_users:,} users are")
    frozen = f" Held back until it is mended: {', '.join(incident.frozen)}." if incident.frozen else ""
    known = f"{users} known to be touched."
    said: list[tuple[str, str, IncidentStatus, str]] = [
        (incident.opened, "1", "investigating", INCIDENT_KINDS[incident.kind]),
        *(
            (note.at, str(number), incident.status, without_users(note.text, incident))
            for number, note in enumerate(incident.notes, 2)
        ),
        (_began(incident), incident.status, incident.status, f"{_STATUS_WORDS[incident.status]} {known}{frozen}"),
    ]
    for at, name, status, body in sorted(said, key=lambda of: of[0])[::-1]:
        yield Update(
            id=_digest(f"{incident.id}\n{at}\n{name}"),
            status=status,
            body=body,
            incident_id=incident.id,
            created_at=at,
            updated_at=incident.updated if name == incident.status else at,
            display_at=at,
            affected_components=affected,
        )


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=_ID_BYTES).hexdigest()
