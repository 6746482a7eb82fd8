"""Which incidents touch a user: those whose record names them, and those whose list does."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from schemas.incident import Incident
from schemas.times import parse_ms


def touching(
    incidents: Iterable[Incident], user: str, forgotten_ms: int | None, listed: Mapping[str, int] = MappingProxyType({})
) -> list[Incident]:
    """Return those of the incidents that touch a user, the one opened last first.

    Incidents that name the user count if they were opened since the user was forgotten; those of `listed`, incidents
    whose lists name them and when the list was written in ms, if the list was written since.
    """
    since_ms = -1 if forgotten_ms is None else forgotten_ms
    theirs = [
        incident
        for incident in incidents
        if (user in incident.users and parse_ms(incident.opened) > since_ms)
        or listed.get(incident.id, since_ms) > since_ms
    ]
    return sorted(theirs, key=lambda incident: incident.opened, reverse=True)
