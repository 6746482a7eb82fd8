"""The laws that every batch must keep before it is published.

Computed apart from the folds, from the states before and after and the batch's rows, so that a fault there is seen
here. Tolerance is relative, 1e-9. Every law answers with the users (indices in the batch) that break it.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from scorer.actors import Grants
from scorer.compiled import Bools, Floats, Ints, Records, column, kernel, shared
from scorer.decay import decay
from scorer.model import Parameters
from scorer.scale import SCORE_MAX, SCORE_MIN, combined, lowest_of_whole
from scorer.targets import Published, Scored
from scorer.timers import NO_CLOCK

TOLERANCE: Final = 1e-9
NOTHING: Final = 1e-100
"""Sums faded below this are no longer exact: after a thousand half-lives they leave the range of floats."""
ROUNDING: Final = 1e-6
"""In tenths: a score that lies between two may be rounded either way."""
ALMOST_NOTHING: Final = 1e-12
"""Where a score begins to differ from 1 its strength has no more exact digits than these."""

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
    broken = _of_users(batch, parameters)
    found = {
        1: np.flatnonzero(broken[0]),
        2: np.flatnonzero(broken[1]),
        3: np.flatnonzero(broken[2]),
        4: sums_rise_by_grants(batch, parameters),
        5: np.flatnonzero(broken[3]),
        6: sequence_and_previous_chain(batch),
        8: emitted_only_with_state(batch),
    }
    violations = [
        Violation(law=law, name=LAWS[law], users=users, detail=f"{len(users)} of {len(batch.heads_after)} users")
        for law, users in found.items()
        if len(users)
    ]
    lost = rows_conserved(batch)
    if lost:
        violations.append(Violation(law=7, name=LAWS[7], users=np.empty(0, np.int64), detail=lost))
    return violations


def _of_users(batch: Batch, parameters: Parameters) -> Bools:
    """Which users break the laws that look at one user at a time, [4, n] for laws 1, 2, 3 and 5.

    1. Every score is finite and within 1…100.
    2. S_new ≥ S_old·2^(-Δ/h), Δ being the largest shift of any of the user's evaluation times, unless something is
       taken back from the user; and no part is taken later than its clock or its last event.
    3. After decay, no interaction lowers R, A or N of anyone.
    5. R, A, N up ⇒ S up. What is published is what the sums say at the times that they were taken, so no score falls
       when none of them does: the score in tenths, sub-scores and network scores as integers.
    """
    taken = np.zeros(len(batch.heads_after), np.bool_)
    taken[batch.users[batch.takes_back]] = True
    broken = np.zeros((4, len(batch.heads_after)), np.bool_)
    scored = batch.scored
    _judge(
        batch.entries_before,
        batch.heads_after,
        batch.entries_after,
        column(batch.clocks_before, np.int64),
        column(batch.clocks_after, np.int64),
        scored.times,
        scored.score,
        scored.reach,
        scored.amplification,
        scored.network,
        scored.networks,
        taken,
        parameters.half_life_ms,
        parameters.strengths,
        broken,
    )
    return broken


def sums_rise_by_grants(batch: Batch, parameters: Parameters) -> Ints:
    """Law 4: after decay, R, A, N rise by exactly what the batch's rows grant, and refer to the latest event.

    What a row takes back lowers them as exactly: to 1e-9 of all that is added up, and never below zero. Nothing is left
    where as many events were taken back as there were.
    """
    shape = batch.entries_after.shape
    expected = np.zeros((*shape, 3))
    taken = np.zeros((*shape, 3))
    events = batch.entries_before["events"].astype(np.int64)
    times = np.where(batch.entries_before["events"] > 0, batch.entries_before["time"], NO_CLOCK)
    broken = np.zeros(len(batch.heads_after), np.bool_)
    _grants_missed(
        batch.entries_before,
        batch.entries_after,
        column(batch.users, np.int64),
        column(batch.networks, np.int64),
        column(batch.times, np.int64),
        column(batch.grants.reach, np.float64),
        column(batch.grants.amplification, np.float64),
        column(batch.grants.network, np.float64),
        column(batch.takes_back, np.bool_),
        parameters.half_life_ms,
        expected,
        taken,
        events,
        np.zeros(shape, np.bool_),
        times,
        broken,
    )
    return np.flatnonzero(broken)


def sequence_and_previous_chain(batch: Batch) -> Ints:
    """Law 6: a change has the next sequence and the score before; who has no change keeps both."""
    published = batch.published
    before, after = batch.heads_before, batch.heads_after
    step = np.bincount(published.index, minlength=len(after)).astype(np.uint64)
    broken = (step > 1) | (after["sequence"] != before["sequence"] + step)
    broken |= (step == 0) & (after["score_tenths"] != before["score_tenths"])
    index = published.index
    chained = (
        (published.sequence == after["sequence"][index])
        & (published.previous_tenths == before["score_tenths"][index])
        & ((published.previous_tenths == 0) | (published.sequence > 1))
        & (np.rint(np.nan_to_num(published.score) * 10.0) == after["score_tenths"][index])
        & (np.isnan(published.score) == (after["score_tenths"][index] == 0))
        & (published.as_of >= np.where(before["sequence"] > 0, before["as_of"], NO_CLOCK)[index])
    )
    broken[index[~chained]] = True
    return np.flatnonzero(broken)


def rows_conserved(batch: Batch) -> str:
    """Law 7: rows in = rows applied + duplicates + skipped; what is wrong, or nothing."""
    taken = int(np.count_nonzero(batch.takes_back))
    applied = int(batch.entries_after["events"].sum()) - int(batch.entries_before["events"].sum()) + 2 * taken
    if applied == len(batch.users) and batch.rows_in == applied + batch.duplicates + batch.skipped:
        return ""
    return (
        f"{batch.rows_in} rows in, {len(batch.users)} to apply, {applied} applied to states, "
        f"{batch.duplicates} duplicates, {batch.skipped} skipped"
    )


def emitted_only_with_state(batch: Batch) -> Ints:
    """Law 8: nothing but the loss of a score is emitted for a user without state."""
    index = batch.published.index
    without = ~np.any(batch.entries_after["events"][index] > 0, axis=1)
    return np.unique(index[without & ~np.isnan(batch.published.score)])


@shared
def _left(elapsed_ms: np.int64, half_life_ms: float) -> float:
    return decay(elapsed_ms, half_life_ms) if elapsed_ms else 1.0


@shared
def _in_range(score: float) -> bool:
    return bool(SCORE_MIN <= score <= SCORE_MAX)


@shared
def _published_as(
    strength: float, lowest_tenths: int | np.int64, highest_tenths: int | np.int64, strengths: Floats
) -> bool:
    """Whether a strength is published as something between these tenths."""
    if not 0 <= lowest_tenths <= highest_tenths < len(strengths) - 1:
        return False
    least = strengths[lowest_tenths] * (1.0 - TOLERANCE) - NOTHING
    return bool(least <= strength <= strengths[highest_tenths + 1] * (1.0 + TOLERANCE) + ALMOST_NOTHING)


@shared
def _shown(strength: float, score_tenths: int | np.int64, strengths: Floats) -> bool:
    """Whether a strength is what a published score stands for, which is only renewed when its integer changes."""
    least = lowest_of_whole(score_tenths)
    return _published_as(strength, max(least, 0), min(least + 9, len(strengths) - 2), strengths)


@kernel
def _judge(
    entries_before: Records,
    heads_after: Records,
    entries_after: Records,
    clocks_before: Ints,
    clocks_after: Ints,
    times: Ints,
    score: Floats,
    reach: Floats,
    amplification: Floats,
    network: Floats,
    networks: Floats,
    taken: Bools,
    half_life_ms: float,
    strengths: Floats,
    broken: Bools,
) -> None:
    for user in range(len(heads_after)):
        known = False
        in_range = within_clocks = kept = shown = True
        shift = np.int64(0)
        r_before = a_before = n_before = r_after = a_after = n_after = r = a = n = 0.0
        for code in range(entries_after.shape[1]):
            old = entries_before[user, code]
            new = entries_after[user, code]
            if old["events"] == 0 and new["events"] == 0:
                continue
            was = max(clocks_before[code], old["time"])
            if old["events"]:
                left = _left(was - old["time"], half_life_ms)
                r_before += old["reach"] * left
                a_before += old["amplification"] * left
                n_before += old["network"] * left
                shift = max(shift, max(clocks_after[code], new["time"]) - was)
                left = _left(new["time"] - old["time"], half_life_ms) * (1.0 - TOLERANCE)
                kept = (
                    kept
                    and new["reach"] >= old["reach"] * left - NOTHING
                    and new["amplification"] >= old["amplification"] * left - NOTHING
                    and new["network"] >= old["network"] * left - NOTHING
                )
            else:
                kept = kept and new["reach"] >= 0.0 and new["amplification"] >= 0.0 and new["network"] >= 0.0
            if new["events"] == 0:
                continue
            known = True
            now = max(clocks_after[code], new["time"])
            at = times[user, code]
            within_clocks = within_clocks and new["time"] <= at <= now
            left = _left(now - new["time"], half_life_ms)
            r_after += new["reach"] * left
            a_after += new["amplification"] * left
            n_after += new["network"] * left
            if at != now:
                left = _left(at - new["time"], half_life_ms)
            r_own = new["reach"] * left
            a_own = new["amplification"] * left
            n_own = new["network"] * left
            r += r_own
            a += a_own
            n += n_own
            in_range = in_range and _in_range(networks[user, code])
            shown = shown and _shown(combined(r_own, a_own, n_own), np.int64(new["score_tenths"]), strengths)
        least = combined(r_before, a_before, n_before) * _left(shift, half_life_ms)
        after = combined(r_after, a_after, n_after)
        broken[1, user] = not within_clocks or not (taken[user] or after >= least * (1.0 - TOLERANCE) - NOTHING)
        broken[2, user] = not (kept or taken[user])
        if not known:
            continue
        broken[0, user] = not (
            in_range
            and _in_range(score[user])
            and _in_range(reach[user])
            and _in_range(amplification[user])
            and _in_range(network[user])
        )
        head = heads_after[user]
        score_tenths = np.int64(head["score_tenths"])
        broken[3, user] = not (
            shown
            and abs(score[user] * 10.0 - score_tenths) <= 0.5 + ROUNDING
            and _published_as(combined(r, a, n), score_tenths, score_tenths, strengths)
            and _shown(r, np.int64(head["reach_tenths"]), strengths)
            and _shown(a, np.int64(head["amplification_tenths"]), strengths)
            and _shown(n, np.int64(head["network_tenths"]), strengths)
        )


@shared
def _adds_up(found: float, granted: float, taken: float) -> bool:
    return bool(abs(found - max(0.0, granted - taken)) <= TOLERANCE * abs(granted) + NOTHING)


@kernel
def _grants_missed(
    before: Records,
    after: Records,
    users: Ints,
    networks: Ints,
    times: Ints,
    reach: Floats,
    amplification: Floats,
    network: Floats,
    takes_back: Bools,
    half_life_ms: float,
    expected: Floats,
    taken: Floats,
    events: Ints,
    gone: Bools,
    latest: Ints,
    broken: Bools,
) -> None:
    for row in range(len(users)):
        user = users[row]
        code = networks[row]
        left = _left(after[user, code]["time"] - times[row], half_life_ms)
        if takes_back[row]:
            events[user, code] -= 1
            taken[user, code, 0] += reach[row] * left
            taken[user, code, 1] += amplification[row] * left
            taken[user, code, 2] += network[row] * left
            if events[user, code] == 0:
                gone[user, code] = True
                expected[user, code] = 0.0
                taken[user, code] = 0.0
            continue
        if events[user, code] == 0:
            latest[user, code] = times[row]
        events[user, code] += 1
        expected[user, code, 0] += reach[row] * left
        expected[user, code, 1] += amplification[row] * left
        expected[user, code, 2] += network[row] * left
        latest[user, code] = max(latest[user, code], times[row])
    for user in range(len(before)):
        for code in range(before.shape[1]):
            old = before[user, code]
            new = after[user, code]
            kept = old["events"] > 0 and not gone[user, code]
            left = _left(new["time"] - old["time"], half_life_ms) if kept else 0.0
            exact = (
                new["time"] == latest[user, code]
                and _adds_up(new["reach"], old["reach"] * left + expected[user, code, 0], taken[user, code, 0])
                and _adds_up(
                    new["amplification"], old["amplification"] * left + expected[user, code, 1], taken[user, code, 1]
                )
                and _adds_up(new["network"], old["network"] * left + expected[user, code, 2], taken[user, code, 2])
            )
            nobody = latest[user, code] == NO_CLOCK and new["events"] == 0
            broken[user] = broken[user] or not (nobody or exact)
