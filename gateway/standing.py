"""What a score means: where it stands among all others, and whether it can be relied on now."""

from threading import Lock
from typing import Final

from confluent_kafka import Message

from gateway.feeds import TOLD_WITHIN_MS, Feeds
from gateway.incidents import Listed
from gateway.population import Hours, furthest_clock
from schemas.incident import Incident, decode_incident
from schemas.population import BINS, Population, decode_population
from schemas.times import parse_ms
from scorer.standing import histogram_of

STANDING_STILL: Final = frozenset({"law_violation", "lane_gap", "partition_stopped", "partition_silent"})
"""Kinds of incidents during which a partition's scores are not brought up to date."""
SILENT_MS: Final = TOLD_WITHIN_MS * 3 // 2
"""A partition that tells nothing for so long, while feeds go on, is silent."""


class World:
    """The users in numbers and the incidents, as last told; any thread may ask."""

    def __init__(self) -> None:
        """Begin with nothing told."""
        self._lock = Lock()
        self.populations: dict[int, Population] = {}
        """The newest record of each partition."""
        self.incidents: dict[str, Incident] = {}
        """The newest record of each incident, by its id."""
        self.still: frozenset[int] = frozenset()
        """Partitions that stand still, as open incidents say."""
        self.listed = Listed()
        self.feeds = Feeds()
        self.hours = Hours()
        self._lower = [0] * (BINS + 1)
        """Users with a lower score, by whole points; the last one is all users."""

    def on_population(self, message: Message) -> None:
        """Take a record of `population.v1`."""
        value = message.value()
        if value is None:
            return
        population = decode_population(value)
        with self._lock:
            self.populations = {**self.populations, population.partition: population}
            lower, below = [], 0
            histogram = histogram_of(self.populations.values())
            as_of = furthest_clock(list(self.populations.values()))
            if len(self.populations) == population.partitions and as_of is not None:
                self.hours.note(parse_ms(as_of), histogram)
            for users in histogram:
                lower.append(below)
                below += users
            self._lower = [*lower, below]

    def on_incident(self, message: Message) -> None:
        """Take a record of `incidents.v1`."""
        value = message.value()
        if value is None:
            return
        incident = decode_incident(value)
        with self._lock:
            self.incidents = {**self.incidents, incident.id: incident}
            self.still = frozenset(
                of.slice.partition
                for of in self.incidents.values()
                if of.kind in STANDING_STILL and of.status != "resolved" and of.slice.partition is not None
            )

    def is_silent(self, partition: int) -> bool:
        """Return whether a partition tells nothing any more although feeds go on: its worker hangs, or is away.

        While time goes on each partition tells its users once a minute.
        """
        told = self.populations.get(partition)
        return told is not None and self.feeds.told_ms - parse_ms(told.written) > SILENT_MS

    @property
    def users(self) -> int:
        """How many users have a score."""
        return self._lower[BINS]

    def percentile(self, score: float) -> float | None:
        """Return the percent of users whose score is lower in whole points, None while nobody has told.

        >>> World().percentile(26.4) is None
        True
        """
        lower = self._lower
        return round(100 * lower[min(int(score), BINS) - 1] / lower[BINS], 2) if lower[BINS] else None


def meaning(percentile: float | None, users: int) -> str:
    """Say in plain words what a percentile means.

    >>> meaning(93.46, 12_345), meaning(100.0, 82)
    ('higher than 93 % of 12,345 people with a score', 'higher than 99.9 % of 82 people with a score')
    >>> meaning(0.0, 3), meaning(None, 0)
    ('as low as scores are among 3 people with a score', \
'how it compares is not known yet')
    """
    if percentile is None:
        return "how it compares is not known yet"
    people = f"{users:,} {'person' if users == 1 else 'people'} with a score"
    if percentile <= 0:
        return f"as low as scores are among {people}"
    # Nobody stands higher than all, themselves among them.
    shown = _cut_off(percentile) if percentile >= 1 else "less than 1"
    return f"higher than {shown} % of {people}"


def _cut_off(percentile: float) -> str:
    """Return a percentile, never rounded up; from 99 on with a tenth, since that is where people at the top differ."""
    tenths = min(999, int(percentile * 10))
    return f"{tenths / 10:.1f}" if tenths >= 990 else f"{tenths // 10}"
