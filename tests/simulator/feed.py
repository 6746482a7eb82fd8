"""What the networks report in a run: raw records, and what each says, known from making it."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any, Final, NamedTuple

import msgspec

from schemas.kinds import KINDS
from schemas.users import CANARY_PREFIX, CANARY_SOURCE, canary
from scorer.reference import Event

START_MS: Final = 1_340_000_000_000
HOUR_MS: Final = 3_600_000
SOURCE: Final = "west"
"""A collector that sends heartbeats now and then."""
_BROKEN: Final = (b"", b"{", b"17", b'"share"', b'{"id":"1","kind":"wave","actor":"a","target":"b","time":0}')
_PER_RECORD_MAX: Final = 8
_CANARY_EVERY: Final = 13
"""Every so many events one is by a synthetic account towards another."""
_CANARIES: Final = 3
_REMEMBERED: Final = 200
"""Events that may be reported again, or taken back."""


def user(number: int) -> str:
    """Return the id of a user: such that it can be found among other bytes.

    >>> user(7)
    'user7;'
    """
    return f"user{number};"


class Retraction(NamedTuple):
    """An event is taken back."""

    network: str
    actor: str
    id: str


class Fed(NamedTuple):
    """A raw record: its bytes, and what they say."""

    network: str
    value: bytes
    events: tuple[Event, ...] = ()
    retractions: tuple[Retraction, ...] = ()
    rejected: int = 0
    heartbeats: int = 0

    @property
    def identities(self) -> Iterator[tuple[str, str, str]]:
        """Yield network, actor and id of all events and retractions."""
        for event in self.events:
            yield event.network, event.actor, event.id
        yield from self.retractions

    @property
    def read(self) -> int:
        """Events that ingest counts as read."""
        return len(self.events) + len(self.retractions) + self.rejected + self.heartbeats


@dataclass(frozen=True, slots=True)
class Mix:
    """What a feed is made of; shares are of events."""

    users: int
    networks: tuple[str, ...]
    busy: float
    """Exponent of the users' popularity: 0 makes all alike."""
    hours_per_event: float
    late: float
    selves: float
    duplicates: float
    retractions: float
    broken: float
    heartbeats: float


class Feed:
    """Draws raw records one after the other."""

    def __init__(self, mix: Mix, random: Random) -> None:
        self.mix, self.random = mix, random
        self._weights = [(rank + 1) ** -mix.busy for rank in range(mix.users)]
        self._past: list[Event] = []
        self._pending: list[Event] = []
        """Taken back, and not yet reported."""
        self._made = 0
        self._time = START_MS

    def records(self, events: int) -> Iterator[Fed]:
        """Yield records with this many events altogether, or a few more."""
        reported = 0
        while reported < events:
            network = self.random.choice(self.mix.networks)
            if self.random.random() < self.mix.broken:
                fed = Fed(network, self.random.choice(_BROKEN), rejected=1)
            else:
                fed = self._record(network)
            reported += fed.read
            yield fed

    def _record(self, network: str) -> Fed:
        random = self.random
        events: list[Event] = []
        back: list[Retraction] = []
        parts: list[Any] = []
        rejected = heartbeats = 0
        for _ in range(1 if random.random() < 1 / 2 else random.randint(2, _PER_RECORD_MAX)):
            self._made += 1
            draw = random.random()
            if draw < self.mix.broken:
                parts.append({"kind": "share", "id": f"x{self._made}", "actor": "a"})
                rejected += 1
            elif draw < self.mix.broken + self.mix.heartbeats:
                source = {"source": SOURCE} if random.random() < 1 / 2 else {}
                parts.append({"kind": "heartbeat", "time": self._time} | source)
                heartbeats += 1
            else:
                self._act(network, parts, events, back)
        value = msgspec.json.encode(parts if len(parts) > 1 or random.random() < 1 / 4 else parts[0])
        return Fed(network, value, tuple(events), tuple(back), rejected, heartbeats)

    def _act(self, network: str, parts: list[Any], events: list[Event], back: list[Retraction]) -> None:
        """Report an event, or one again; and perhaps take one back."""
        mix, random = self.mix, self.random
        event = self._event(network)
        if random.random() < mix.duplicates:
            event = self._again(network) or event
        elif self._pending and self._pending[-1].network == network and random.random() < 1 / 3:
            event = self._pending.pop()
        taken = None
        if random.random() < mix.retractions:
            # At times before its event is reported.
            taken = event if random.random() < 1 / 8 else self._again(network)
        if taken is not None:
            part = {"kind": "retract", "time": self._time, "id": taken.id, "actor": taken.actor}
            parts.append(part | _source(taken.actor))
            back.append(Retraction(network, taken.actor, taken.id))
        if taken is event:
            self._pending.append(event)
            return
        part = {name: getattr(event, name) for name in ("id", "kind", "actor", "target", "time")}
        parts.append(part | _source(event.actor))
        events.append(event)
        self._past = [*self._past[-_REMEMBERED:], event]

    def _event(self, network: str) -> Event:
        mix, random = self.mix, self.random
        self._time += round(random.expovariate(1 / (mix.hours_per_event * HOUR_MS)))
        actor, target = random.choices(range(mix.users), self._weights, k=2)
        if actor == target and random.random() >= mix.selves:
            target = (target + 1) % mix.users
        late = round(random.expovariate(1 / (24 * HOUR_MS))) if random.random() < mix.late else 0
        time = max(0, self._time - late)
        names = user(actor), user(target)
        if self._made % _CANARY_EVERY == 0:
            names = canary(network, actor % _CANARIES), canary(network, target % _CANARIES)
        return Event(network, f"e{self._made}", random.choice(KINDS), *names, time)

    def _again(self, network: str) -> Event | None:
        """Return an event that was reported before, if the one drawn was on this network."""
        one = self.random.choice(self._past) if self._past else None
        return one if one is not None and one.network == network else None


def _source(actor: str) -> dict[str, str]:
    """Return who reports what somebody does, where that has to be said."""
    return {"source": CANARY_SOURCE} if actor.startswith(CANARY_PREFIX) else {}
