"""When decay alone shows, by a search over the plain formulas; and what was published, to be held against it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from schemas.times import parse_ms
from schemas.users import partition_of
from scorer.model import Model
from scorer.reference import Sums
from streams.settings import KafkaSettings
from streams.store import META_KEY
from streams.task_state import decode as decode_state
from tests.checks import committed_records

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

PARTS: Final = 4
"""Columns of what shows before those of the networks: score in tenths, then reach, amplification, network in points."""
FASTEST_MS: Final = 0.1 / 0.17 * 86_400_000
"""In less time no score falls by 0.1."""


class Fading(NamedTuple):
    """Users to whom nothing but time happens any more."""

    users: list[str]
    networks: list[str]
    sums: Floats
    """R, A and N at `time`, [users, networks, 3]."""
    time: Floats
    known: npt.NDArray[np.bool_]
    model: Model

    @staticmethod
    def of(expected: Mapping[tuple[str, str], Sums], networks: Sequence[str], model: Model) -> "Fading":
        """Lay out what the reference came to."""
        users = sorted({user for user, _ in expected})
        shape = len(users), len(networks)
        fading = Fading(users, list(networks), np.zeros((*shape, 3)), np.zeros(shape), np.zeros(shape, np.bool_), model)
        for number, user in enumerate(users):
            for code, network in enumerate(networks):
                if sums := expected.get((user, network)):
                    fading.sums[number, code] = sums.reach, sums.amplification, sums.network
                    fading.time[number, code] = sums.time
                    fading.known[number, code] = True
        return fading

    def some(self, index: Ints) -> "Fading":
        """Return some of the users."""
        users = [self.users[number] for number in index.tolist()]
        return self._replace(users=users, sums=self.sums[index], time=self.time[index], known=self.known[index])

    def shown(self, at_ms: Ints) -> Ints:
        """What shows of each user at a moment, [users, PARTS + networks]; 0 where the user has no such network."""
        left = np.exp2(-(at_ms[:, None] - self.time) / self.model.half_life_ms)
        parts = self.sums * left[:, :, None]
        r, a, n = np.moveaxis(parts.sum(axis=1), 1, 0)
        own = parts[:, :, 0] ** 0.25 * parts[:, :, 1] ** 0.25 * parts[:, :, 2] ** 0.5
        strengths = np.column_stack([r**0.25 * a**0.25 * n**0.5, r, a, n, own])
        points = np.minimum(100.0, 1.0 + 99.0 * np.log1p(strengths) / np.log1p(self.model.score_scale))
        tenths = np.floor(points * 10 + 0.5).astype(np.int64)
        shown: Ints = (tenths + 5) // 10
        shown[:, 0] = tenths[:, 0]
        shown[:, PARTS:][~self.known] = 0
        return shown

    def falls(self, begin_ms: int, end_ms: int) -> "Changes":
        """When and to what each user changes after one moment and up to another, if all parts go together."""
        at = np.full(len(self.users), begin_ms)
        now, last = self.shown(at), self.shown(np.full(len(self.users), end_ms))
        found = []
        while len(active := np.flatnonzero(np.any(now != last, axis=1))):
            theirs, before = self.some(active), now[active]
            low, high = at[active], np.full(len(active), end_ms)
            while np.any(high - low > 1):
                middle = (low + high) // 2
                differs = np.any(theirs.shown(middle) != before, axis=1)
                low, high = np.where(differs, low, middle), np.where(differs, middle, high)
            at[active], now[active] = high, theirs.shown(high)
            found.append((active, high, now[active]))
        columns = [np.concatenate(column) for column in zip(*found, strict=True)] if found else None
        return _in_order(*columns) if columns else Changes(np.empty(0, int), np.empty(0, int), now[:0])


class Changes(NamedTuple):
    """Changes by user, in order."""

    user: Ints
    at_ms: Ints
    shown: Ints


def _in_order(user: Ints, at_ms: Ints, shown: Ints) -> Changes:
    order = np.argsort(user, kind="stable")
    return Changes(user[order], at_ms[order], shown[order])


class _Change(msgspec.Struct):
    user: str
    sequence: int
    score: float
    previous: float | None
    subscores: dict[str, float]
    networks: dict[str, float]
    as_of: str
    cause: str


@dataclass(slots=True)
class Published:
    """What a reader of the changes sees."""

    wrong: list[str] = field(default_factory=list)
    """Chains that are broken."""
    count: int = 0
    changes: Changes | None = None
    """After the moment from which nothing but time happened, by the numbers of the users."""
    causes: set[str] = field(default_factory=set)
    """Of these."""
    early: int = 0
    """Changes that speak of a time to which no clock had come when they could be read."""
    late: int = 0
    """Changes that could not be read when their time had long come."""


def published(
    kafka: KafkaSettings, topic: str, fading: Fading, since: Mapping[int, int], ends: Mapping[int, Mapping[int, int]]
) -> Published:
    """Read all changes, and hold their chains; `since` are the offsets from which nothing but time happened.

    `ends` are the offsets, by the clocks to which they belong, that the partitions ended at.
    """
    found, number = Published(), {user: number for number, user in enumerate(fading.users)}
    decode = msgspec.json.Decoder(_Change).decode
    last: dict[str, tuple[int, float | None]] = {}
    clocks = sorted(ends)
    rows: list[tuple[int, int, list[int]]] = []
    for partition, offset, _, value in committed_records(kafka, topic):
        change = decode(value or b"")
        found.count += 1
        sequence, score = last.get(change.user, (0, None))
        if (change.sequence, change.previous) != (sequence + 1, score):
            found.wrong.append(f"{change.user}: change {change.sequence} of {change.previous} follows {sequence}")
        last[change.user] = change.sequence, change.score
        if offset < since[partition]:
            continue
        at_ms = parse_ms(change.as_of)
        readable = next((clock for clock in clocks if offset < ends[clock][partition]), clocks[-1])
        due = next((clock for clock in clocks if at_ms <= clock), clocks[-1] + 1)
        found.early += at_ms > readable
        found.late += due < readable
        found.causes.add(change.cause)
        own = [_points(change.networks.get(name, 0.0)) for name in fading.networks]
        shown = [_tenths(change.score), *map(_points, change.subscores.values()), *own]
        rows.append((number[change.user], at_ms, shown))
    width = PARTS + len(fading.networks)
    user, at, shown_rows = zip(*rows, strict=True) if rows else ((), (), ())
    found.changes = _in_order(
        np.array(user, np.int64), np.array(at, np.int64), np.array(shown_rows, np.int64).reshape(-1, width)
    )
    return found


def _tenths(score: float) -> int:
    return round(score * 10)


def _points(score: float) -> int:
    return (_tenths(score) + 5) // 10


def apart(kafka: KafkaSettings, topic: str, since_ms: int) -> set[tuple[int, int]]:
    """Partitions and times at which their clocks were committed while those of the networks were not the same.

    Then the way from one to the other shows: which part of a user goes first.
    """
    found = set()
    for partition, _, key, value in committed_records(kafka, topic):
        if key == META_KEY:
            clocks = decode_state(value or b"").clocks.values()
            if max(clocks, default=0) > since_ms and len(set(clocks)) > 1:
                found.add((partition, max(clocks)))
    return found


@dataclass(slots=True)
class Verdict:
    """How changes by decay compare with those computed."""

    exact: int = 0
    """Changes that are what they should, at the second at which they should."""
    ways: int = 0
    """Changes of users of both networks while these were apart: held between what shows before and after."""
    late_ms_max: int = 0
    wrong: list[str] = field(default_factory=list)


def judge(
    fading: Fading, changes: Changes, clocks: Sequence[int], partitions: int, ways: set[tuple[int, int]]
) -> Verdict:
    """Hold all changes against those computed, from each clock to the next."""
    verdict = Verdict()
    partition = np.array([partition_of(user.encode(), partitions) for user in fading.users])
    both = fading.known.sum(axis=1) > 1
    for begin, end in pairwise(clocks):
        there = (changes.at_ms > begin) & (changes.at_ms <= end)
        have = Changes(*(column[there] for column in changes))
        on_a_way = both & np.isin(partition, [number for number, clock in ways if clock == end])
        should = fading.falls(begin, end)
        _compare(fading, _without(have, on_a_way), _without(should, on_a_way), verdict)
        verdict.wrong += _too_fast(fading, _without(have, on_a_way), begin)
        _bound(fading, _without(have, ~on_a_way), begin, end, verdict)
    return verdict


def _without(changes: Changes, users: npt.NDArray[np.bool_]) -> Changes:
    return Changes(*(column[~users[changes.user]] for column in changes))


def _compare(fading: Fading, have: Changes, should: Changes, verdict: Verdict) -> None:
    size = len(fading.users)
    counts, expected = np.bincount(have.user, minlength=size), np.bincount(should.user, minlength=size)
    verdict.wrong += [
        f"{fading.users[user]}: {counts[user]} changes, not {expected[user]}"
        for user in np.flatnonzero(counts != expected).tolist()
    ]
    same = counts == expected
    have, should = _without(have, ~same), _without(should, ~same)
    late = have.at_ms - should.at_ms
    wrong = (np.abs(late) > 1_000) | np.any(have.shown != should.shown, axis=1)
    verdict.wrong += [
        f"{fading.users[have.user[at]]} at {have.at_ms[at]}: {have.shown[at].tolist()}, "
        f"not {should.shown[at].tolist()} at {should.at_ms[at]}"
        for at in np.flatnonzero(wrong).tolist()
    ]
    verdict.exact += int(np.count_nonzero(~wrong))
    verdict.late_ms_max = max(verdict.late_ms_max, int(np.abs(late).max(initial=0)))


def _bound(fading: Fading, have: Changes, begin: int, end: int, verdict: Verdict) -> None:
    """Hold changes between what shows before and after, whichever part went first."""
    if not len(have.user):
        return
    theirs = fading.some(have.user)
    high, low = (theirs.shown(np.full(len(have.user), at)) for at in (begin, end))
    last = np.append(have.user[1:] != have.user[:-1], np.True_)
    wrong = np.any((have.shown > high) | (have.shown < low), axis=1) | (last & np.any(have.shown != low, axis=1))
    verdict.wrong += [
        f"{theirs.users[at]} at {have.at_ms[at]}: {have.shown[at].tolist()}" for at in np.flatnonzero(wrong).tolist()
    ]
    verdict.ways += int(np.count_nonzero(~wrong))


def too_much_at_once(changes: Changes, before: Ints) -> list[str]:
    """Changes by which a score rises, or falls by more than 0.1; `before` are the users' scores in tenths."""
    follows = np.append(False, changes.user[1:] == changes.user[:-1])
    previous = np.where(follows, np.roll(changes.shown[:, 0], 1), before[changes.user])
    fall = previous - changes.shown[:, 0]
    return [f"user {changes.user[at]}: {fall[at]} tenths" for at in np.flatnonzero((fall < 0) | (fall > 1)).tolist()]


def _too_fast(fading: Fading, have: Changes, begin: int) -> list[str]:
    """Falls of a score by 0.1 that follow one another in less time than decay at its fastest takes."""
    before = fading.shown(np.full(len(fading.users), begin))[:, 0]
    follows = np.append(False, have.user[1:] == have.user[:-1])
    previous = np.where(follows, np.roll(have.shown[:, 0], 1), before[have.user])
    falls = Changes(*(column[previous > have.shown[:, 0]] for column in have))
    again = np.append(False, falls.user[1:] == falls.user[:-1])
    took = falls.at_ms - np.roll(falls.at_ms, 1)
    quick = np.flatnonzero(again & (took < FASTEST_MS)).tolist()
    return [f"{fading.users[falls.user[at]]}: falls again after {took[at]} ms" for at in quick]
