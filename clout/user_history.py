"""What the topics still say of one user: the changes of the score, and the incidents that touched them."""

from collections.abc import Iterator

from confluent_kafka import Message

from clout.whole_topic import extents, readable, reading, records
from schemas.change import ScoreChange, decode_change
from schemas.incident import Incident, decode_incident
from schemas.users import partition_of
from streams.names import Names
from streams.settings import KafkaSettings


def changes_of_user(kafka: KafkaSettings, names: Names, user: str) -> list[ScoreChange]:
    """Return a user's committed changes, as far as the topic still has them, the newest last."""
    key = user.encode()
    mine = (message for message in _committed(kafka, names, names.changes, key) if message.key() == key)
    values = (message.value() for message in mine)
    return [readable(decode_change, value, names.changes) for value in values if value is not None]


def since_forgotten(changes: list[ScoreChange]) -> list[ScoreChange]:
    """Return the changes after the user was last forgotten."""
    forgotten = [place for place, change in enumerate(changes) if change.cause == "forget"]
    return changes[forgotten[-1] + 1 :] if forgotten else changes


def incidents_of_user(kafka: KafkaSettings, names: Names, user: str) -> list[Incident]:
    """Return the incidents that name a user, each as it stands now, the one opened last first."""
    newest: dict[str, Incident] = {}
    for message in _committed(kafka, names, names.incidents):
        if (value := message.value()) is not None:
            incident = readable(decode_incident, value, names.incidents)
            newest[incident.id] = incident
    theirs = [incident for incident in newest.values() if user in incident.users]
    return sorted(theirs, key=lambda incident: incident.opened, reverse=True)


def _committed(kafka: KafkaSettings, names: Names, topic: str, key: bytes | None = None) -> Iterator[Message]:
    """Yield the committed records of a topic, or of the one partition that a user's are in."""
    group = f"{names.app_id}-explain"
    whole = list(extents(kafka, group, [topic]))
    chosen = whole if key is None else [whole[partition_of(key, len(whole))]]
    with reading(kafka, group) as reader:
        for extent in chosen:
            yield from records(reader, extent)
