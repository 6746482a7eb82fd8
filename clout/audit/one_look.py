"""What must hold of all users of a partition at one moment, whatever went before."""

from collections.abc import Sequence

import numpy as np

from clout.audit.findings import Findings
from clout.audit.formulas import (
    HIGHEST_TENTHS,
    LOWEST_TENTHS,
    NOTHING,
    TOLERANCE,
    differs,
    differs_whole,
    score_of,
    strength,
)
from clout.audit.look import SUMS, Look
from schemas.kinds import KINDS
from schemas.population import BINS, STEPS_POINTS
from scorer.arrays import Bools, Floats, Ints
from scorer.model import Model

SUBSCORES = SUMS


def judge_look(look: Look, model: Model, findings: Findings) -> None:
    """Hold a look against the laws 1, 4, 5, 7 and 8."""
    part_sums = look.part_sums(model)
    user_sums = look.user_sums(part_sums)
    scores = np.column_stack([score_of(strength(user_sums), model), score_of(user_sums, model)])
    own = score_of(strength(part_sums), model)
    _scores_in_range(look, scores, own, findings)
    _sums_within_grants(look, model, findings)
    _scores_follow_sums(look, scores, own, findings)
    _events_counted(look, findings)
    _users_counted(look, findings)
    _rows_complete(look, findings)


def _in_range(scores: Floats) -> Bools:
    inside: Bools = (scores >= 1.0) & (scores <= 100.0)
    return inside


def _scores_in_range(look: Look, scores: Floats, own: Floats, findings: Findings) -> None:
    """Law 1: what the sums give, and what was published, is within 1…100."""
    wrong = look.has_parts & ~np.all(_in_range(scores), axis=1)
    findings.offend_all(1, wrong, look.users, "the sums give no score within 1…100")
    wrong = _of_users(look, ~_in_range(own))
    findings.offend_all(1, wrong, look.users, "the sums on a network give no score within 1…100")
    published = look.published
    within = (published >= LOWEST_TENTHS) & (published <= HIGHEST_TENTHS)
    wrong = np.any((published != 0) & ~within, axis=1)
    tenths = look.entries["score_tenths"]
    wrong |= _of_users(look, (tenths < LOWEST_TENTHS) | (tenths > HIGHEST_TENTHS))
    findings.offend_all(1, wrong, look.users, "what was last published is not within 1…100")


def _sums_within_grants(look: Look, model: Model, findings: Findings) -> None:
    """Law 4: sums are part of what was granted and not taken back, and grants are what so many events can grant.

    An event grants at most 1 of reach, at most its kind's weight of amplification, and of network what that is times
    an influence between the floor and 1.
    """
    entries = look.entries
    events = entries["events"].astype(np.float64)
    slack = {name: TOLERANCE * entries[f"granted_{name}"] + NOTHING for name in SUMS}
    for name in SUMS:
        left = entries[f"granted_{name}"] - entries[f"taken_{name}"]
        within = (entries[name] >= 0.0) & (entries[name] <= left + slack[name])
        _offend(look, ~within, findings, f"{name} is more than was granted and not taken back, or less than nothing")
    within = np.ones(len(entries), np.bool_)
    for name, most in most_granted(model).items():
        within &= entries[name] <= most * events + slack[name]
    _offend(look, ~within, findings, "there is more than so few events can grant")
    for of in ("", "granted_"):
        amplification, network = entries[f"{of}amplification"], entries[f"{of}network"]
        within = network <= amplification + slack["amplification"]
        within &= network >= model.influence_floor * amplification - slack["amplification"]
        _offend(look, ~within, findings, "network is not what anybody's influence makes of amplification")


def most_granted(model: Model) -> dict[str, float]:
    """The most that one event grants of each sum.

    >>> most_granted(Model())
    {'reach': 1.0, 'amplification': 1.0, 'network': 1.0}
    """
    heaviest = max(getattr(model.weights, kind) for kind in KINDS)
    return {"reach": 1.0, "amplification": heaviest, "network": heaviest}


