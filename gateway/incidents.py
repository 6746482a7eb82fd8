"""What the gateway knows of incidents: whom their lists name, and in which order they are shown."""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from confluent_kafka import Message
from numpy.typing import NDArray

from schemas.incident import Incident, decode_incident_users
from schemas.users import user_hash, user_hashes


class _Chunk(NamedTuple):
    incident: str
    written_ms: int
    hashes: NDArray[np.uint64]
    """Of its users, ascending: a million names would take a hundred times as much."""


class Listed:
    """Whom the lists of incidents name, as last told; any thread may ask."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self._chunks: dict[bytes, _Chunk] = {}

    def on_users(self, message: Message) -> None:
        """Take a record of `incidents.users.v1`."""
        key, value = message.key() or b"", message.value()
        chunks = dict(self._chunks)
        chunks.pop(key, None)
        if value is not None:
            record = decode_incident_users(value)
            hashes = np.sort(user_hashes([user.encode() for user in record.users]))
            chunks[key] = _Chunk(record.incident, message.timestamp()[1], hashes)
        self._chunks = chunks

    def naming(self, user: str) -> dict[str, int]:
        """Return the incidents whose lists name a user, and when the list that does was written, in ms.

        >>> Listed().naming("twitter:1")
        {}
        """
        hash_ = np.uint64(user_hash(user.encode()))
        return {chunk.incident: chunk.written_ms for chunk in self._chunks.values() if _has(chunk.hashes, hash_)}

    def counts(self) -> Counter[str]:
        """Return how many users the lists of each incident name.

        >>> Listed().counts()["declared/1"]
        0
        """
        counts: Counter[str] = Counter()
        for chunk in self._chunks.values():
            counts[chunk.incident] += len(chunk.hashes)
        return counts


def _has(hashes: NDArray[np.uint64], hash_: np.uint64) -> bool:
    at = int(np.searchsorted(hashes, hash_))
    return at < len(hashes) and bool(hashes[at] == hash_)


def in_order(incidents: Iterable[Incident]) -> list[Incident]:
    """Return incidents as they are shown: the open ones first, each time the one opened last first."""
    newest_first = sorted(incidents, key=lambda incident: (incident.opened, incident.id), reverse=True)
    return sorted(newest_first, key=lambda incident: incident.status == "resolved")
