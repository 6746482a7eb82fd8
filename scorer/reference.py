"""The score in slow, obvious plain Python: what every kernel must equal.

One partition, one event after another. Nothing here is shared with the kernels but the model's parameters, the sizes
and thresholds of the pair memory and the hash of a user.
"""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from schemas.users import user_hash
from scorer.actors import FORGOTTEN_ACTS
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


@dataclass(frozen=True, slots=True)
class Entry:
    """What the ledger keeps of an event: enough to take it back."""

    event: Event
    grant: Grant
    rate_time: int
    former: Pair | None
    """What the pair's slot held before."""
    met: Pair | None
    """The pair that the event built on, maybe taken over; None when the target was new to the actor."""


@dataclass(slots=True)
class ActorState:
    """An actor on one network."""

    rate: float
    time: int
    epoch: int
    events: int = 0
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
    scores: Scores | None
    """None when everything was taken back."""
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
        return self.take(event, influence).grant

    def take(self, event: Event, influence: float) -> Entry:
        """Take an event in; the entry says what it is worth, and can be taken back."""
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
        state.events += 1

        while event.time - state.epoch >= model.half_life_ms // 2:
            state.former = state.current
            state.current = set()
            state.epoch += model.half_life_ms // 2

        slot, held, met = self.slot(state, event)
        if met is None:
            novelty = 1.0
            x = 0.0
        else:
            since = max(0, event.time - met.time)
            novelty = 1.0 - 2.0 ** (-since / model.half_life_ms)
            x = met.x * 2.0 ** (-since / (model.alpha * model.half_life_ms))
        latest = event.time if met is None else max(event.time, met.time)
        state.pairs[slot] = Pair(event.target, x + 1.0, latest)

        repetition = (x + 1.0) ** model.alpha - x**model.alpha
        worth = getattr(model.weights, event.kind) * selectivity * repetition
        return Entry(event, Grant(novelty, worth, worth * influence), state.time, held, met)

    def slot(self, state: ActorState, event: Event) -> tuple[int, Pair | None, Pair | None]:
        """The slot for an event's target, what it holds now, and the pair to build on: its own or one taken over."""
        for slot, pair in enumerate(state.pairs):
            if pair is not None and pair.target == event.target:
                return slot, pair, pair
        bits = self.bits_of(event.target)
        recognised = bits <= state.current or bits <= state.former
        oldest = min((pair for pair in state.pairs if pair is not None), key=lambda pair: pair.time, default=None)
        built_on = oldest if recognised else None
        if oldest is None or None in state.pairs:
            return state.pairs.index(None), None, built_on
        state.current |= self.bits_of(oldest.target)
        return state.pairs.index(oldest), oldest, built_on

    def take_back(self, entry: Entry) -> None:
        """Take an event out of its actor's rate and pair memory."""
        model, event, met = self.model, entry.event, entry.met
        state = self.states[event.actor, event.network]
        count = 2.0 ** (-max(0, state.time - entry.rate_time) / model.rate_half_life_ms)
        state.rate = max(0.0, state.rate - count)
        pair = next((pair for pair in state.pairs if pair is not None and pair.target == event.target), None)
        if pair is None:
            return
        slot = state.pairs.index(pair)
        half_life = model.alpha * model.half_life_ms
        since = 0 if met is None else max(0, event.time - met.time)
        left = Pair(
            event.target,
            1.0 if met is None else met.x * 2.0 ** (-since / half_life) + 1.0,
            event.time if met is None else max(event.time, met.time),
        )
        if pair == left:
            former = entry.former
            back = (
                former is not None
                and former.target != event.target
                and any(other is not None and other.target == former.target for other in state.pairs)
            )
            if former is None or back:
                self.drop(state, slot)
            else:
                state.pairs[slot] = former
            return
        x = pair.x - 2.0 ** (-max(0, pair.time - left.time) / half_life)
        time = pair.time
        if x < FORGOTTEN_ACTS:
            self.drop(state, slot)
            return
        if time == left.time and met is not None:
            x = min(x * 2.0 ** (since / half_life), float(state.events))
            time = met.time
        state.pairs[slot] = Pair(event.target, x, time)

    def drop(self, state: ActorState, slot: int) -> None:
        """Free a slot; the last one takes its place."""
        last = len([pair for pair in state.pairs if pair is not None]) - 1
        state.pairs[slot] = state.pairs[last]
        state.pairs[last] = None

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


