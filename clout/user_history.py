"""What the topics still say of one user: the changes of the score, and the incidents that touched them."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec
from confluent_kafka import Message

from clout.whole_topic import extents, readable, reading, records
from schemas.change import ScoreChange, decode_change
from schemas.incident import decode_incident_users
from schemas.users import partition_of
from streams.names import Names
from streams.settings import KafkaSettings


class History(NamedTuple):
    """What the topic of changes still has of a user."""

    changes: list[ScoreChange]
    """The newest last."""
    forgotten_ms: int | None
    """When the user was last forgotten, by a worker's clock; None if the topic does not tell."""


def history_of_user(kafka: KafkaSettings, names: Names, user: str) -> History:
    """Return a user's committed changes, as far as the topic still has them, and when the user was forgotten."""
    key, changes, forgotten_ms = user.encode(), [], None
    for message in _committed(kafka, names, names.changes, key):
        if message.key() != key:
            continue
        if (value := message.value()) is None:
            forgotten_ms = message.timestamp()[1]  # The tombstone after the last change of a life.
        else:
            changes.append(readable(decode_change, value, names.changes))
    return History(changes, forgotten_ms)


def since_forgotten(changes: list[ScoreChange]) -> list[ScoreChange]:
    """Return the changes after the user was last forgotten."""
    forgotten = [place for place, change in enumerate(changes) if change.cause == "forget"]
    return changes[forgotten[-1] + 1 :] if forgotten else changes


def lists_naming(kafka: KafkaSettings, names: Names, user: str) -> dict[str, int]:
    """Return the incidents whose lists name a user, and when the list that does was written, in ms."""
    lists = (
        (message.key() or b"", message.value(), message.timestamp()[1])
        for message in _committed(kafka, names, names.incident_users)
    )
    return listing(lists, user, names.incident_users)


def listing(lists: Iterable[tuple[bytes, bytes | None, int]], user: str, topic: str) -> dict[str, int]:
    """Return the incidents whose lists name a user, and when the list that does was written, in ms.

    `lists` are the topic's records in order, each a key, a value and its time; the newest of a key counts.

    >>> listing([(b"i/0", b'{"incident":"i","number":0,"users":["t:1"]}', 7), (b"j/0", None, 8)], "t:1", "")
    {'i': 7}
    """
    written, naming = msgspec.json.encode(user), dict[bytes, tuple[str, int]]()
    for key, value, time_ms in lists:
        naming.pop(key, None)
        if value is not None and written in value:  # Nearly all lists can be told from their bytes.
            users = readable(decode_incident_users, value, topic)
            if user in users.users:
                naming[key] = users.incident, time_ms
    return dict(naming.values())


def _committed(kafka: KafkaSettings, names: Names, topic: str, key: bytes | None = None) -> Iterator[Message]:
    """Yield the committed records of a topic, or of the one partition that a user's are in."""
    group = f"{names.app_id}-explain"
    whole = list(extents(kafka, group, [topic]))
    chosen = whole if key is None else [whole[partition_of(key, len(whole))]]
    with reading(kafka, group) as reader:
        for extent in chosen:
            yield from records(reader, extent)
