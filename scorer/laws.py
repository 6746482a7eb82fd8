"""The laws that every batch must keep before it is published.

Computed apart from the folds, from the states before and after and the batch's rows, so that a fault there is seen
here: decay, strength and the bounds of published scores are worked out again, by other formulas, and nothing that the
folds call is called. Tolerance is relative, 1e-9. Every law answers with the users (indices in the batch) that break
it. One pass over the users looks at each state once: reading them costs more than the arithmetic.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from scorer.actors import Grants
from scorer.arrays import Bools, Floats, Ints, Records, column
from scorer.compiled import kernel, shared
from scorer.model import Parameters
from scorer.published import SCORE_MAX, SCORE_MIN
from scorer.targets import Published, Scored

TOLERANCE: Final = 1e-9
NOTHING: Final = 1e-100
"""Sums faded below this are no longer exact: after a thousand half-lives they leave the range of floats."""
ROUNDING: Final = 1e-6
"""In tenths: a score that lies between two may be rounded either way."""
ALMOST_NOTHING: Final = 1e-12
"""Where a score begins to differ from 1 its strength has no more exact digits than these."""
TENTHS_MAX: Final = 1000
_BROUGHT: Final = np.dtype(
    [
        ("named", "?"),
        ("gone", "?"),
        ("events", "<i8"),
        ("latest", "<i8"),
        ("reach", "<f8"),
        ("amplification", "<f8"),
        ("network", "<f8"),
        ("taken_reach", "<f8"),
        ("taken_amplification", "<f8"),
        ("taken_network", "<f8"),
    ],
    align=True,
)
"""What the rows of a batch bring to a user's part: whether they name it, and as many events are taken back as there
were; events and the latest one after them; what they grant and take back, as it is worth then."""
LN_2: Final = math.log(2.0)

Marks = npt.NDArray[np.uint16]
"""The laws that each user breaks: bit n for law n."""
Places = npt.NDArray[np.int32]
"""Numbers of rows, -1 for none, and counts."""

LAWS: Final = {
    1: "score_in_range",
    2: "only_decay_lowers_strength",
    3: "no_interaction_lowers_a_sum",
    4: "sums_rise_by_grants",
    5: "score_follows_sums",
    6: "sequence_and_previous_chain",
    7: "rows_conserved",
    8: "emitted_only_with_state",
}
"""Name of each law, as metrics and incidents give it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What a task proposes to commit: n users, k networks, m rows."""

    heads_before: Records
    entries_before: Records
    """What of the entries `scorer.target_state.FOUND` keeps; the entries themselves will do."""
    clocks_before: Ints
    heads_after: Records
    entries_after: Records
    clocks_after: Ints
    users: Ints
    """Of each row applied, the index of the user credited, or whose credit is taken back."""
    networks: Ints
    times: Ints
    grants: Grants
    takes_back: Bools
    """Which rows take their grant back."""
    scored: Scored
    published: Published
    rows_in: int
    """Rows that came in; each was applied, or is one of the next two."""
    duplicates: int
    skipped: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A broken law."""

    law: int
    name: str
    users: Ints
    """Indices of the users concerned; empty where the batch as a whole is."""
    detail: str


def audit(batch: Batch, parameters: Parameters) -> list[Violation]:
    """Hold a batch against all laws; an empty list lets it pass."""
    broken = np.zeros(len(batch.heads_after), np.uint16)
    events = _of_users(batch, parameters, broken)
    violations = [
        Violation(law=law, name=LAWS[law], users=users, detail=f"{len(users)} of {len(batch.heads_after)} users")
        for law in (LAWS if broken.any() else ())
        if len(users := np.flatnonzero(broken & 1 << law))
    ]
    if np.any(batch.clocks_after < batch.clocks_before):
        nobody = np.empty(0, np.int64)
        violations.append(Violation(law=2, name=LAWS[2], users=nobody, detail="the clock of a network went back"))
    lost = rows_conserved(batch, events)
    if lost:
        violations.append(Violation(law=7, name=LAWS[7], users=np.empty(0, np.int64), detail=lost))
    return violations


