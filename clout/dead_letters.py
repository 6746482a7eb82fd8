"""Reads dead letters: all that the topics hold, which of them were sent again, and which of them are asked for."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple, Self

from confluent_kafka import Message

from clout.whole_topic import extents, reading, records
from schemas.dead_letter import DeadLetter, Header, decode_headers, decode_mark, original_headers
from schemas.webhook import UndeliveredHeaders, decode_undelivered
from streams.settings import KafkaSettings

_PLACE: Final = re.compile(r"([\w.-]{1,249})/(\d{1,9})@(\d{1,18})(?:\[(\d{1,9})\])?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a dead letter came from: a record, or one element of its array; of a delivery, where it lies.

    >>> str(Place.parse("interactions.twitter.v1/3@17[2]")), Place.parse("somewhere")
    ('interactions.twitter.v1/3@17[2]', None)
    """

    topic: str
    partition: int
    offset: int
    index: int | None = None

    def __str__(self) -> str:
        """Write it as it is read."""
        return f"{self.topic}/{self.partition}@{self.offset}" + ("" if self.index is None else f"[{self.index}]")

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read TOPIC/PARTITION@OFFSET or TOPIC/PARTITION@OFFSET[INDEX]; None if it is neither."""
        match = _PLACE.fullmatch(text)
        if match is None:
            return None
        topic, partition, offset, index = match.groups()
        return cls(topic, int(partition), int(offset), None if index is None else int(index))


class Letter(NamedTuple):
    """A dead letter as it lies in its topic."""

    topic: str
    partition: int
    offset: int
    why: DeadLetter
    value: bytes | None
    headers: list[Header]
    """The original record's own, where its format reads any."""
    replayed: bool

    @property
    def place(self) -> Place:
        """Where it came from."""
        return Place(self.why.source_topic, self.why.source_partition, self.why.source_offset, self.why.source_index)

    @property
    def reason(self) -> str:
        """Why it was not taken in."""
        return self.why.reason

    @property
    def time_ms(self) -> int:
        """When the original arrived."""
        return self.why.source_time


class UndeliveredLetter(NamedTuple):
    """A delivery to a partner that was set aside."""

    place: Place
    """Where it lies: it came from no record."""
    time_ms: int
    """When it was set aside."""
    incident: str
    why: UndeliveredHeaders
    value: bytes | None
    """The body."""

    @property
    def reason(self) -> str:
        """Why it was not delivered."""
        return self.why.reason


@dataclass(frozen=True, slots=True)
class Selection:
    """Which letters are asked for; nothing given means all."""

    reason: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    places: frozenset[Place] = frozenset()
    """A place without an index stands for all elements of its record."""

    def takes(self, letter: Letter | UndeliveredLetter) -> bool:
        """Tell whether a letter is asked for; times are those of the original's arrival."""
        return (
            (self.reason is None or letter.reason == self.reason)
            and (self.since_ms is None or letter.time_ms >= self.since_ms)
            and (self.until_ms is None or letter.time_ms < self.until_ms)
            and (not self.places or bool({letter.place, replace(letter.place, index=None)} & self.places))
        )


class Marks:
    """Which offsets of a partition are of letters that were sent again: a bit for each offset.

    >>> marks = Marks(10, 20)
    >>> marks.add(12)
    >>> 12 in marks, 13 in marks, 99 in marks
    (True, False, False)
    """

    def __init__(self, begin: int, end: int) -> None:
        """Begin with none, for the offsets from `begin` to `end`."""
        self._begin = begin
        self._end = end
        self._bits = bytearray((max(0, end - begin) + 7) // 8)

    def add(self, offset: int) -> None:
        """Mark an offset; those of letters that are gone do not matter."""
        if self._begin <= offset < self._end:
            byte, bit = divmod(offset - self._begin, 8)
            self._bits[byte] |= 1 << bit

    def __contains__(self, offset: int) -> bool:
        """Tell whether an offset is marked."""
        if not self._begin <= offset < self._end:
            return False
        byte, bit = divmod(offset - self._begin, 8)
        return bool(self._bits[byte] >> bit & 1)


def letters(kafka: KafkaSettings, group: str, topics: Sequence[str]) -> Iterator[Letter]:
    """Yield the letters that these topics hold now, topic by topic; raise `CloutError` where one cannot be read.

    Every partition is read twice, for its marks first, so that memory does not grow with the letters.
    """
    with reading(kafka, group) as reader:
        for extent in extents(kafka, group, topics):
            marks = Marks(extent.begin, extent.end)
            for message in records(reader, extent):
                offset = _mark(message)
                if offset is not None:
                    marks.add(offset)
            for message in records(reader, extent):
                letter = _letter(message, marks)
                if letter is not None:
                    yield letter


def undelivered(kafka: KafkaSettings, group: str, topic: str) -> Iterator[UndeliveredLetter]:
    """Yield the deliveries to partners that this topic holds now."""
    with reading(kafka, group) as reader:
        for extent in extents(kafka, group, [topic]):
            for message in records(reader, extent):
                letter = _undelivered(message)
                if letter is not None:
                    yield letter


def _headers(message: Message) -> list[Header]:
    headers: Any = message.headers()
    return list(headers or ())


def _mark(message: Message) -> int | None:
    try:
        return decode_mark(_headers(message))
    except ValueError:
        return None


def _letter(message: Message, marks: Marks) -> Letter | None:
    """Read a record as a letter; None if it is a mark, or not of Clout's making."""
    headers = _headers(message)
    topic, partition, offset = str(message.topic()), message.partition() or 0, message.offset() or 0
    # The letters of lanes do not say when the original arrived: it was little before.
    arrived: Header = ("source_time", b"%d" % message.timestamp()[1])
    try:
        why = decode_headers([arrived, *headers])
    except ValueError:
        return None
    return Letter(topic, partition, offset, why, message.value(), original_headers(headers), offset in marks)


def _undelivered(message: Message) -> UndeliveredLetter | None:
    """Read a record as a delivery that was set aside; None if it is not of Clout's making."""
    key: Any = message.key()
    try:
        why = decode_undelivered(_headers(message))
    except ValueError:
        return None
    place = Place(str(message.topic()), message.partition() or 0, message.offset() or 0)
    incident = (key or b"").decode(errors="backslashreplace")
    return UndeliveredLetter(place, message.timestamp()[1], incident, why, message.value())
