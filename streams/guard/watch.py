"""Detectors and the incident book together, as one that can be stored and gone on with.

Pure; time is an argument. Each detector, and the book, keeps how far it has seen each topic, so that whoever goes on
reads from where the last stored state was and nobody sees anything twice, or misses it.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Protocol, runtime_checkable

import msgspec

from schemas.control import CommandRecord
from schemas.incident import Incident
from streams.guard.book import Book
from streams.guard.detector import Detector, Verdict
from streams.guard.observations import IncidentSeen, Moment, Observation

BOOK: Final = "@book"
POSITIONS: Final = "@positions"
"""Names of rows that are no detector's."""

_log: Final = logging.getLogger(__name__)


class Row(msgspec.Struct, frozen=True):
    """What is stored of a detector or the book: its state, and the last offset of each topic that it has seen."""

    seen: dict[str, int]
    state: bytes


@runtime_checkable
class Acting(Protocol):
    """A detector that does something itself, to see what comes of it."""

    def due(self, now_ms: int) -> Sequence[Any]:
        """Return what is to be sent now; asked once a second."""
        ...


@runtime_checkable
class Listening(Protocol):
    """A detector that knows when something last came from each network."""

    def ages_seconds(self, now_ms: int) -> Mapping[str, float]:
        """Return how long each has been silent."""
        ...


class Watch:
    """All detectors and the book."""

    def __init__(self, detectors: Sequence[Detector], book: Book) -> None:
        """Begin with nothing seen."""
        self.book = book
        self.detectors = {detector.name: detector for detector in detectors}
        self._seen: dict[str, dict[str, int]] = {name: {} for name in [*self.detectors, BOOK]}
        self._stored: dict[str, bytes] = {}

    def restore(self, rows: Mapping[str, bytes], incidents: Iterable[Incident]) -> None:
        """Go on from stored rows and incidents; what cannot be read, or was not there, sees everything anew."""
        for incident in sorted(incidents, key=lambda incident: incident.opened):
            self.book.take(incident)
        found = {name: msgspec.msgpack.decode(row, type=Row) for name, row in rows.items()}
        common = found.pop(POSITIONS, Row({}, b"")).seen
        for name, row in found.items():
            if name not in self._seen:
                continue
            try:
                (self.book if name == BOOK else self.detectors[name]).restore(row.state)
            except ValueError:
                _log.exception("what was stored cannot be read, it begins anew: %s", name)
                continue
            self._stored[name] = row.state
            # Rows are written before the common positions, and only where they changed.
            topics = row.seen.keys() | common.keys()
            self._seen[name] = {topic: max(row.seen.get(topic, -1), common.get(topic, -1)) for topic in topics}

    def rows(self) -> dict[str, bytes]:
        """Return the rows that changed since they were stored last, and the positions, which are to be stored last."""
        states = {name: detector.state() for name, detector in self.detectors.items()} | {BOOK: self.book.state()}
        changed = {name: state for name, state in states.items() if self._stored.get(name) != state}
        self._stored |= changed
        rows = {name: Row(self._seen[name], state) for name, state in changed.items()}
        return {
            name: msgspec.msgpack.encode(row) for name, row in [*rows.items(), (POSITIONS, Row(self.positions(), b""))]
        }

    def positions(self) -> dict[str, int]:
        """Return the last offset of each topic that all have seen."""
        topics = {topic for seen in self._seen.values() for topic in seen}
        least = {topic: min(seen.get(topic, -1) for seen in self._seen.values()) for topic in topics}
        return {topic: offset for topic, offset in least.items() if offset >= 0}

    def see(
        self, topic: str, offset: int, observation: Observation | CommandRecord | None, now_ms: int
    ) -> list[tuple[str, Verdict]]:
        """Take in what a topic holds at an offset; None is nothing that anybody knows. Return what detectors say."""
        said: list[tuple[str, Verdict]] = []
        if self._is_new(BOOK, topic, offset):
            if isinstance(observation, CommandRecord):
                self.book.obey(observation, now_ms)
            elif isinstance(observation, IncidentSeen):
                self.book.take(observation.incident)
        for name, detector in self.detectors.items():
            if self._is_new(name, topic, offset) and isinstance(observation, Observation):
                said += self._ask(detector, observation, now_ms)
        return said

    def tell_time(self, now_ms: int) -> list[tuple[str, Verdict]]:
        """Tell the detectors that time went by; return what they say."""
        moment = Moment(now_ms)
        return [said for detector in self.detectors.values() for said in self._ask(detector, moment, now_ms)]

    def due(self, now_ms: int) -> list[Any]:
        """Return what detectors that act want to send; their states are to be stored first."""
        return [act for of in self.detectors.values() if isinstance(of, Acting) for act in of.due(now_ms)]

    def ages_seconds(self, now_ms: int) -> dict[str, float]:
        """Return how long each network has been silent, by the detectors that listen."""
        return {
            network: age
            for of in self.detectors.values()
            if isinstance(of, Listening)
            for network, age in of.ages_seconds(now_ms).items()
        }

    def _is_new(self, name: str, topic: str, offset: int) -> bool:
        seen = self._seen[name]
        if seen.get(topic, -1) >= offset:
            return False
        seen[topic] = offset
        return True

    def _ask(self, detector: Detector, observation: Observation, now_ms: int) -> list[tuple[str, Verdict]]:
        try:
            verdicts = detector.update(observation)
        except Exception:  # noqa: BLE001 - one detector's fault must not blind all others
            _log.exception("the detector %s failed", detector.name)
            return []
        for verdict in verdicts:
            self.book.judge(detector.name, verdict, now_ms)
        return [(detector.name, verdict) for verdict in verdicts]
