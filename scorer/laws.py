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
from scorer.scale import SCORE_MAX, SCORE_MIN, combined, scaled
from scorer.targets import NO_CLOCK, Published, Scored

TOLERANCE: Final = 1e-9
NOTHING: Final = 1e-100
"""Sums faded below this are no longer exact: after a thousand half-lives they leave the range of floats."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The sums of n users at a moment, and S."""

    reach: Floats
    amplification: Floats
    network: Floats
    strength: Floats


def audit(batch: Batch, parameters: Parameters) -> list[Violation]:
    """Hold a batch against all laws; an empty list lets it pass."""
    before = evaluate(batch.entries_before, batch.clocks_before, parameters)
    after = evaluate(batch.entries_after, batch.clocks_after, parameters)
    found = {
        1: score_in_range(batch),
        2: only_decay_lowers_strength(batch, before, after, parameters),
        3: no_interaction_lowers_a_sum(batch, parameters),
        4: sums_rise_by_grants(batch, parameters),
        5: score_follows_sums(batch, before, after, parameters),
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


def evaluate(entries: Records, clocks: Ints, parameters: Parameters) -> Evaluation:
    """The sums of all users, each part at its network's clock or its last event, whichever is later."""
    users = len(entries)
    evaluation = Evaluation(
        reach=np.empty(users), amplification=np.empty(users), network=np.empty(users), strength=np.empty(users)
    )
    _evaluate(
        entries,
        column(clocks, np.int64),
        parameters.half_life_ms,
        evaluation.reach,
        evaluation.amplification,
        evaluation.network,
        evaluation.strength,
    )
    return evaluation


def taken_from(batch: Batch) -> Bools:
    """Users that something is taken back from."""
    taken = np.zeros(len(batch.heads_after), np.bool_)
    taken[batch.users[batch.takes_back]] = True
    return taken


def score_in_range(batch: Batch) -> Ints:
    """Law 1: every score is finite and within 1…100."""
    known = np.any(batch.entries_after["events"] > 0, axis=1)
    scored = batch.scored
    within = np.ones(len(known), np.bool_)
    for scores in (scored.score, scored.reach, scored.amplification, scored.network):
        within &= (scores >= SCORE_MIN) & (scores <= SCORE_MAX)
    own = (scored.networks >= SCORE_MIN) & (scored.networks <= SCORE_MAX)
    within &= np.all(own | (batch.entries_after["events"] == 0), axis=1)
    return np.flatnonzero(known & ~within)


def only_decay_lowers_strength(batch: Batch, before: Evaluation, after: Evaluation, parameters: Parameters) -> Ints:
    """Law 2: S_new ≥ S_old·2^(-Δ/h), Δ being the largest shift of any of the user's evaluation times.

    Unless something is taken back from the user.
    """
    broken = np.empty(len(batch.heads_after), np.bool_)
    _strength_lost(
        batch.entries_before,
        batch.entries_after,
        column(batch.clocks_before, np.int64),
        column(batch.clocks_after, np.int64),
        before.strength,
        after.strength,
        parameters.half_life_ms,
        broken,
    )
    return np.flatnonzero(broken & ~taken_from(batch))


def no_interaction_lowers_a_sum(batch: Batch, parameters: Parameters) -> Ints:
    """Law 3: after decay, no interaction lowers R, A or N of anyone."""
    broken = np.empty(len(batch.heads_after), np.bool_)
    _sum_lowered(batch.entries_before, batch.entries_after, parameters.half_life_ms, broken)
    return np.flatnonzero(broken & ~taken_from(batch))


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


def score_follows_sums(batch: Batch, before: Evaluation, after: Evaluation, parameters: Parameters) -> Ints:
    """Law 5: R, A, N up ⇒ S up, score not down."""
    broken = np.empty(len(batch.heads_after), np.bool_)
    _score_fell(
        before.reach,
        before.amplification,
        before.network,
        before.strength,
        after.reach,
        after.amplification,
        after.network,
        after.strength,
        batch.scored.score,
        parameters.score_scale,
        broken,
    )
    return np.flatnonzero(broken & np.any(batch.entries_after["events"] > 0, axis=1))


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


@kernel
def _evaluate(
    entries: Records,
    clocks: Ints,
    half_life_ms: float,
    reach: Floats,
    amplification: Floats,
    network: Floats,
    strength: Floats,
) -> None:
    for user in range(len(entries)):
        r = a = n = 0.0
        for code in range(entries.shape[1]):
            entry = entries[user, code]
            if entry["events"]:
                left = decay(max(clocks[code] - entry["time"], 0), half_life_ms)
                r += entry["reach"] * left
                a += entry["amplification"] * left
                n += entry["network"] * left
        reach[user] = r
        amplification[user] = a
        network[user] = n
        strength[user] = combined(r, a, n)


@kernel
def _strength_lost(
    before: Records,
    after: Records,
    clocks_before: Ints,
    clocks_after: Ints,
    strength_before: Floats,
    strength_after: Floats,
    half_life_ms: float,
    broken: Bools,
) -> None:
    for user in range(len(before)):
        shift = np.int64(0)
        for code in range(before.shape[1]):
            if before[user, code]["events"]:
                taken = max(clocks_before[code], before[user, code]["time"])
                shift = max(shift, max(clocks_after[code], after[user, code]["time"]) - taken)
        least = strength_before[user] * decay(shift, half_life_ms)
        broken[user] = not strength_after[user] >= least * (1.0 - TOLERANCE) - NOTHING


@kernel
def _sum_lowered(before: Records, after: Records, half_life_ms: float, broken: Bools) -> None:
    for user in range(len(before)):
        broken[user] = False
        for code in range(before.shape[1]):
            old = before[user, code]
            new = after[user, code]
            if old["events"]:
                left = decay(new["time"] - old["time"], half_life_ms) * (1.0 - TOLERANCE)
                kept = (
                    new["reach"] >= old["reach"] * left - NOTHING
                    and new["amplification"] >= old["amplification"] * left - NOTHING
                    and new["network"] >= old["network"] * left - NOTHING
                )
            else:
                kept = new["reach"] >= 0.0 and new["amplification"] >= 0.0 and new["network"] >= 0.0
            broken[user] = broken[user] or not kept


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
        left = decay(after[user, code]["time"] - times[row], half_life_ms)
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
            left = decay(new["time"] - old["time"], half_life_ms) if kept else 0.0
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


@kernel
def _score_fell(
    reach_before: Floats,
    amplification_before: Floats,
    network_before: Floats,
    strength_before: Floats,
    reach: Floats,
    amplification: Floats,
    network: Floats,
    strength: Floats,
    score: Floats,
    score_scale: float,
    broken: Bools,
) -> None:
    for user in range(len(score)):
        risen = (
            reach[user] >= reach_before[user]
            and amplification[user] >= amplification_before[user]
            and network[user] >= network_before[user]
        )
        kept = strength[user] >= strength_before[user] * (1.0 - TOLERANCE) - NOTHING and score[user] >= scaled(
            strength_before[user], score_scale
        ) * (1.0 - TOLERANCE)
        broken[user] = risen and not kept
