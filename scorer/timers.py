"""When decay alone will next show in what is published of a user, and what has become due.

All parts of a user fade with one half-life, so when every part is taken a time d later, each of R, A, N, S and a
network's own S is 2^(-d/h) of what it was. The published score falls when S passes the least strength that is published
as it is (`scorer.scale.strengths`), a sub-score or network score when it passes the least of its integer: the first of
these is h·log2(S/that) away. Parts are taken at clocks of different networks: none shows before the first clock has
gone so far, which is then looked at again, with what is left to go. So each change is found at its own millisecond,
whatever steps the clocks take.
"""

import math
from typing import Final, NamedTuple

import numpy as np

from scorer.compiled import Floats, Ints, Records, column, kernel, shared
from scorer.decay import decay
from scorer.model import Parameters
from scorer.scale import combined, lowest_of_whole

NO_CLOCK: Final = int(np.iinfo(np.int64).min)
"""The clock of a network that has not been heard of."""
NEVER: Final = int(np.iinfo(np.int64).max)
"""Due time of what has faded to the lowest score."""
_STEPS_MAX: Final = 64
"""Looks at one user: each leaves at most half of the way to go, or a clock stands."""
_SHIFT_MS_MAX: Final = 1e14
"""Three thousand years: beyond it nothing is ever due."""


class Moved(NamedTuple):
    """Due times that are others than before: columns."""

    user: Ints
    network: Ints
    """Its code."""
    before: Ints
    """0 where there was none."""
    after: Ints
    """0 where there is none any more."""


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
        parameters.half_life_ms,
        parameters.strengths,
    )


def reschedule(heads: Records, entries: Records, times: Ints, parameters: Parameters) -> Moved:
    """Set the due times of users who were published as of `times`; return those that moved.

    A due time that comes before the change it stands for is left where it is: looking early costs less than moving it
    with every event.
    """
    size = int(np.count_nonzero((entries["events"] > 0) | (entries["due"] > 0)))
    moved = Moved(
        np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size, np.int64)
    )
    count = _reschedule(heads, entries, times, parameters.half_life_ms, parameters.strengths, *moved)
    return Moved(*(values[:count] for values in moved))


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
def _shift(head: np.void, entries: Records, times: Ints, half_life_ms: float, strengths: Floats) -> float:
    """How much later all parts of a user must be taken until something shows, in ms."""
    r = a = n = 0.0
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
        r += entry["reach"] * left
        a += entry["amplification"] * left
        n += entry["network"] * left
        if parts > 1:
            own = combined(entry["reach"] * left, entry["amplification"] * left, entry["network"] * left)
            shift = min(shift, _until(own, lowest_of_whole(np.int64(entry["score_tenths"])), half_life_ms, strengths))
    shift = min(shift, _until(combined(r, a, n), np.int64(head["score_tenths"]), half_life_ms, strengths))
    shift = min(shift, _until(r, lowest_of_whole(np.int64(head["reach_tenths"])), half_life_ms, strengths))
    shift = min(shift, _until(a, lowest_of_whole(np.int64(head["amplification_tenths"])), half_life_ms, strengths))
    return min(shift, _until(n, lowest_of_whole(np.int64(head["network_tenths"])), half_life_ms, strengths))


@kernel
def _advance(
    heads: Records,
    entries: Records,
    times: Ints,
    users: Ints,
    clocks: Ints,
    half_life_ms: float,
    strengths: Floats,
) -> None:
    for user in users:
        for code in range(entries.shape[1]):
            entry = entries[user, code]
            if entry["events"]:
                # Nothing shows before the first due time, and the user was not looked at later than any.
                times[user, code] = max(entry["time"], min(clocks[code], entry["due"]))
        for _ in range(_STEPS_MAX):
            shift = _shift(heads[user], entries[user], times[user], half_life_ms, strengths)
            if shift <= 0.0:
                break
            step = np.int64(math.ceil(min(shift, _SHIFT_MS_MAX)))
            moved = False
            for code in range(entries.shape[1]):
                if entries[user, code]["events"]:
                    to = min(clocks[code], times[user, code] + step)
                    if to > times[user, code]:
                        times[user, code] = to
                        moved = True
            if not moved:
                break


@kernel
def _reschedule(
    heads: Records,
    entries: Records,
    times: Ints,
    half_life_ms: float,
    strengths: Floats,
    moved_user: Ints,
    moved_network: Ints,
    moved_before: Ints,
    moved_after: Ints,
) -> int:
    moved = 0
    for user in range(len(heads)):
        known = False
        for code in range(entries.shape[1]):
            known = known or entries[user, code]["events"] > 0
        step = np.int64(0)
        if known:
            shift = _shift(heads[user], entries[user], times[user], half_life_ms, strengths)
            step = np.int64(math.ceil(min(max(shift, 1.0), _SHIFT_MS_MAX)))
        for code in range(entries.shape[1]):
            entry = entries[user, code]
            before = entry["due"]
            after = np.int64(0)
            if entry["events"]:
                at = times[user, code]
                after = at + step if step < _SHIFT_MS_MAX else np.int64(NEVER)
                if at < before <= after:
                    continue
            if before != after:
                entry["due"] = after
                moved_user[moved] = user
                moved_network[moved] = code
                moved_before[moved] = before
                moved_after[moved] = after
                moved += 1
    return moved
