"""Both stages over rows in a dictionary, as a task drives them; every state passes through its stored form."""

import random
from collections.abc import Iterator, Sequence

import numpy as np

from schemas.kinds import KIND_CODES, KINDS
from schemas.users import user_hash
from scorer.actor_state import decode_actors, encode_actors
from scorer.actors import Grants, fold_actors, influences
from scorer.arrays import Ints, Records
from scorer.laws import Batch, audit
from scorer.model import DAY_MS, Model
from scorer.reference import Event
from scorer.target_state import decode_targets, encode_targets, found, published_scores
from scorer.targets import fold_targets, publish, score_targets
from scorer.timers import NO_CLOCK, evaluation_times

START_MS = 1_340_000_000_000


class Partition:
    """Takes events in, a batch at a time, and audits each."""

    def __init__(self, model: Model, networks: Sequence[str] = ("one", "two", "three")) -> None:
        self.parameters = model.parameters
        self.networks = {network: code for code, network in enumerate(networks)}
        self.clocks: Ints = np.full(len(networks), NO_CLOCK)
        self.actors: dict[tuple[str, str], bytes] = {}
        self.targets: dict[str, bytes] = {}
        self.batch: Batch | None = None

    def apply(self, events: Sequence[Event]) -> Batch:
        grants = self.grant(events)
        users = sorted({event.target for event in events})
        place = {user: index for index, user in enumerate(users)}
        heads, entries, _ = decode_targets([self.targets.get(user) for user in users], len(self.networks))
        heads_before, entries_before = heads.copy(), found(entries)
        index = np.array([place[event.target] for event in events])
        codes = np.array([self.networks[event.network] for event in events])
        times = np.array([event.time for event in events])
        clocks = self.clocks.copy()
        np.maximum.at(clocks, codes, times)
        fold_targets(entries, users=index, networks=codes, times=times, grants=grants, parameters=self.parameters)
        scored = score_targets(heads, entries, evaluation_times(entries, clocks), self.parameters)
        published = publish(heads, entries, scored)
        batch = Batch(
            heads_before=heads_before,
            entries_before=entries_before,
            clocks_before=self.clocks,
            heads_after=heads,
            entries_after=entries,
            clocks_after=clocks,
            users=index,
            networks=codes,
            times=times,
            grants=grants,
            takes_back=np.zeros(len(events), np.bool_),
            scored=scored,
            published=published,
            rows_in=len(events),
            duplicates=0,
            skipped=0,
        )
        assert audit(batch, self.parameters) == []
        self.clocks = clocks
        self.targets.update(zip(users, encode_targets(heads, entries), strict=True))
        return batch

    def grant(self, events: Sequence[Event]) -> Grants:
        keys = sorted({(event.actor, event.network) for event in events})
        place = {key: index for index, key in enumerate(keys)}
        states = decode_actors([self.actors.get(key) for key in keys])
        scores = published_scores([self.targets.get(actor) for actor, _ in keys])
        grants, _ = fold_actors(
            states,
            index=[place[event.actor, event.network] for event in events],
            targets=np.array([user_hash(event.target.encode()) for event in events], np.uint64),
            kinds=[KIND_CODES[event.kind] for event in events],
            times=[event.time for event in events],
            influence=influences(scores, self.parameters),
            parameters=self.parameters,
        )
        self.actors.update(zip(keys, encode_actors(states), strict=True))
        return grants

    def state(self, user: str) -> tuple[Records, Records]:
        """A user's head and its entries, one a network."""
        heads, entries, _ = decode_targets([self.targets.get(user)], len(self.networks))
        return heads[0], entries[0]


def act(actor: str, target: str, time: int, kind: str = "share", network: str = "one") -> Event:
    return Event(network, f"{actor}-{target}-{time}", kind, actor, target, time)


def fans(target: str, count: int, *, kind: str = "share", network: str = "one", time: int = START_MS) -> list[Event]:
    """Acts of as many different people on one target."""
    return [act(f"fan{number}", target, time + number, kind, network) for number in range(count)]


GAPS_MS = (0, 1, 1000, 60_000, 3_600_000, DAY_MS, 5 * DAY_MS, 15 * DAY_MS, 16 * DAY_MS, 45 * DAY_MS, -1000, -DAY_MS)
RARE_GAPS_MS = (-40 * DAY_MS, 400 * DAY_MS, 20_000 * DAY_MS)


def stream(seed: int, *, events: int, actors: int, targets: int, days_per_event: float) -> Iterator[Event]:
    """Random events of everyone on everyone: late ones, jumps, three networks, some on oneself."""
    chance = random.Random(seed)
    time = START_MS
    for number in range(events):
        gap = chance.choice(GAPS_MS) if chance.random() < 0.98 else chance.choice(RARE_GAPS_MS)
        time = max(0, time + round(gap * days_per_event))
        late = round(chance.expovariate(1 / DAY_MS)) if chance.random() < 0.2 else 0
        yield Event(
            network=chance.choice(("one", "one", "two", "three")),
            id=str(number),
            kind=chance.choice(KINDS),
            actor=f"u{chance.randrange(actors)}",
            target=f"u{chance.randrange(targets)}",
            time=max(0, time - late),
        )
