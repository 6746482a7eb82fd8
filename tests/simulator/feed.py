"""What the networks report in a run: raw records, and what each says, known from making it."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any, Final, NamedTuple

import msgspec

from schemas.kinds import KINDS
from scorer.reference import Event

START_MS: Final = 1_340_000_000_000
HOUR_MS: Final = 3_600_000
_BROKEN: Final = (b"", b"{", b"17", b'"share"', b'{"id":"1","kind":"wave","actor":"a","target":"b","time":0}')
_PER_RECORD_MAX: Final = 8


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
        for one in (*self.events, *self.retractions):
            yield one.network, one.actor, one.id

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


def feed(mix: Mix, random: Random, events: int) -> Iterator[Fed]:
    """Yield raw records with this many events altogether, or a few more."""
    weights = [(rank + 1) ** -mix.busy for rank in range(mix.users)]
    users = random.choices(range(mix.users), weights, k=2 * events)
    past: list[Event] = []
    pending: list[Event] = []
    made, time = 0, START_MS
    while made < events:
        network = random.choice(mix.networks)
        theirs: list[Event] = []
        back: list[Retraction] = []
        parts: list[Any] = []
        rejected = heartbeats = 0
        for _ in range(1 if random.random() < 1 / 2 else random.randint(2, _PER_RECORD_MAX)):
            draw = random.random()
            if draw < mix.broken:
                parts.append({"kind": "share", "id": f"x{made}", "actor": "a"})
                rejected += 1
            elif draw < mix.broken + mix.heartbeats:
                parts.append({"kind": "heartbeat", "time": time})
                heartbeats += 1
            else:
                time += round(random.expovariate(1 / (mix.hours_per_event * HOUR_MS)))
                actor, target = users.pop(), users.pop() if users else 0
                users = users or random.choices(range(mix.users), weights, k=2 * _PER_RECORD_MAX)
                event = _event(mix, random, network, made, actor, target, time)
                if random.random() < mix.duplicates:
                    event = _again(random, past, network) or event
                elif pending and pending[-1].network == network and random.random() < 1 / 3:
                    event = pending.pop()
                taken = None
                if random.random() < mix.retractions:
                    # At times before its event is reported.
                    taken = event if random.random() < 1 / 8 else _again(random, past, network)
                if taken is not None:
                    parts.append({"kind": "retract", "time": time, "id": taken.id, "actor": taken.actor})
                    back.append(Retraction(network, taken.actor, taken.id))
                if taken is event:
                    pending.append(event)
                else:
                    parts.append(_spoken(event))
                    theirs.append(event)
                    past.append(event)
            made += 1
        if random.random() < mix.broken:
            yield Fed(network, random.choice(_BROKEN), rejected=1)
        if not parts:
            continue
        value = msgspec.json.encode(parts if len(parts) > 1 or random.random() < 1 / 4 else parts[0])
        yield Fed(network, value, tuple(theirs), tuple(back), rejected, heartbeats)


def _event(mix: Mix, random: Random, network: str, number: int, actor: int, target: int, time: int) -> Event:
    if actor == target and random.random() >= mix.selves:
        target = (target + 1) % mix.users
    late = round(random.expovariate(1 / (24 * HOUR_MS))) if random.random() < mix.late else 0
    return Event(network, f"e{number}", random.choice(KINDS), f"u{actor}", f"u{target}", max(0, time - late))


def _again(random: Random, past: list[Event], network: str) -> Event | None:
    """Return an event that was reported before on this network."""
    if not past:
        return None
    one = random.choice(past[-200:])
    return one if one.network == network else None


def _spoken(event: Event) -> dict[str, Any]:
    return {
        "id": event.id,
        "kind": event.kind,
        "actor": event.actor,
        "target": event.target,
        "time": event.time,
    }