def _of_users(batch: Batch, parameters: Parameters, broken: Marks) -> int:
    """Mark which users break which law; return by how many events all states differ.

    1. Every score is finite and within 1…100.
    2. S_new ≥ S_old·2^(-Δ/h), each part by its own shift Δ of the evaluation time, unless something is taken back from
       the user. No part is taken later than its clock or its last event, and those of a user whom a row names exactly
       then.
    3. After decay, no interaction lowers R, A or N of anyone.
    4. After decay, R, A, N rise by exactly what the batch's rows grant, and refer to the latest event. What a row takes
       back lowers them as exactly: to 1e-9 of all that is added up, and never below zero. Nothing is left where as many
       events were taken back as there were.
    5. R, A, N up ⇒ S up. What is published is what the sums say at the times that they were taken, so no score falls
       when none of them does: the score in tenths, sub-scores and network scores as integers.
    6. A change has the next sequence and the score before; who has no change keeps both.
    8. Nothing but the loss of a score is emitted for a user without state.
    """
    scored, published, users = batch.scored, batch.published, len(batch.heads_after)
    changes, emits = np.zeros(users, np.int32), np.zeros(users, np.bool_)
    _follow(
        batch.heads_before,
        batch.heads_after,
        column(published.index, np.int64),
        column(published.sequence, np.uint64),
        column(published.previous_tenths, np.uint16),
        column(published.score, np.float64),
        column(published.as_of, np.int64),
        changes,
        emits,
        broken,
    )
    return int(
        _judge(
            batch.heads_before,
            batch.entries_before,
            batch.heads_after,
            batch.entries_after,
            column(batch.clocks_after, np.int64),
            column(batch.users, np.int64),
            column(batch.networks, np.int64),
            column(batch.times, np.int64),
            column(batch.grants.reach, np.float64),
            column(batch.grants.amplification, np.float64),
            column(batch.grants.network, np.float64),
            column(batch.takes_back, np.bool_),
            scored.times,
            scored.score,
            scored.reach,
            scored.amplification,
            scored.network,
            scored.networks,
            parameters.half_life_ms,
            bounds(parameters.score_scale),
            np.zeros(batch.entries_after.shape[1], _BROUGHT),
            np.full(users, -1, np.int32),
            np.empty(len(batch.users), np.int32),
            changes,
            emits,
            broken,
        )
    )


def rows_conserved(batch: Batch, events: int) -> str:
    """Law 7: rows in = rows applied + duplicates + skipped; what is wrong, or nothing.

    `events` is how many more there are in all states than before.
    """
    applied = events + 2 * int(np.count_nonzero(batch.takes_back))
    if applied == len(batch.users) and batch.rows_in == applied + batch.duplicates + batch.skipped:
        return ""
    return (
        f"{batch.rows_in} rows in, {len(batch.users)} to apply, {applied} applied to states, "
        f"{batch.duplicates} duplicates, {batch.skipped} skipped"
    )


@lru_cache(maxsize=8)
def bounds(score_scale: float) -> Floats:
    """By published tenths: the least and the greatest strength, and the fourth powers of both, [4, 1001].

    From S = (1+C)^((score-1)/99) - 1, with room for rounding.

    >>> least, greatest, _, _ = bounds(1e6)
    >>> bool(least[505] < 1000.0 < greatest[505]), float(least[10]), float(greatest[1000])
    (True, 0.0, inf)
    """
    edge = np.arange(TENTHS_MAX + 2) / 10.0 - 0.05
    strength = np.power(1.0 + score_scale, (edge - SCORE_MIN) / (SCORE_MAX - SCORE_MIN)) - 1.0
    strength[edge < SCORE_MIN] = 0.0
    strength[edge > SCORE_MAX] = np.inf
    least = np.maximum(strength[:-1] * (1.0 - TOLERANCE) - NOTHING, 0.0)
    greatest = strength[1:] * (1.0 + TOLERANCE) + ALMOST_NOTHING
    return np.array([least, greatest, least**4, greatest**4])


