"""Reads incidents as they stand, and waits until the guard has obeyed a command about one."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from confluent_kafka import Consumer, TopicPartition

from clout.config import Settings
from clout.whole_topic import POLL_SECONDS, extents, read_from, readable, reading, records
from schemas.incident import Incident, decode_incident
from streams.errors import CloutError


def incidents_as_they_stand(settings: Settings) -> list[Incident]:
    """Return every incident that the topic still has, the one opened last first."""
    topic, newest = settings.names.incidents, {}
    group = f"{settings.names.app_id}-incidents"
    with reading(settings.kafka, group) as reader:
        for extent in extents(settings.kafka, group, [topic]):
            for message in records(reader, extent):
                if (value := message.value()) is not None:
                    incident = readable(decode_incident, value, topic)
                    newest[incident.id] = incident
    return sorted(newest.values(), key=lambda incident: incident.opened, reverse=True)


def chosen(incidents: Iterable[Incident], identity: str) -> Incident:
    """Return the incident of that id, or the only one whose id begins so; raise `CloutError` for none or several.

    Of several the only one counts that is open.
    """
    known = list(incidents)
    found = [incident for incident in known if incident.id.startswith(identity)]
    exact = [incident for incident in found if incident.id == identity]
    still_open = [incident for incident in found if incident.status != "resolved"]
    for likely in (exact, still_open, found):
        if len(likely) == 1:
            return likely[0]
    found = still_open or found
    if found:
        raise CloutError(
            f"{len(found)} incidents begin with {identity!r}",
            detail=", ".join(incident.id for incident in found),
            hint="give more of the id",
        )
    raise CloutError(
        f"there is no incident {identity!r}",
        detail=f"of the {len(known):,} that are still known none has this id, or one that begins with it",
        hint="`clout incident list --all` shows what there is; `clout incident declare` opens one",
    )


@contextmanager
def following(settings: Settings) -> Iterator[Callable[[Callable[[Incident], bool], float], Incident | None]]:
    """Give a function that returns the next record of an incident that is as wanted, None when the time is over.

    Records count that are written from now on.
    """
    topic, group = settings.names.incidents, f"{settings.names.app_id}-incidents"
    with reading(settings.kafka, group) as reader:
        ends = [TopicPartition(of.topic, of.partition, of.end) for of in extents(settings.kafka, group, [topic])]
        read_from(reader, ends)
        yield lambda is_wanted, seconds: _next(reader, topic, is_wanted, seconds)


def _next(reader: Consumer, topic: str, is_wanted: Callable[[Incident], bool], seconds: float) -> Incident | None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for message in reader.consume(1, POLL_SECONDS):
            value = message.value()
            if message.error() is None and value is not None:
                incident = readable(decode_incident, value, topic)
                if is_wanted(incident):
                    return incident
    return None
