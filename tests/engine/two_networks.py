"""The real interactions on one network, and a second one made of them that credits the same people.

Four collectors report twitter, each the acts of a quarter of its people, to two raw partitions; one reports mastodon.
"""

import gzip
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from operator import attrgetter
from pathlib import Path
from typing import Final
from zlib import crc32

import msgspec

from clout.heartbeats import heartbeat
from clout.sender import RAW_PRODUCER_OPTIONS
from clout.snap import SnapEvents
from schemas.interaction import Interaction, encode
from scorer.model import DAY_MS, Model
from scorer.reference import Event
from streams import clients
from streams.settings import NetworkSettings
from tests.roles import Installation

START_MS: Final = 1_341_100_800_000
"""Midnight of the day on which the file begins."""
END_MS: Final = START_MS + 7 * DAY_MS + 7_200_000
"""Everything has happened, on both networks."""
TWITTER: Final = ("north", "east", "south", "west")
MASTODON: Final = ("fedi",)
EVERYBODY: Final = (*TWITTER, *MASTODON)
NETWORKS: Final = {
    "twitter": NetworkSettings(raw_partitions=2, sources=TWITTER),
    "mastodon": NetworkSettings(raw_partitions=1, sources=MASTODON),
}
FLAT: Final = Model(name="flat", influence_floor=1.0)
"""Everyone has the same influence: all three sums follow from the log alone."""

_LATER_MS_MAX: Final = 3_600_000
_MASTODON_ACTORS: Final = 50_000
_ARRAY_EVENTS: Final = 1_000


def interactions(path: Path, *, one_in: int = 1) -> list[Event]:
    """Return what happened on both networks in the order of time; of twitter, by one actor in so many."""
    decode = msgspec.json.Decoder(Interaction).decode
    with gzip.open(path) as lines:
        some = (line for line in lines if int(line.split(b" ", 1)[0]) % one_in == 0)
        read = SnapEvents("twitter", prefix="twitter").events(some)
        found = [decode(value) for _, value, _ in read]
    twitter = [
        Event("twitter", event.id, event.kind, event.actor, event.target, event.time)
        for event in found
        if isinstance(event.time, int)
    ]
    return sorted([*twitter, *filter(None, map(_on_mastodon, twitter))], key=attrgetter("time"))


def _on_mastodon(event: Event) -> Event | None:
    """Return what a third of the interactions come to there: by others, for the same people, up to an hour later."""
    chance = crc32(event.id.encode())
    if chance % 3:
        return None
    actor = f"mastodon:{crc32(event.actor.encode()) % _MASTODON_ACTORS}"
    return Event("mastodon", event.id, event.kind, actor, event.target, event.time + chance % _LATER_MS_MAX)


def collector_of(event: Event) -> str:
    """Return who reports an event: of an actor always the same."""
    return MASTODON[0] if event.network == "mastodon" else TWITTER[crc32(event.actor.encode()) % len(TWITTER)]


def _network(source: str) -> str:
    return "mastodon" if source in MASTODON else "twitter"


def _raw_partitions(source: str) -> int:
    return NETWORKS[_network(source)].raw_partitions


def _encoded(event: Event) -> bytes:
    return encode(
        Interaction(id=event.id, kind=event.kind, actor=event.actor, target=event.target, time=event.time)  # type: ignore[arg-type]
    )


class Collectors:
    """All collectors of both networks, each of which reports when and as far as it is told to."""

    def __init__(self, installation: Installation, events: Sequence[Event]) -> None:
        """Prepare to report these events, which are in the order of time."""
        self._topics = {source: installation.names.interactions(_network(source)) for source in EVERYBODY}
        self._producer = clients.producer(installation.settings.kafka, RAW_PRODUCER_OPTIONS)
        self._left: dict[str, list[Event]] = {source: [] for source in EVERYBODY}
        for event in reversed(events):
            self._left[collector_of(event)].append(event)

    def report(self, until_ms: int, sources: Iterable[str] = EVERYBODY) -> None:
        """Let collectors report what happened before a time, and then say that they have."""
        sources = list(sources)
        for source in sources:
            taken = self._take(self._left[source], until_ms)
            while values := list(islice(taken, _ARRAY_EVENTS)):
                self._send(source, values)
        for source in sources:
            for partition in range(_raw_partitions(source)):
                self._producer.produce(self._topics[source], heartbeat(source, until_ms), partition=partition)
        assert self._producer.flush(30) == 0

    def _send(self, source: str, events: Sequence[Event]) -> None:
        """Send events as an array to each raw partition that has any; an actor's are all in one."""
        by_partition = defaultdict[int, list[bytes]](list)
        for event in events:
            partition = (crc32(event.actor.encode()) // len(TWITTER)) % _raw_partitions(source)
            by_partition[partition].append(_encoded(event))
        for partition, values in by_partition.items():
            self._producer.produce(self._topics[source], b"[" + b",".join(values) + b"]", partition=partition)

    def _take(self, left: list[Event], until_ms: int) -> Iterator[Event]:
        while left and left[-1].time < until_ms:
            yield left.pop()

    def report_in_steps(self, first_ms: int, last_ms: int, step_ms: int, sources: Iterable[str] = EVERYBODY) -> None:
        """Let them report step by step, up to the last moment."""
        for until_ms in [*range(first_ms + step_ms, last_ms, step_ms), last_ms]:
            self.report(until_ms, sources)