@shared
def _left(elapsed_ms: np.int64, rate: float) -> float:
    """What is left of 1 after a time, by the natural exponential function; the rate is ln 2 / half-life, a ms."""
    return math.exp(-elapsed_ms * rate) if elapsed_ms else 1.0


@shared
def _fourth(reach: float, amplification: float, network: float) -> float:
    """S^4, which takes no roots: R·A·N²."""
    return reach * amplification * (network * network)


@shared
def _in_range(score: float) -> bool:
    return bool(SCORE_MIN <= score <= SCORE_MAX)


@shared
def _between(value: float, least: Floats, greatest: Floats, score_tenths: np.int64) -> bool:
    """Whether a strength is published as these tenths."""
    return bool(0 <= score_tenths <= TENTHS_MAX and least[score_tenths] <= value <= greatest[score_tenths])


@shared
def _shown(value: float, least: Floats, greatest: Floats, score_tenths: np.int64) -> bool:
    """Whether a strength is what a published score stands for, which is only renewed when its integer changes."""
    if not 0 <= score_tenths <= TENTHS_MAX:
        return False
    lowest = (score_tenths + 5) // 10 * 10 - 5
    highest = lowest + 9
    return bool(least[max(lowest, np.int64(0))] <= value <= greatest[min(highest, np.int64(TENTHS_MAX))])


@shared
def _adds_up(found: float, granted: float, taken: float) -> bool:
    return bool(abs(found - max(0.0, granted - taken)) <= TOLERANCE * abs(granted) + NOTHING)


@shared
def _kept(old: np.void, new: np.void, left: float) -> bool:
    """Whether no sum is lower than what is left of it."""
    least = left * (1.0 - TOLERANCE)
    return bool(
        new["reach"] >= old["reach"] * least - NOTHING
        and new["amplification"] >= old["amplification"] * least - NOTHING
        and new["network"] >= old["network"] * least - NOTHING
    )


@shared
def _by_user(users: Ints, first: Places, following: Places) -> None:
    """Chain the rows of each user: in `first`, [n] of -1, is a user's first row, `following` has the one after each."""
    for row in range(len(users) - 1, -1, -1):
        following[row] = first[users[row]]
        first[users[row]] = row


@shared
def _is_only(row: np.int64, following: Places, takes_back: Bools) -> bool:
    """Whether a row is its user's only one, and grants."""
    return bool(row >= 0 and following[row] < 0 and not takes_back[row])


@shared
def _bring(
    brought: np.void,
    known: np.void,
    time: np.int64,
    takes_back: np.bool_,
    grant: tuple[float, float, float],
    left: float,
) -> None:
    """Add what a row brings to a part of its user; `known` is the part before the batch."""
    if not brought["named"]:
        brought["named"] = True
        brought["gone"] = False
        brought["events"] = np.int64(known["events"])
        brought["latest"] = known["time"]
        _nothing_yet(brought)
    if takes_back:
        brought["events"] -= 1
        brought["taken_reach"] += grant[0] * left
        brought["taken_amplification"] += grant[1] * left
        brought["taken_network"] += grant[2] * left
        if brought["events"] == 0:
            brought["gone"] = True
            _nothing_yet(brought)
        return
    brought["latest"] = max(brought["latest"], time) if brought["events"] else time
    brought["events"] += 1
    brought["reach"] += grant[0] * left
    brought["amplification"] += grant[1] * left
    brought["network"] += grant[2] * left


@shared
def _bring_all(
    brought: Records,
    before: Records,
    after: Records,
    row: np.int64,
    following: Places,
    networks_of: Ints,
    times_of: Ints,
    grants_of: tuple[Floats, Floats, Floats],
    takes_back: Bools,
    rate: float,
) -> bool:
    """Add what a row and those after it bring to the parts of their user; return whether any takes back."""
    loses = False
    while row >= 0:
        code = networks_of[row]
        left = _left(after[code]["time"] - times_of[row], rate)
        grant = (grants_of[0][row], grants_of[1][row], grants_of[2][row])
        _bring(brought[code], before[code], times_of[row], takes_back[row], grant, left)
        loses = loses or bool(takes_back[row])
        row = np.int64(following[row])
    return loses


