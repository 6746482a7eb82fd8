"""When decay alone will next show in what is published of a user, and what has become due.

All parts of a user fade with one half-life, so when every part is taken a time d later, each of R, A, N, S and a
network's own S is 2^(-d/h) of what it was. The published score falls when S passes the least strength that is published
as it is (`scorer.published.strengths`), a sub-score or network score when it passes the least of its integer: the first
of these is h·log2(S/that) away, and nothing shows before some part is taken so much later. That is the due time of each
part, by its own network's clock.

A user who is looked at is taken along one way, in whatever steps the clocks went: all parts at one moment, which moves
on; a part whose clock stands is left behind, and catches up first when that clock goes on. So a change is found at the
first millisecond of this way at which it shows.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from scorer.arrays import Bools, Floats, Ints, Records, column
from scorer.compiled import kernel, shared
from scorer.decay import decay
from scorer.model import Parameters
from scorer.scale import combined, lowest_of_whole

NO_CLOCK: Final = int(np.iinfo(np.int64).min)
"""The clock of a network that has not been heard of."""
NEVER: Final = int(np.iinfo(np.int64).max)
"""Due time of what has faded to the lowest score."""
_STEPS_MAX: Final = 128
"""Steps of one user in a look: Newton's, which are few, and one for each clock that is met. The next look goes on."""
_SHIFT_MS_MAX: Final = 1e14
"""Three thousand years: beyond it nothing is ever due."""
_AHEAD_MS_MAX: Final = 0xFFFFFFFF
"""What a row has room for: 49 days."""


class Moved(NamedTuple):
    """Due times that are others than before: columns."""

    user: Ints
    network: Ints
    """Its code."""
    before: Ints
    """0 where there was none."""
    after: Ints
    """0 where there is none any more."""


def clock_column(clocks_ms: Mapping[str, int], networks: Sequence[str]) -> Ints:
    """Clocks in ms, one a network in the order of their codes; `NO_CLOCK` where there is none.

    >>> clock_column({"b": 7}, ["a", "b"]).tolist() == [NO_CLOCK, 7]
    True
    """
    return np.array([clocks_ms.get(name, NO_CLOCK) for name in networks], np.int64)


def evaluation_times(entries: Records, clocks: Ints) -> Ints:
    """When each part is taken [n, k]: at the network's clock, or at the user's last event there if that is later.

    `NO_CLOCK` where the user has no events.
    """
    times: Ints = np.where(entries["events"] > 0, np.maximum(entries["time"], column(clocks, np.int64)), NO_CLOCK)
    return times


def advance(heads: Records, entries: Records, times: Ints, users: Ints, clocks: Ints, parameters: Parameters) -> None:
    """Take users whose time has come just as far as something shows, or as the clocks allow.

    Args:
        heads: HEAD[n].
        entries: ENTRY[n, k].
        times: Evaluation times [n, k]; those of `users` are changed.
        users: Indices of users to whom nothing but time happened.
        clocks: In ms, one a network.
        parameters: The model's.
    """
    _advance(
        heads,
        entries,
        times,
        column(users, np.int64),
        column(clocks, np.int64),
        np.zeros(entries.shape[1], np.bool_),
        parameters.half_life_ms,
        parameters.strengths,
    )


def reschedule(heads: Records, entries: Records, times: Ints, clocks: Ints, parameters: Parameters) -> Moved:
    """Set the due times of users who were published as of `times`; return those that moved, or have come.

    A due time that comes before the change it stands for is left where it is: looking early costs less than moving it
    with every event.
    """
    size = int(np.count_nonzero((entries["events"] > 0) | (entries["due"] > 0)))
    moved = Moved(
        np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size, np.int64)
    )
    every = np.ones(entries.shape[1], np.bool_)
    count = _reschedule(
        heads, entries, times, column(clocks, np.int64), every, parameters.half_life_ms, parameters.strengths, *moved
    )
    return Moved(*(values[:count] for values in moved))