def subtract(sums: dict[tuple[str, str], Sums], entry: Entry, model: Model) -> None:
    """Take a grant out of the sums again; nothing is left of the last one."""
    event, grant = entry.event, entry.grant
    have = sums[event.target, event.network]
    worth = 2.0 ** (-(have.time - event.time) / model.half_life_ms)
    have.reach = max(0.0, have.reach - grant.reach * worth)
    have.amplification = max(0.0, have.amplification - grant.amplification * worth)
    have.network = max(0.0, have.network - grant.network * worth)
    have.events -= 1
    if have.events == 0:
        del sums[event.target, event.network]


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

    An event that comes twice counts once; `retract` takes one back, also before it comes. Clocks stand where `clocks`
    puts them, in ms by network; a network without one is taken at each user's last event.

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
        self.ledger: dict[tuple[str, str, str], Entry | None] = {}
        """By network, actor and id; None for what was taken back, or grants nothing."""
        self.held: set[tuple[str, str, str]] = set()
        """Retractions that came before their event."""
        self.taken: set[tuple[str, str, str]] = set()

    def apply(self, event: Event) -> Grant | None:
        """Take one event in; a self-interaction is counted and grants nothing, nor does what came before or is gone."""
        identity = event.network, event.actor, event.id
        if identity in self.ledger:
            self.counters["duplicate"] += 1
            return None
        self.ledger[identity] = None
        if identity in self.held:
            self.counters["withheld"] += 1
            return None
        if event.actor == event.target:
            self.counters["self"] += 1
            return None
        self.counters["applied"] += 1
        last = self.last.get(event.actor)
        score = last.scores.score / 10 if last is not None and last.scores is not None else 1.0
        floor = self.model.influence_floor
        entry = self.actors.take(event, floor + (1 - floor) * (score - 1) / 99)
        self.ledger[identity] = entry
        add(self.sums, event, entry.grant, self.model)
        if event.network not in self.networks.setdefault(event.target, []):
            self.networks[event.target].append(event.network)
        self.publish(event.target)
        return entry.grant

    def retract(self, network: str, actor: str, id_: str) -> None:
        """Take an event back; before it comes, it will grant nothing; a second time, nothing happens."""
        identity = network, actor, id_
        if identity not in self.ledger:
            self.counters["repeated" if identity in self.held else "unmatched"] += 1
            self.held.add(identity)
            return
        entry, self.ledger[identity] = self.ledger[identity], None
        if entry is None:
            own = identity not in self.held and identity not in self.taken
            self.counters["retracted" if own else "repeated"] += 1
            self.taken.add(identity)
            return
        self.taken.add(identity)
        self.counters["retracted"] += 1
        self.actors.take_back(entry)
        subtract(self.sums, entry, self.model)
        target = entry.event.target
        if (target, network) not in self.sums:
            self.networks[target].remove(network)
        self.publish(target)

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
            time = max(self.clocks.get(network, sums.time), sums.time)
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
        """Emit a change if it shows; who has nothing left has no score."""
        last = self.last.get(user)
        scores, as_of = self.scores_of(user) if self.networks[user] else (None, 0)
        if not shows(None if last is None else last.scores, scores):
            return
        if last is None:
            change = Change(user, 1, None, scores, as_of)
        else:
            previous = None if last.scores is None else last.scores.score
            change = Change(user, last.sequence + 1, previous, scores, max(as_of, last.as_of))
        self.last[user] = change
        self.changes.append(change)


def shows(before: Scores | None, now: Scores | None) -> bool:
    """Whether a reader would see the difference."""
    if before is None or now is None:
        return before is not now
    return (
        now.score != before.score
        or in_points(now.reach) != in_points(before.reach)
        or in_points(now.amplification) != in_points(before.amplification)
        or in_points(now.network) != in_points(before.network)
        or {name: in_points(value) for name, value in now.networks.items()}
        != {name: in_points(value) for name, value in before.networks.items()}
    )


def in_tenths(score: float) -> int:
    """Rounded half up to 0.1, in tenths."""
    return math.floor(score * 10 + 0.5)


def in_points(score_tenths: int) -> int:
    """Rounded half up to 1."""
    return math.floor(score_tenths / 10 + 0.5)