@shared
def _nothing_yet(brought: np.void) -> None:
    brought["reach"] = brought["amplification"] = brought["network"] = 0.0
    brought["taken_reach"] = brought["taken_amplification"] = brought["taken_network"] = 0.0


@shared
def _exact(old: np.void, new: np.void, brought: np.void, left: float) -> bool:
    """Whether a part is what is left of it and what rows brought."""
    if not brought["named"]:
        return bool(
            new["time"] == old["time"]
            and new["events"] == old["events"]
            and _adds_up(new["reach"], old["reach"], 0.0)
            and _adds_up(new["amplification"], old["amplification"], 0.0)
            and _adds_up(new["network"], old["network"], 0.0)
        )
    if brought["gone"]:
        left = 0.0
    return bool(
        new["time"] == brought["latest"]
        and np.int64(new["events"]) == brought["events"]
        and _adds_up(new["reach"], old["reach"] * left + brought["reach"], brought["taken_reach"])
        and _adds_up(
            new["amplification"],
            old["amplification"] * left + brought["amplification"],
            brought["taken_amplification"],
        )
        and _adds_up(new["network"], old["network"] * left + brought["network"], brought["taken_network"])
    )


@shared
def _exact_by_one(
    old: np.void,
    new: np.void,
    time: np.int64,
    grants_of: tuple[Floats, Floats, Floats],
    row: np.int64,
    left: float,
    rate: float,
) -> bool:
    """Whether a part is what is left of it and what one row brought; as `_bring` and `_exact`, with nothing stored."""
    latest = max(np.int64(old["time"]), time) if old["events"] else time
    own = _left(latest - time, rate)
    return bool(
        new["time"] == latest
        and np.int64(new["events"]) == np.int64(old["events"]) + 1
        and _adds_up(new["reach"], old["reach"] * left + grants_of[0][row] * own, 0.0)
        and _adds_up(new["amplification"], old["amplification"] * left + grants_of[1][row] * own, 0.0)
        and _adds_up(new["network"], old["network"] * left + grants_of[2][row] * own, 0.0)
    )


@shared
def _published_rightly(head: np.void, score: float, r: float, a: float, n: float, bounds: Floats) -> bool:
    """Whether what is published of a user is what the sums say."""
    score_tenths = np.int64(head["score_tenths"])
    return bool(
        abs(score * 10.0 - score_tenths) <= 0.5 + ROUNDING
        and _between(_fourth(r, a, n), bounds[2], bounds[3], score_tenths)
        and _shown(r, bounds[0], bounds[1], np.int64(head["reach_tenths"]))
        and _shown(a, bounds[0], bounds[1], np.int64(head["amplification_tenths"]))
        and _shown(n, bounds[0], bounds[1], np.int64(head["network_tenths"]))
    )


@shared
def _mark(law: int, holds: bool) -> np.uint16:  # noqa: FBT001  as kernels call it
    """The bit of a law that is broken."""
    return np.uint16(0) if holds else np.uint16(1 << law)


@shared
def _counted(old: np.void, new: np.void, changes: np.int64) -> bool:
    """Whether a user's sequence went on by the changes, and nothing else was published where there is none."""
    silent = changes == 0 and new["score_tenths"] != old["score_tenths"]
    return bool(not silent and np.int64(new["sequence"]) - np.int64(old["sequence"]) == changes)