def until_shows(head: np.void, entries: Records, times: Ints, parameters: Parameters) -> float:
    """How much later all parts of one user must be taken until decay shows in what is published, in whole ms.

    0 when it does already, infinity when it never will. `head` is one HEAD record, `entries` and `times` have one value
    a network.
    """
    moving = np.ones(len(entries), np.bool_)
    shift = _shift(head, entries, times, moving, parameters.half_life_ms, parameters.strengths)
    return float(math.ceil(max(shift, 0.0))) if shift < _SHIFT_MS_MAX else math.inf


@shared
def _until(strength: float, score_tenths: int | np.int64, half_life_ms: float, strengths: Floats) -> float:
    """How long until a strength is published as less than these tenths, in ms; at most 0 when it is already."""
    least = strengths[max(score_tenths, 0)]
    if least == 0.0:
        return _SHIFT_MS_MAX
    if strength <= 0.0:
        return 0.0
    return math.log2(strength / least) * half_life_ms


@shared
def _sooner(shift: float, until: float, pace: float) -> float:
    """The lesser of a shift and what one more quantity needs, of which only a share of `pace` fades."""
    if until <= 0.0:
        return min(shift, until)
    return min(shift, until / pace) if pace > 0.0 else shift


@shared
def _share(of: float, total: float) -> float:
    return of / total if total > 0.0 else 0.0


@shared
def _shift(
    head: np.void, entries: Records, times: Ints, moving: Bools, half_life_ms: float, strengths: Floats
) -> float:
    """How much later the parts that move can be taken, in ms, before anything shows.

    Exact when all parts move. Else what stands makes the fall slower and slower: the logarithm of each quantity is
    convex in the shift, so its tangent passes the threshold first, and steps of this size come to it from below.
    """
    r = a = n = r_moving = a_moving = n_moving = 0.0
    parts = 0
    shift = _SHIFT_MS_MAX
    for code in range(len(entries)):
        if entries[code]["events"]:
            parts += 1
    for code in range(len(entries)):
        entry = entries[code]
        if entry["events"] == 0:
            continue
        left = decay(times[code] - entry["time"], half_life_ms)
        r_own = entry["reach"] * left
        a_own = entry["amplification"] * left
        n_own = entry["network"] * left
        r += r_own
        a += a_own
        n += n_own
        if moving[code]:
            r_moving += r_own
            a_moving += a_own
            n_moving += n_own
        if parts > 1:
            own = _until(
                combined(r_own, a_own, n_own), lowest_of_whole(np.int64(entry["score_tenths"])), half_life_ms, strengths
            )
            shift = _sooner(shift, own, 1.0 if moving[code] else 0.0)
    pace_r, pace_a, pace_n = _share(r_moving, r), _share(a_moving, a), _share(n_moving, n)
    until = _until(combined(r, a, n), np.int64(head["score_tenths"]), half_life_ms, strengths)
    shift = _sooner(shift, until, 0.25 * pace_r + 0.25 * pace_a + 0.5 * pace_n)
    until = _until(r, lowest_of_whole(np.int64(head["reach_tenths"])), half_life_ms, strengths)
    shift = _sooner(shift, until, pace_r)
    until = _until(a, lowest_of_whole(np.int64(head["amplification_tenths"])), half_life_ms, strengths)
    shift = _sooner(shift, until, pace_a)
    until = _until(n, lowest_of_whole(np.int64(head["network_tenths"])), half_life_ms, strengths)
    return _sooner(shift, until, pace_n)


