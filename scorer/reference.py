"""The score in slow, obvious plain Python: what every kernel must equal.

One partition, one event after another. Nothing here is shared with the kernels but the model's parameters, the sizes
of the pair memory and the hash of a user.
"""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from schemas.users import user_hash
from scorer.model import FILTER_BITS, PAIRS, Model


@dataclass(frozen=True, slots=True)
class Event:
    """One interaction; time in ms."""

    network: str
    id: str
    kind: str
    actor: str
    target: str
    time: int


@dataclass(frozen=True, slots=True)
class Grant:
    """What one event granted its target, never to change."""

    reach: float
    amplification: float
    network: float


@dataclass(slots=True)
class Pair:
    """An actor's memory of one target."""

    target: str
    x: float
    time: int


@dataclass(slots=True)
class ActorState:
    """An actor on one network."""

    rate: float
    time: int
    epoch: int
    pairs: list[Pair | None] = field(default_factory=lambda: [None] * PAIRS)
    current: set[int] = field(default_factory=set)
    former: set[int] = field(default_factory=set)


@dataclass(slots=True)
class Sums:
    """What a user received on one network, decayed to `time`, that of the latest event."""

    reach: float
    amplification: float
    network: float
    time: int
    events: int


@dataclass(frozen=True, slots=True)
class Scores:
    """What is published: in tenths of a point."""

    score: int
    reach: int
    amplification: int
    network: int
    networks: dict[str, int]


@dataclass(frozen=True, slots=True)
class Change:
    """A published change."""

    user: str
    sequence: int
    previous: int | None
    scores: Scores
    as_of: int


class Actors:
    """The actors stage."""

    def __init__(self, model: Model) -> None:
        """Begin with nobody."""
        self.model = model
        self.states: dict[tuple[str, str], ActorState] = {}
        self.bits: dict[str, set[int]] = {}

    def grant(self, event: Event, influence: float) -> Grant:
        """Take an event in and say what it is worth."""
        model = self.model
        state = self.states.get((event.actor, event.network))
        if state is None:
            state = ActorState(rate=0.0, time=event.time, epoch=event.time)
            self.states[event.actor, event.network] = state

        since = max(0, event.time - state.time)
        rate = state.rate * 2.0 ** (-since / model.rate_half_life_ms)
        selectivity = 1.0 / (1.0 + rate / model.rate_reference)
        state.rate = rate + 1.0
        state.time = max(event.time, state.time)

        while event.time - state.epoch >= model.half_life_ms // 2:
            state.former = state.current
            state.current = set()
            state.epoch += model.half_life_ms // 2

        pair = self.pair(state, event)
        if pair is None:
            novelty = 1.0
            x = 0.0
        else:
            since = max(0, event.time - pair.time)
            novelty = 1.0 - 2.0 ** (-since / model.half_life_ms)
            x = pair.x * 2.0 ** (-since / (model.alpha * model.half_life_ms))
        latest = event.time if pair is None else max(event.time, pair.time)
        self.store(state, Pair(event.target, x + 1.0, latest))

        repetition = (x + 1.0) ** model.alpha - x**model.alpha
        worth = getattr(model.weights, event.kind) * selectivity * repetition
        return Grant(novelty, worth, worth * influence)

    def pair(self, state: ActorState, event: Event) -> Pair | None:
        """The target's pair, one it takes over, or none; makes room for it where it is absent."""
        for pair in state.pairs:
            if pair is not None and pair.target == event.target:
                return pair
        if None in state.pairs:
            return None
        bits = self.bits_of(event.target)
        recognised = bits <= state.current or bits <= state.former
        evicted = min((pair for pair in state.pairs if pair is not None), key=lambda pair: pair.time)
        state.pairs[state.pairs.index(evicted)] = None
        state.current |= self.bits_of(evicted.target)
        return evicted if recognised else None

    def store(self, state: ActorState, pair: Pair) -> None:
        """Put a pair in the place of its target, or in the free one."""
        for slot, other in enumerate(state.pairs):
            if other is None or other.target == pair.target:
                state.pairs[slot] = pair
                return

    def bits_of(self, target: str) -> set[int]:
        """The bits of a target in a filter."""
        bits = self.bits.get(target)
        if bits is None:
            q = user_hash(target.encode())
            bits = {q % FILTER_BITS, (q >> 20) % FILTER_BITS, (q >> 40) % FILTER_BITS}
            self.bits[target] = bits
        return bits


