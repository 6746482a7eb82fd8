"""What must hold of all users of a partition between two looks at them, whatever came in between.

Only what was taken back, or a forgotten user's new life, may lower a sum. Rows show how much was taken, but for one
case: where all events were taken back, what comes then begins anew. So a part is left out where so many events were
taken back on its network, in the whole partition, that all of its own may be among them. While nothing is taken back
nobody is left out.
"""

from collections.abc import Collection
from typing import NamedTuple

import numpy as np

from clout.audit.findings import Findings
from clout.audit.formulas import NOTHING, TOLERANCE, left_after, strength
from clout.audit.look import SUMS, Look
from clout.audit.one_look import most_granted
from scorer.arrays import Bools, Ints
from scorer.model import Model
from scorer.timers import NO_CLOCK


class _Pairs(NamedTuple):
    """Parts of the first look and the same ones in the second."""

    before: Ints
    """Indices of parts."""
    after: Ints
    anew: Bools
    """Which of them may have begun anew."""
    taken: Bools
    """Which of them anything was taken from."""


def judge_looks(first: Look, second: Look, reborn: Collection[bytes], model: Model, findings: Findings) -> None:
    """Hold two looks at a partition against the laws 2 to 5; `reborn` had no score at some time in between."""
    user = _same_users(first, second)
    for code, network in enumerate(first.head.networks):
        if second.clocks[code] < first.clocks[code]:
            findings.offend(2, f"partition {first.head.partition}", f"the clock of {network} went back")
    adjusted = _adjusted(first, second)
    lives_on = np.array([name not in reborn for name in first.users], np.bool_) & (user >= 0)
    pairs, lost = _same_parts(first, second, user, adjusted, lives_on)
    _nobody_lost(first, lost & lives_on[first.user], findings)
    _only_decay_lowers_strength(first, second, user, pairs, model, findings)
    _sums_move_by_grants(first, second, pairs, adjusted, model, findings)
    _nobody_overlooked(first, second, pairs, findings)
    _changes_counted(first, second, findings)


def _same_users(first: Look, second: Look) -> Ints:
    """Return where each user of the first look is in the second, -1 where they are not."""
    places = {user: place for place, user in enumerate(second.users)}
    return np.fromiter((places.get(user, -1) for user in first.users), np.int64, len(first.users))


def _adjusted(first: Look, second: Look) -> Ints:
    """Return how many events were taken back between the looks, by network of the first."""
    return np.array(
        [
            second.head.counters.get(name, {}).get("adjusted", 0) - first.head.counters.get(name, {}).get("adjusted", 0)
            for name in first.head.networks
        ],
        np.int64,
    )


def _same_parts(first: Look, second: Look, user: Ints, adjusted: Ints, lives_on: Bools) -> tuple[_Pairs, Bools]:
    """Return the parts in both looks, and which of the first are in the second no more though nothing was taken back.

    Parts of users who are gone or were born again are in neither.
    """
    networks = max(1, len(second.head.networks))
    known = lives_on[first.user]
    wanted = user[first.user] * networks + first.code
    keys = second.user * networks + second.code
    at = np.minimum(np.searchsorted(keys, wanted), max(0, len(keys) - 1))
    there = known & (keys[at] == wanted) if len(keys) else np.zeros(len(wanted), np.bool_)
    before, after = np.flatnonzero(there), at[there]
    old, new = first.entries[before], second.entries[after]
    anew = adjusted[first.code[before]] >= old["events"].astype(np.int64)
    taken = np.any([new[f"taken_{name}"] != old[f"taken_{name}"] for name in SUMS], axis=0)
    gone = known & ~there & (adjusted[first.code] < first.entries["events"].astype(np.int64))
    return _Pairs(before, after, anew, taken), gone


def _nobody_lost(first: Look, lost: Bools, findings: Findings) -> None:
    """Law 3: what somebody had on a network is not gone unless all of it was taken back."""
    for place in np.flatnonzero(lost).tolist():
        name, network = first.users[first.user[place]], first.head.networks[first.code[place]]
        findings.offend(3, name.decode(errors="replace"), f"all that there was on {network} is gone")


