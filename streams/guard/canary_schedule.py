"""One network's synthetic accounts: what they do next, and what must come of it. Pure.

They act in rounds. In each, one account, the next in turn, is credited by up to three others, one after the other and
in turn by kind; then all of it is taken back, after which the account has no score and those who acted are as if they
never had. So every act shows, however often it was done before; who acts never has a score, so that influence is the
floor; and what is to be expected follows from the acts of the round alone, by `scorer.reference`. There is one act
under way at a time, so their order is known whatever raw partition they come through; an act that nothing came of is
sent again with the same id, which counts once.

Where what the accounts have can no longer be known, another set of them begins: after a fault, when an act was waited
for too long, or when the state is lost. A set is numbered by the second in which it began, so none is ever used twice.
What a former set still has fades, and is not looked at. Of a state that was stored nobody knows how much came after:
until a round has ended well, what does not fit it makes a new set begin, and is no fault.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct

from schemas.change import ScoreChange
from schemas.interaction import Kind
from schemas.times import parse_ms
from schemas.users import canary, partition_of
from scorer.model import Model
from scorer.reference import Event, Reference
from streams.guard.canary_feed import CanaryFeed
from streams.guard.canary_records import Act

TOLERANCE: Final = 0.05
"""Half a step of what is published."""
LATE_MS: Final = 30_000
"""How long a change may take, and after which its act is sent again."""
GIVE_UP_MS: Final = 3_600_000
"""After which an act is no longer waited for: a ledger keeps it for at least so long."""

_ROUNDING: Final = 1e-6
ACTORS_MAX: Final = 3
_SCORES: Final = ("score", "reach", "amplification", "network")
_NUMBERS: Final = 10_000
"""Of accounts in a set."""
_FADED_SHARE: Final = 1 / 30
"""Of the half-life: what fades in it is less than what anybody adds, so that every interaction shows."""


class Expected(NamedTuple):
    """What an account must have, unrounded."""

    score: float
    reach: float
    amplification: float
    network: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a change says of the system."""

    came: bool = False
    """Whether it is what was waited for."""
    latency_seconds: float | None = None
    """From when its act was sent; None for one that no act caused, or where nobody watched all the time."""
    fault: str = ""
    """What is wrong, if anything is, and in numbers."""
    numbers: dict[str, float] = field(default_factory=dict)
    round_ended: bool = False


class Waiting(Struct):
    """An act that is under way."""

    act: Act
    raw_partition: int
    sent_ms: int
    again_ms: int
    """When it was last sent."""
    since_ms: int
    """From when on it is waited for: time in which the network stood does not count."""
    was_stored: bool = False
    """Whether it was sent by a guard that watched before."""


class Last(Struct, frozen=True):
    """The last change of an account."""

    sequence: int = 0
    score: float | None = None
    as_of_ms: int = 0


class ScheduleState(Struct):
    """All that is stored."""

    accounts: list[str] = []
    turn: int = 0
    """Rounds that have ended."""
    acts: int = 0
    """Ever begun."""
    interactions: int = 0
    """Of these, but for those that took something back."""
    done: list[Act] = []
    """Of this round; what came of them was as it must be."""
    waiting: Waiting | None = None
    last: dict[str, Last] = {}
    next_ms: int = 0
    well_until_ms: int | None = None
    """Event time up to which all was seen to be well."""
    unsure: bool = False
    """Whether more may have happened than this says."""


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(ScheduleState).decode


