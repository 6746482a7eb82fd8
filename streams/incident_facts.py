"""What everybody may know of an incident: no user whom its record names, also where an operator's words do."""

import re
from typing import Final

from msgspec.structs import replace

from schemas.incident import Incident, IncidentFacts

_FIELDS: Final = IncidentFacts.__struct_fields__


def facts(incident: Incident) -> IncidentFacts:
    """Return what everybody may know of an incident."""
    known = {name: getattr(incident, name) for name in _FIELDS}
    known["title"] = without_users(incident.title, incident)
    known["notes"] = [replace(note, text=without_users(note.text, incident)) for note in incident.notes]
    return IncidentFacts(**known)


def without_users(text: str, incident: Incident) -> str:
    """Return a text in which nobody is named whom the incident's record names."""
    named = {*incident.users, *(values.user for found in incident.evidence for values in found.users)}
    for user in sorted((user for user in named if user in text), key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(user)}(?!\w)", "(a user)", text)
    return text