def add(sums: dict[tuple[str, str], Sums], event: Event, grant: Grant, model: Model) -> None:
    """Add a grant to the sums of the user and network that it belongs to."""
    have = sums.get((event.target, event.network))
    if have is None:
        have = Sums(0.0, 0.0, 0.0, event.time, 0)
        sums[event.target, event.network] = have
    time = max(have.time, event.time)
    left = 2.0 ** (-(time - have.time) / model.half_life_ms)
    worth = 2.0 ** (-(time - event.time) / model.half_life_ms)
    have.reach = have.reach * left + grant.reach * worth
    have.amplification = have.amplification * left + grant.amplification * worth
    have.network = have.network * left + grant.network * worth
    have.time = time
    have.events += 1


def sums_of(events: Iterable[Event], model: Model) -> dict[tuple[str, str], Sums]:
    """Reach and amplification of every (user, network) of a log, and network as if nobody had a score.

    Without the scores of the moment: the quick way to what can be reproduced from the log alone.
    """
    actors = Actors(model)
    sums: dict[tuple[str, str], Sums] = {}
    for event in events:
        if event.actor != event.target:
            add(sums, event, actors.grant(event, model.influence_floor), model)
    return sums


class Reference:
    """Both stages, one event a batch: each action counts with the actor's last published score of that moment.

    The clock of a network is the largest event time seen on it; self-interactions never reach the targets stage and
    do not move it.

    >>> reference = Reference(Model())
    >>> grant = reference.apply(Event("twitter", "1", "share", "ann", "bob", 0))
    >>> grant.reach, grant.amplification, reference.changes[0].user, reference.changes[0].previous
    (1.0, 1.0, 'bob', None)
    """

    def __init__(self, model: Model) -> None:
        """Begin with nobody."""
        self.model = model
        self.actors = Actors(model)
        self.sums: dict[tuple[str, str], Sums] = {}
        self.clocks: dict[str, int] = {}
        self.last: dict[str, Change] = {}
        self.changes: list[Change] = []
        self.counters: Counter[str] = Counter()
        self.networks: dict[str, list[str]] = {}

    def apply(self, event: Event) -> Grant | None:
        """Take one event in; a self-interaction is counted and grants nothing."""
        if event.actor == event.target:
            self.counters["self"] += 1
            return None
        self.counters["applied"] += 1
        score = self.last[event.actor].scores.score / 10 if event.actor in self.last else 1.0
        floor = self.model.influence_floor
        grant = self.actors.grant(event, floor + (1 - floor) * (score - 1) / 99)
        add(self.sums, event, grant, self.model)
        if event.network not in self.networks.setdefault(event.target, []):
            self.networks[event.target].append(event.network)
        self.clocks[event.network] = max(event.time, self.clocks.get(event.network, event.time))
        self.publish(event.target)
        return grant

    def points(self, strength: float) -> float:
        """The scale."""
        return min(100.0, 1.0 + 99.0 * math.log(1.0 + strength) / math.log(1.0 + self.model.score_scale))

    def scores_of(self, user: str) -> tuple[Scores, int]:
        """A user's scores in tenths at the clocks of its networks, and the latest of these."""
        total_r = total_a = total_n = 0.0
        networks = {}
        times = []
        for network in self.networks[user]:
            sums = self.sums[user, network]
            time = max(self.clocks[network], sums.time)
            left = 2.0 ** (-(time - sums.time) / self.model.half_life_ms)
            r, a, n = sums.reach * left, sums.amplification * left, sums.network * left
            networks[network] = in_tenths(self.points(r**0.25 * a**0.25 * n**0.5))
            total_r += r
            total_a += a
            total_n += n
            times.append(time)
        scores = Scores(
            score=in_tenths(self.points(total_r**0.25 * total_a**0.25 * total_n**0.5)),
            reach=in_tenths(self.points(total_r)),
            amplification=in_tenths(self.points(total_a)),
            network=in_tenths(self.points(total_n)),
            networks=networks,
        )
        return scores, max(times)

    def publish(self, user: str) -> None:
        """Emit a change if it shows."""
        scores, as_of = self.scores_of(user)
        last = self.last.get(user)
        if last is not None:
            same = (
                scores.score == last.scores.score
                and in_points(scores.reach) == in_points(last.scores.reach)
                and in_points(scores.amplification) == in_points(last.scores.amplification)
                and in_points(scores.network) == in_points(last.scores.network)
                and {name: in_points(value) for name, value in scores.networks.items()}
                == {name: in_points(value) for name, value in last.scores.networks.items()}
            )
            if same:
                return
        sequence, previous = (last.sequence + 1, last.scores.score) if last is not None else (1, None)
        change = Change(user, sequence, previous, scores, as_of)
        self.last[user] = change
        self.changes.append(change)


def in_tenths(score: float) -> int:
    """Rounded half up to 0.1, in tenths."""
    return math.floor(score * 10 + 0.5)


def in_points(score_tenths: int) -> int:
    """Rounded half up to 1."""
    return math.floor(score_tenths / 10 + 0.5)