class CanarySchedule:
    """The synthetic accounts of one network."""

    def __init__(
        self, network: str, feed: CanaryFeed, model: Model, kinds: Sequence[Kind], accounts: int, partitions: int
    ) -> None:
        """Begin without any; `partitions` are those of the lanes, over which the accounts are spread."""
        self._network, self._feed, self._model, self._kinds = network, feed, model, kinds
        self._count, self._partitions = accounts, partitions
        self._credits_max = credits_max(model, min(ACTORS_MAX, accounts - 1))
        self._of = ScheduleState()

    def encode(self) -> bytes:
        """Return the state."""
        return _encode(self._of)

    def restore(self, state: bytes) -> None:
        """Go on from a state; with another count of accounts, begin anew. Raise `ValueError` when it cannot be read."""
        self._of = _decode(state)
        self._of.unsure = True
        if self._of.waiting is not None:
            self._of.waiting.was_stored = True
        if len(self._of.accounts) != self._count:
            self._of = ScheduleState()

    @property
    def well_until_ms(self) -> int | None:
        """Return the event time up to which all was seen to be well; None where nothing was."""
        return self._of.well_until_ms

    def waited_ms(self, now_ms: int) -> int:
        """Return how long an act has been waited for while the network's time went on."""
        waiting = self._of.waiting
        if waiting is None:
            return 0
        if not self._feed.is_moving(now_ms):
            waiting.since_ms = now_ms
        waited_ms = now_ms - waiting.since_ms
        if self._of.unsure and waited_ms > LATE_MS:
            self.begin_anew()
            return 0
        return waited_ms

    def next(self, now_ms: int, interval_ms: int) -> tuple[int, Act] | None:
        """Return the act to send now, and through which raw partition; None while there is none."""
        of = self._of
        if not self._feed.is_moving(now_ms):
            return None
        if of.waiting is not None and now_ms - of.waiting.sent_ms > GIVE_UP_MS:
            self.begin_anew()
        if of.waiting is not None:
            if now_ms - max(of.waiting.again_ms, of.waiting.since_ms) <= LATE_MS:
                return None
            of.waiting.again_ms = now_ms
            return of.waiting.raw_partition, of.waiting.act
        if now_ms < of.next_ms <= now_ms + interval_ms:
            return None
        if not of.accounts:
            of.accounts = [*accounts(self._network, now_ms // 1000 * _NUMBERS, self._count, self._partitions)]
        target = of.accounts[of.turn % self._count]
        place = self._feed.place(of.acts, max([self._last(target).as_of_ms, *(act.time_ms for act in of.done)]))
        if place is None:
            return None
        act = self._next_act(target, place.time_ms)
        of.acts += 1
        of.next_ms = now_ms + interval_ms
        of.waiting = Waiting(act, place.raw_partition, sent_ms=now_ms, again_ms=now_ms, since_ms=now_ms)
        return place.raw_partition, act

    def _next_act(self, target: str, time_ms: int) -> Act:
        """Return the round's next act: an interaction, until there are enough; then one after the other is undone."""
        of = self._of
        gone = {act.id for act in of.done if act.kind == "retract"}
        live = [act for act in of.done if act.kind != "retract" and act.id not in gone]
        faded = bool(of.done) and time_ms - of.done[-1].time_ms > _FADED_SHARE * self._model.half_life_ms
        if not live or (not gone and len(live) < self._credits_max and not faded):
            actor = of.accounts[(of.turn + 1 + len(live)) % self._count]
            kind = self._kinds[of.interactions % len(self._kinds)]
            of.interactions += 1
            return Act(kind, actor, target, f"{actor}/{of.acts}", time_ms)
        return Act("retract", live[0].actor, target, live[0].id, time_ms)

    def see(self, change: ScoreChange, now_ms: int) -> Seen | None:
        """Take in a change; None where it is none of this set's, or was seen before."""
        of, last = self._of, self._last(change.user)
        if change.user not in of.accounts or change.sequence <= last.sequence:
            return None
        fault = _broken_chain(change, last)
        took = self._took(change)
        numbers: dict[str, float] = {}
        if not fault and took is None:
            fault, numbers = self._difference(change)
        if fault:
            unsure = of.unsure
            self.begin_anew()
            return None if unsure else Seen(fault=fault, numbers=numbers)
        of.well_until_ms = parse_ms(change.as_of)
        of.last[change.user] = Last(change.sequence, change.score, of.well_until_ms)
        if of.waiting is None or not took:
            return Seen()
        latency_seconds = None if of.waiting.was_stored else (now_ms - of.waiting.sent_ms) / 1000
        of.done, of.waiting = [*of.done, of.waiting.act], None
        ended = change.score is None
        if ended:
            of.done, of.turn, of.unsure = [], of.turn + 1, False
        return Seen(came=True, latency_seconds=latency_seconds, round_ended=ended)

    def begin_anew(self) -> None:
        """Leave these accounts as they are, and let others begin."""
        of = self._of
        self._of = ScheduleState(
            turn=of.turn,
            acts=of.acts,
            interactions=of.interactions,
            next_ms=of.next_ms,
            well_until_ms=of.well_until_ms,
        )

    def _last(self, user: str) -> Last:
        return self._of.last.get(user, Last())

    def _acts(self, user: str) -> list[Act]:
        """Return the acts of this round that have credited somebody."""
        return [act for act in self._of.done if act.target == user]

    def _took(self, change: ScoreChange) -> bool | None:
        """Return whether a change is what the act under way must bring; None if it is not what must be without it."""
        waiting, done = self._of.waiting, self._acts(change.user)
        as_of_ms = parse_ms(change.as_of)
        if waiting is not None and waiting.act.target == change.user:
            after = expected([*done, waiting.act], as_of_ms, self._model, self._network)
            if not _differences(change, after):
                return True
        if change.cause == "decay" and done:
            return None if _differences(change, expected(done, as_of_ms, self._model, self._network)) else False
        return None

    def _difference(self, change: ScoreChange) -> tuple[str, dict[str, float]]:
        """Say in how far a change is not as it must be, in words and numbers."""
        waiting = self._of.waiting
        if waiting is None or waiting.act.target != change.user:
            return f"{change.user} has a change, cause {change.cause}, and nothing was done", {}
        acts = [*self._acts(change.user), waiting.act]
        should = expected(acts, parse_ms(change.as_of), self._model, self._network)
        numbers = {"limit": TOLERANCE} | _differences(change, should)
        had = "none" if should is None else f"{should.score:.2f}"
        return f"{change.user} has the score {change.score}, expected was {had}", numbers


def accounts(network: str, first: int, count_: int, partitions: int) -> Iterator[str]:
    """Yield a set of accounts with numbers from `first` on, one in each partition in turn.

    >>> [partition_of(user.encode(), 4) for user in accounts("twitter", 70_000, 6, 4)]
    [0, 1, 2, 3, 0, 1]
    """
    numbers = count(first)
    for wanted in range(count_):
        yield next(
            user
            for number in numbers
            if partition_of((user := canary(network, number)).encode(), partitions) == wanted % partitions
        )


def expected(acts: Sequence[Act], as_of_ms: int, model: Model, network: str) -> Expected | None:
    """Return what the one who is credited by these acts has at a moment; None when all was taken back.

    >>> acts = [Act("share", "@canary/t/1", "@canary/t/0", "7", 0)]
    >>> round(expected(acts, 0, Model(), "t").score, 2)
    2.97
    """
    reference = _reference(acts, model, network)
    target = acts[0].target if acts else ""
    sums = reference.sums.get((target, network))
    if sums is None:
        return None
    left = 2.0 ** (-max(0, as_of_ms - sums.time) / model.half_life_ms)
    r, a, n = sums.reach * left, sums.amplification * left, sums.network * left
    return Expected(*map(reference.points, (r**0.25 * a**0.25 * n**0.5, r, a, n)))


def credits_max(model: Model, most: int) -> int:
    """Return how many acts of different people show one by one, done and taken back; at most `most`.

    >>> credits_max(Model(), 3), credits_max(Model(score_scale=0.01), 3)
    (3, 1)
    """
    for credits_ in range(most, 1, -1):
        acts = [Act("reaction", str(number), "target", str(number), 0) for number in range(credits_)]
        acts += [msgspec.structs.replace(act, kind="retract") for act in acts]
        if len(_reference(acts, model, "any").changes) == len(acts):
            return credits_
    return 1


def _reference(acts: Sequence[Act], model: Model, network: str) -> Reference:
    reference = Reference(model)
    for act in acts:
        if act.kind == "retract":
            reference.retract(network, act.actor, act.id)
        else:
            reference.apply(Event(network, act.id, act.kind, act.actor, act.target, act.time_ms))
    return reference


def _differences(change: ScoreChange, should: Expected | None) -> dict[str, float]:
    """Return what is more than half a step from where it must be, with what it must be."""
    if should is None or change.score is None or change.subscores is None:
        return {} if should is None and change.score is None else {"scored": float(change.score is not None)}
    parts = change.subscores
    found = Expected(change.score, parts.reach, parts.amplification, parts.network)
    return {
        name: value
        for of, have, must in zip(_SCORES, found, should, strict=True)
        if abs(have - must) > TOLERANCE + _ROUNDING
        for name, value in ((of, have), (f"{of}_expected", must))
    }


def _broken_chain(change: ScoreChange, last: Last) -> str:
    if change.sequence != last.sequence + 1:
        return f"{change.user} has sequence {change.sequence} after {last.sequence}"
    if change.previous != last.score:
        return f"{change.user} has {change.previous} as the score before, it was {last.score}"
    return ""
