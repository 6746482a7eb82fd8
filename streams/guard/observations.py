"""What the guard sees, one observation at a time; detectors know the world by these alone."""

from typing import NamedTuple

from schemas.change import ScoreChange
from schemas.feed_report import FeedReport
from schemas.incident import Incident
from schemas.population import Population


class PopulationSeen(NamedTuple):
    """A partition told its users in numbers."""

    population: Population
    now_ms: int
    """When the guard read it, by its own clock."""


class FeedSeen(NamedTuple):
    """Ingest told of a raw partition."""

    report: FeedReport
    now_ms: int


class IncidentSeen(NamedTuple):
    """Somebody wrote an incident: a partition task, or the guard itself."""

    incident: Incident
    now_ms: int


class CanarySeen(NamedTuple):
    """A synthetic account has a new score."""

    change: ScoreChange
    now_ms: int


class Moment(NamedTuple):
    """Time went by, and perhaps nothing came: told once a second."""

    now_ms: int


Observation = PopulationSeen | FeedSeen | IncidentSeen | CanarySeen | Moment