@kernel
def _judge(
    heads_before: Records,
    before: Records,
    heads: Records,
    after: Records,
    clocks: Ints,
    users: Ints,
    networks_of: Ints,
    times_of: Ints,
    reach_of: Floats,
    amplification_of: Floats,
    network_of: Floats,
    takes_back: Bools,
    times: Ints,
    score: Floats,
    reach: Floats,
    amplification: Floats,
    network: Floats,
    networks: Floats,
    half_life_ms: float,
    bounds: Floats,
    brought: Records,
    first: Places,
    following: Places,
    changes: Places,
    emits: Bools,
    broken: Marks,
) -> np.int64:
    _by_user(users, first, following)
    grants_of = reach_of, amplification_of, network_of
    rate, difference = LN_2 / half_life_ms, np.int64(0)
    for user in range(len(heads)):
        row, loses = np.int64(first[user]), False
        credited = row >= 0
        # Most users of a batch are named by one row, which is held against its part as it is.
        only = row if _is_only(row, following, takes_back) else np.int64(-1)
        code_only = networks_of[only] if only >= 0 else np.int64(-1)
        if credited and only < 0:
            loses = _bring_all(
                brought, before[user], after[user], row, following, networks_of, times_of, grants_of, takes_back, rate
            )
        known, in_range, on_time, kept, exact, shown = False, True, True, True, True, True
        r_before = a_before = n_before = r_after = a_after = n_after = r = a = n = 0.0
        for code in range(after.shape[1]):
            old = before[user, code]
            new = after[user, code]
            if old["events"] == 0 and new["events"] == 0 and code != code_only and not brought[code]["named"]:
                continue
            difference += np.int64(new["events"]) - np.int64(old["events"])
            left = _left(new["time"] - old["time"], rate) if old["events"] else 0.0
            kept = kept and _kept(old, new, left)
            if code == code_only:
                exact = exact and _exact_by_one(old, new, times_of[only], grants_of, only, left, rate)
            else:
                exact = exact and _exact(old, new, brought[code], left)
                brought[code]["named"] = False
            now = max(clocks[code], new["time"])
            left_now = _left(now - new["time"], rate)
            old_now = left * left_now
            r_before, a_before = r_before + old["reach"] * old_now, a_before + old["amplification"] * old_now
            n_before += old["network"] * old_now
            if new["events"] == 0:
                continue
            known = True
            r_after, a_after = r_after + new["reach"] * left_now, a_after + new["amplification"] * left_now
            n_after += new["network"] * left_now
            at_ms = times[user, code]
            on_time = on_time and new["time"] <= at_ms <= now and (at_ms == now or not credited)
            left_now = left_now if at_ms == now else _left(at_ms - new["time"], rate)
            r_own, a_own, n_own = new["reach"] * left_now, new["amplification"] * left_now, new["network"] * left_now
            r, a, n = r + r_own, a + a_own, n + n_own
            in_range = in_range and _in_range(networks[user, code])
            shown = shown and _shown(_fourth(r_own, a_own, n_own), bounds[2], bounds[3], np.int64(new["score_tenths"]))
        least = _fourth(r_before, a_before, n_before) * (1.0 - 4.0 * TOLERANCE) - NOTHING
        marks = _mark(2, on_time and (loses or _fourth(r_after, a_after, n_after) >= least))
        marks |= (
            _mark(3, kept or loses)
            | _mark(4, exact)
            | _mark(6, _counted(heads_before[user], heads[user], np.int64(changes[user])))
        )
        if known:
            in_range = in_range and _in_range(score[user]) and _in_range(reach[user])
            marks |= _mark(1, in_range and _in_range(amplification[user]) and _in_range(network[user]))
            marks |= _mark(5, shown and _published_rightly(heads[user], score[user], r, a, n, bounds))
        else:
            marks |= _mark(8, not emits[user])
        broken[user] |= marks
    return difference


@kernel
def _follow(
    before: Records,
    after: Records,
    index: Ints,
    sequence: npt.NDArray[np.uint64],
    previous: npt.NDArray[np.uint16],
    score: Floats,
    as_of: Ints,
    changes: Places,
    emits: Bools,
    broken: Marks,
) -> None:
    """Count the changes of each user, mark who has one with a score, and whose do not follow what was before."""
    for at in range(len(index)):
        user = index[at]
        changes[user] += 1
        old, new = before[user], after[user]
        lost = np.isnan(score[at])
        emitted = 0 if lost else round(score[at] * 10.0)
        emits[user] |= not lost
        if not (
            changes[user] == 1
            and sequence[at] == new["sequence"]
            and previous[at] == old["score_tenths"]
            and (previous[at] == 0 or sequence[at] > 1)
            and emitted == new["score_tenths"]
            and (old["sequence"] == 0 or as_of[at] >= old["as_of"])
        ):
            broken[user] |= _mark(6, False)