@shared
def _go_back_to_last_look(head: np.void, entries: Records, times: Ints, clocks: Ints) -> bool:
    """Take the parts where they were taken last, or later where it is known that nothing shows until there.

    Return whether nothing shows there either; else it may.
    """
    parts = 0
    latest_due = np.int64(0)
    for code in range(len(entries)):
        if entries[code]["events"]:
            parts += 1
            latest_due = max(latest_due, entries[code]["due"])
    # Where the part that was furthest stood: those left behind catch up with it first.
    furthest = latest_due - np.int64(head["ahead_ms"]) if parts > 1 else latest_due
    for code in range(len(entries)):
        entry = entries[code]
        if entry["events"]:
            times[code] = max(entry["time"], min(clocks[code], entry["due"], furthest))
    return parts > 1


@shared
def _choose_moving(entries: Records, times: Ints, clocks: Ints, moving: Bools) -> np.int64:
    """Choose the parts that go next: the earliest of those whose clock is ahead; how far until others go with them.

    0 when no clock is ahead.
    """
    earliest = following = np.int64(NEVER)
    for code in range(len(entries)):
        moving[code] = False
        if entries[code]["events"] and clocks[code] > times[code]:
            if times[code] < earliest:
                following = earliest
                earliest = times[code]
            elif earliest < times[code] < following:
                following = times[code]
    if earliest == NEVER:
        return np.int64(0)
    for code in range(len(entries)):
        moving[code] = bool(entries[code]["events"] and clocks[code] > times[code] and times[code] == earliest)
    return np.int64(NEVER) if following == NEVER else following - earliest


@kernel
def _advance(
    heads: Records,
    entries: Records,
    times: Ints,
    users: Ints,
    clocks: Ints,
    moving: Bools,
    half_life_ms: float,
    strengths: Floats,
) -> None:
    for user in users:
        nothing_shows = _go_back_to_last_look(heads[user], entries[user], times[user], clocks)
        for _ in range(_STEPS_MAX):
            until_others = _choose_moving(entries[user], times[user], clocks, moving)
            if until_others == 0:
                break
            shift = _shift(heads[user], entries[user], times[user], moving, half_life_ms, strengths)
            if shift <= 0.0:
                if not nothing_shows:
                    break
                # The score's own formula rounds otherwise than its inverse: whoever stands so near to the edge goes on.
                shift = 1.0
            nothing_shows = False
            step = min(np.int64(math.ceil(min(shift, _SHIFT_MS_MAX))), until_others)
            for code in range(entries.shape[1]):
                if moving[code]:
                    times[user, code] = min(clocks[code], times[user, code] + step)


@kernel
def _reschedule(
    heads: Records,
    entries: Records,
    times: Ints,
    clocks: Ints,
    every: Bools,
    half_life_ms: float,
    strengths: Floats,
    moved_user: Ints,
    moved_network: Ints,
    moved_before: Ints,
    moved_after: Ints,
) -> int:
    moved = 0
    for user in range(len(heads)):
        furthest = np.int64(NO_CLOCK)
        for code in range(entries.shape[1]):
            if entries[user, code]["events"]:
                furthest = max(furthest, times[user, code])
        step = np.int64(0)
        if furthest != NO_CLOCK:
            shift = _shift(heads[user], entries[user], times[user], every, half_life_ms, strengths)
            step = np.int64(math.ceil(min(max(shift, 1.0), _SHIFT_MS_MAX)))
        latest_due = np.int64(0)
        for code in range(entries.shape[1]):
            entry = entries[user, code]
            before = entry["due"]
            after = np.int64(0)
            if entry["events"]:
                at = times[user, code]
                after = at + step if step < _SHIFT_MS_MAX else np.int64(NEVER)
                if max(at, clocks[code]) < before <= after:
                    after = before
                latest_due = max(latest_due, after)
            # One that has come is among those looked at, whose hints go: it is written again even if it stays.
            if before != after or 0 < before <= clocks[code]:
                entry["due"] = after
                moved_user[moved] = user
                moved_network[moved] = code
                moved_before[moved] = before
                moved_after[moved] = after
                moved += 1
        if furthest != NO_CLOCK:
            heads[user]["ahead_ms"] = min(latest_due - furthest, np.int64(_AHEAD_MS_MAX))
    return moved