def _only_decay_lowers_strength(
    first: Look, second: Look, user: Ints, pairs: _Pairs, model: Model, findings: Findings
) -> None:
    """Law 2: S is at least what decay left of it, by the largest shift of any of the times it was taken at."""
    judged = np.zeros(len(first.users), np.bool_)
    judged[first.user[pairs.before]] = True
    judged[first.user[pairs.before[pairs.anew | pairs.taken]]] = False
    whole = np.bincount(first.user[pairs.before], minlength=len(first.users))
    # Who has lost a part altogether, with or without reason, is not judged by the rest.
    judged &= whole == np.bincount(first.user, minlength=len(first.users))
    shift = np.zeros(len(first.users), np.int64)
    moved = second.taken_at[pairs.after] - first.taken_at[pairs.before]
    np.maximum.at(shift, first.user[pairs.before], moved)
    before = strength(first.user_sums(first.part_sums(model)))
    after = np.append(strength(second.user_sums(second.part_sums(model))), np.nan)[user]
    least = before * left_after(shift, model)
    fell = judged & ~(after >= least * (1.0 - TOLERANCE) - NOTHING)
    findings.offend_all(2, fell, first.users, "the strength fell by more than decay")
    findings.count(
        2, "users not judged, of whom events were taken back or may have been", int(np.sum(first.has_parts & ~judged))
    )


def _sums_move_by_grants(
    first: Look, second: Look, pairs: _Pairs, adjusted: Ints, model: Model, findings: Findings
) -> None:
    """Laws 3 and 4: after decay no sum falls, none rises by more than was granted, and none moves without an event.

    What was taken back lowers a sum by what it was worth then, which has faded since.
    """
    judged = ~pairs.anew
    before, after = pairs.before[judged], pairs.after[judged]
    old, new = first.entries[before], second.entries[after]
    left = left_after(new["time"] - old["time"], model)
    taken_back = adjusted[first.code[before]]
    still = (taken_back == 0) & (new["events"] == old["events"])
    moved = still & (new["time"] != old["time"])
    credits_max = new["events"].astype(np.float64) - old["events"] + taken_back
    most = most_granted(model)
    fell, rose = credits_max < 0.0, np.zeros(len(before), np.bool_)
    for name in SUMS:
        floor = old[name] * left
        granted = new[f"granted_{name}"] - old[f"granted_{name}"]
        taken = new[f"taken_{name}"] - old[f"taken_{name}"]
        slack = TOLERANCE * new[f"granted_{name}"] + NOTHING
        fell |= ~(new[name] >= floor * (1.0 - TOLERANCE) - NOTHING - np.where(taken > 0.0, taken + slack, 0.0))
        rose |= ~(new[name] <= floor + granted - taken * left + slack)
        rose |= ~((granted >= 0.0) & (granted <= most[name] * credits_max + slack))
        moved |= still & ((granted != 0.0) | (new[name] != old[name]))
        moved |= np.where(taken_back > 0, taken < 0.0, taken != 0.0)
    for law, broken, what in (
        (3, fell, "a sum fell by more than decay"),
        (4, rose, "a sum rose by more than was granted"),
        (4, moved, "a sum moved, or was taken from, without an event"),
    ):
        for place in np.flatnonzero(broken).tolist():
            part = before[place]
            name_, network = first.users[first.user[part]], first.head.networks[first.code[part]]
            findings.offend(law, name_.decode(errors="replace"), f"{what}, on {network}")


def _nobody_overlooked(first: Look, second: Look, pairs: _Pairs, findings: Findings) -> None:
    """Law 5: whose time had come at the first look was looked at before the second, if nobody waits by then."""
    old, new = first.entries[pairs.before], second.entries[pairs.after]
    clock = first.clock[pairs.before]
    late = (old["due"] <= clock) & (clock != NO_CLOCK) & (new["due"] == old["due"])
    user = second.user[pairs.after]
    late &= first.heads["sequence"][first.user[pairs.before]] == second.heads["sequence"][user]
    waiting = np.bincount(user, weights=late, minlength=len(second.users)) > 0
    if second.head.due_left:
        findings.count(
            5, "users whose time had come at the first look, and who still wait at the second", int(waiting.sum())
        )
    else:
        findings.offend_all(5, waiting, second.users, "their time had come long before, and nobody looked")


def _changes_counted(first: Look, second: Look, findings: Findings) -> None:
    """Law 7: sequences rose by as many changes as the partition counted; of forgotten users no row says so."""
    if second.head.anyone_forgotten:
        return
    rose = _changes_of_people(second) - _changes_of_people(first)
    counted = second.head.changes - first.head.changes
    if rose != counted:
        where = f"partition {second.head.partition}"
        findings.offend(7, where, f"sequences rose by {rose:,}, and {counted:,} changes were counted")


def _changes_of_people(look: Look) -> int:
    return int(look.heads["sequence"][~look.is_canary].sum())