def _scores_follow_sums(look: Look, scores: Floats, own: Floats, findings: Findings) -> None:
    """Law 5: the worker says what the sums give; and unless somebody's time has come, nothing shows.

    That is, the score last published is what the sums give now in tenths, the others are so as integers.
    """
    told = look.told.astype(np.int64)
    wrong = np.any(np.where(look.has_parts[:, None], differs(scores, told), told != 0), axis=1)
    wrong |= _of_users(look, differs(own, look.told_own.astype(np.int64)))
    findings.offend_all(5, wrong, look.users, "the worker says another score than the sums give")
    judged = look.has_parts & ~look.is_due
    published = look.published
    findings.offend_all(
        5,
        judged & differs(scores[:, 0], published[:, 0]),
        look.users,
        "the score last published is not what the sums give",
    )
    for place, name in enumerate(SUBSCORES, 1):
        findings.offend_all(
            5,
            judged & differs_whole(scores[:, place], published[:, place]),
            look.users,
            f"the sub-score {name} last published is not what the sums give",
        )
    wrong = _of_users(look, differs_whole(own, look.entries["score_tenths"].astype(np.int64)))
    findings.offend_all(5, judged & wrong, look.users, "a network's score last published is not what the sums give")


def _events_counted(look: Look, findings: Findings) -> None:
    """Law 7: users hold as many events as the partition applied and did not take back; fewer if any were forgotten."""
    held = np.bincount(look.code, weights=look.entries["events"], minlength=len(look.head.networks))
    for code, network in enumerate(look.head.networks):
        counters = look.head.counters.get(network, {})
        counted = counters.get("applied", 0) - counters.get("adjusted", 0)
        if held[code] > counted or (held[code] < counted and not look.head.anyone_forgotten):
            findings.offend(
                7,
                f"partition {look.head.partition}, {network}",
                f"its users hold {int(held[code]):,} events, {counted:,} were applied and not taken back",
            )


def _users_counted(look: Look, findings: Findings) -> None:
    """Law 7: the partition's own numbers of its users are what a look at all of them gives."""
    score = np.where(look.is_canary, 0, look.published[:, 0])
    counted = look.head.histograms
    found = [_histogram(score)]
    for code in range(len(look.head.networks)):
        theirs = look.code == code
        tenths = look.entries["score_tenths"][theirs].astype(np.int64)
        found.append(_histogram(tenths[score[look.user[theirs]] > 0]))
    for name, have, told in zip(["all networks", *look.head.networks], found, counted, strict=True):
        wrong = np.flatnonzero(have != np.array(told))
        if len(wrong):
            where = f"partition {look.head.partition}, {name}"
            there, was = int(have[wrong[0]]), told[wrong[0]]
            findings.offend(7, where, f"{there:,} users have a score of {wrong[0] + 1}, and {was:,} were counted")
    anchor = look.heads["anchor_tenths"].astype(np.int64)
    anchored = (anchor > 0) & (look.heads["anchor_hour"] == look.head.hour) & ~look.is_canary
    fall = (anchor - score)[anchored & (score > 0)]
    shift = [int(np.sum(sign * fall >= 10 * points)) for sign in (1, -1) for points in STEPS_POINTS]
    shift.append(int(np.sum(anchored & (score == 0))))
    if shift != look.head.shift:
        where = f"partition {look.head.partition}"
        findings.offend(
            7, where, f"its users moved {shift} within the hour (below, above, gone), not {look.head.shift}"
        )


def _histogram(tenths: Ints) -> Ints:
    known = tenths[tenths > 0]
    found: Ints = np.bincount(np.clip(known // 10 - 1, 0, BINS - 1), minlength=BINS)
    return found


def _rows_complete(look: Look, findings: Findings) -> None:
    """Law 8: who is known was published, with a score exactly where there is anything to score."""
    scored = look.published[:, 0] > 0
    findings.offend_all(8, look.heads["sequence"] == 0, look.users, "a row of somebody of whom nothing was published")
    findings.offend_all(8, scored & ~look.has_parts, look.users, "a score was published, and there is nothing to score")
    findings.offend_all(8, ~scored & look.has_parts, look.users, "there is something to score, and no score published")


def _of_users(look: Look, parts: Bools) -> Bools:
    """Which users any of these parts belongs to."""
    found: Bools = np.zeros(len(look.users), np.bool_)
    found[look.user[parts]] = True
    return found


def _offend(look: Look, parts: Bools, findings: Findings, what: str) -> None:
    """Take note of parts that break law 4, by user and network."""
    at: Sequence[int] = np.flatnonzero(parts).tolist()
    for place in at:
        user = look.users[look.user[place]].decode(errors="replace")
        findings.offend(4, user, f"{what}, on {look.head.networks[look.code[place]]}")
