"""The targets stage: what others' actions make of a user.

Per user and network three decayed sums, always referring to the latest event: reach (how many people), amplification
(how much), network (how influential they are). A user's score is taken at the clocks of its networks
(`scorer.timers.evaluation_times`).
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from schemas.times import HOUR_MS
from scorer.actors import Grants
from scorer.arrays import Bools, Floats, Ints, Records, Words, column
from scorer.compiled import kernel, shared
from scorer.contributors import TAKEN, Contributors, clear, credit, fade, no_contributors
from scorer.decay import decay
from scorer.model import Parameters
from scorer.scale import combined, scaled, tenths, whole
from scorer.timers import NO_CLOCK


class Scored(NamedTuple):
    """What users are worth now, unrounded: columns of n users; NaN where nothing is known."""

    score: Floats
    reach: Floats
    amplification: Floats
    network: Floats
    networks: Floats
    """Each network's own score, [n, networks]."""
    times: Ints
    """When each part was taken (ms), [n, networks]; `NO_CLOCK` where there is none."""
    as_of: Ints
    """The latest of the times that the user's parts were taken at (ms)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """The changes to emit: columns of c users, scores rounded half up to 0.1."""

    index: Ints
    """Of the user in the batch, ascending."""
    sequence: npt.NDArray[np.uint64]
    previous_tenths: npt.NDArray[np.uint16]
    """The score before in tenths; 0 = none."""
    score: Floats
    """NaN for who has no score any more."""
    reach: Floats
    amplification: Floats
    network: Floats
    networks: Floats
    """[c, networks], NaN where the user has no events."""
    as_of: Ints


def fold_targets(
    entries: Records,
    *,
    users: npt.ArrayLike,
    networks: npt.ArrayLike,
    times: npt.ArrayLike,
    grants: Grants,
    parameters: Parameters,
    takes_back: npt.ArrayLike | None = None,
    actors: npt.ArrayLike | None = None,
    contributors: Contributors | None = None,
) -> Bools:
    """Fold what m events grant into the sums of those they credit; a late event adds its decayed worth.

    A row that takes back subtracts what its event granted, decayed alike; of the last event nothing is left. Return of
    which rows the actor has come among the user's contributors.

    Args:
        entries: ENTRY[n, networks]; changed in place.
        users: Index of the user that each event credits.
        networks: Code of the network of each.
        times: Event times in ms.
        grants: What each grants.
        parameters: The model's.
        takes_back: Which rows take a former event of that time and grant back; None: no row does.
        actors: Hash of who acted in each; 0 or None: nobody is named.
        contributors: Of the same users as `entries`; changed in place.
    """
    rows = len(np.asarray(users))
    entered = np.zeros(rows, np.bool_)
    _fold(
        entries,
        *(contributors or no_contributors(*entries.shape)),
        column(users, np.int64),
        column(networks, np.int64),
        column(times, np.int64),
        column(grants.reach, np.float64),
        column(grants.amplification, np.float64),
        column(grants.network, np.float64),
        np.zeros(rows, np.bool_) if takes_back is None else column(takes_back, np.bool_),
        np.zeros(rows, np.uint64) if actors is None else column(actors, np.uint64),
        parameters.half_life_ms,
        entered,
    )
    return entered


def score_targets(heads: Records, entries: Records, times: Ints, parameters: Parameters) -> Scored:
    """Score users with each part taken at its time (ms, [n, networks])."""
    users, networks = entries.shape
    scored = Scored(
        np.empty(users), np.empty(users), np.empty(users), np.empty(users), np.empty((users, networks)),
        column(times, np.int64), np.empty(users, np.int64),
    )  # fmt: skip
    _score(
        heads,
        entries,
        scored.times,
        parameters.half_life_ms,
        parameters.score_scale,
        scored.score,
        scored.reach,
        scored.amplification,
        scored.network,
        scored.networks,
        scored.as_of,
    )
    return scored


def publish(heads: Records, entries: Records, scored: Scored, hour: int = 0) -> Published:
    """Decide which users' changes show, take them as published in heads and entries, and return them.

    A change shows when the score differs in tenths, or a sub-score or network score as an integer, from what was
    last published; a first score always does, and so does having none any more. A user's first change in an hour of
    event time makes the score before it their anchor. The hour (since 1970) is that of the change's own moment, so that
    what passed while clocks stood does not count as an hour's; but not later than `hour`, which is going on.
    """
    changed = np.zeros(len(heads), np.bool_)
    previous = np.empty(len(heads), np.uint16)
    _publish(
        heads,
        entries,
        scored.score,
        scored.reach,
        scored.amplification,
        scored.network,
        scored.networks,
        scored.as_of,
        hour,
        changed,
        previous,
    )
    index = np.flatnonzero(changed)
    now = heads[index]
    networks = entries["score_tenths"][index]
    scoreless = now["score_tenths"] == 0
    return Published(
        index=index,
        sequence=now["sequence"].copy(),
        previous_tenths=previous[index],
        score=np.where(scoreless, np.nan, now["score_tenths"] / 10.0),
        reach=np.where(scoreless, np.nan, now["reach_tenths"] / 10.0),
        amplification=np.where(scoreless, np.nan, now["amplification_tenths"] / 10.0),
        network=np.where(scoreless, np.nan, now["network_tenths"] / 10.0),
        networks=np.where(networks == 0, np.nan, networks / 10.0),
        as_of=now["as_of"].copy(),
    )


@shared
def _begin(entry: np.void, time: np.int64) -> None:
    """Nothing is left of what there once was; its due time stays until it is set anew."""
    entry["time"] = time
    entry["granted_reach"] = 0.0
    entry["granted_amplification"] = 0.0
    entry["granted_network"] = 0.0
    entry["taken_reach"] = 0.0
    entry["taken_amplification"] = 0.0
    entry["taken_network"] = 0.0


@shared
def _take_back(
    entry: np.void, time: np.int64, reach: float, amplification: float, network: float, half_life_ms: float
) -> None:
    """Subtract what an event granted; sums refer to the latest event, so none is later than they."""
    entry["events"] -= np.uint64(1)
    worth = decay(entry["time"] - time, half_life_ms) if entry["events"] else 0.0
    if worth == 0.0:
        # The last one, or so faded that nothing of it is left in the sums.
        if entry["events"] == 0:
            entry["reach"] = 0.0
            entry["amplification"] = 0.0
            entry["network"] = 0.0
        return
    taken_reach = min(entry["reach"], reach * worth)
    taken_amplification = min(entry["amplification"], amplification * worth)
    taken_network = min(entry["network"], network * worth)
    entry["reach"] -= taken_reach
    entry["amplification"] -= taken_amplification
    entry["network"] -= taken_network
    entry["taken_reach"] += taken_reach
    entry["taken_amplification"] += taken_amplification
    entry["taken_network"] += taken_network


@kernel
def _fold(
    entries: Records,
    slots: Words,
    weights: npt.NDArray[np.float32],
    bounds: npt.NDArray[np.float32],
    users: Ints,
    networks: Ints,
    times: Ints,
    reach: Floats,
    amplification: Floats,
    network: Floats,
    takes_back: Bools,
    actors: Words,
    half_life_ms: float,
    entered: Bools,
) -> None:
    for event in range(len(users)):
        user = users[event]
        code = networks[event]
        entry = entries[user, code]
        time = times[event]
        if takes_back[event]:
            if entry["events"]:
                before = entry["network"]
                _take_back(entry, time, reach[event], amplification[event], network[event], half_life_ms)
                bounds[user, code, TAKEN] += before - entry["network"]
            continue
        if entry["events"] == 0:
            _begin(entry, time)
            clear(slots[user, code], weights[user, code], bounds[user, code])
        elapsed = time - entry["time"]
        worth = 1.0
        if elapsed > 0:
            left = decay(elapsed, half_life_ms)
            entry["reach"] *= left
            entry["amplification"] *= left
            entry["network"] *= left
            entry["time"] = time
            fade(weights[user, code], bounds[user, code], left)
        elif elapsed < 0:
            worth = decay(-elapsed, half_life_ms)
        entry["reach"] += reach[event] * worth
        entry["amplification"] += amplification[event] * worth
        entry["network"] += network[event] * worth
        entry["granted_reach"] += reach[event]
        entry["granted_amplification"] += amplification[event]
        entry["granted_network"] += network[event]
        entry["events"] += np.uint64(1)
        if actors[event] and network[event] * worth > 0.0:
            entered[event] = credit(
                slots[user, code], weights[user, code], bounds[user, code], actors[event], network[event] * worth
            )


@kernel
def _score(
    heads: Records,
    entries: Records,
    times: Ints,
    half_life_ms: float,
    score_scale: float,
    score: Floats,
    reach: Floats,
    amplification: Floats,
    network: Floats,
    networks: Floats,
    as_of: Ints,
) -> None:
    for user in range(len(heads)):
        latest = heads[user]["as_of"] if heads[user]["sequence"] else NO_CLOCK
        known = False
        r = a = n = 0.0
        for code in range(entries.shape[1]):
            entry = entries[user, code]
            networks[user, code] = np.nan
            if entry["events"] == 0:
                continue
            known = True
            time = times[user, code]
            left = decay(time - entry["time"], half_life_ms)
            part_r = entry["reach"] * left
            part_a = entry["amplification"] * left
            part_n = entry["network"] * left
            networks[user, code] = scaled(combined(part_r, part_a, part_n), score_scale)
            r += part_r
            a += part_a
            n += part_n
            latest = max(latest, time)
        as_of[user] = latest
        score[user] = scaled(combined(r, a, n), score_scale) if known else np.nan
        reach[user] = scaled(r, score_scale) if known else np.nan
        amplification[user] = scaled(a, score_scale) if known else np.nan
        network[user] = scaled(n, score_scale) if known else np.nan


@shared
def _shows(head: np.void, score: int, reach: int, amplification: int, network: int) -> bool:
    return bool(
        head["sequence"] == 0
        or head["score_tenths"] != score
        or whole(head["reach_tenths"]) != whole(reach)
        or whole(head["amplification_tenths"]) != whole(amplification)
        or whole(head["network_tenths"]) != whole(network)
    )


@kernel
def _publish(
    heads: Records,
    entries: Records,
    score: Floats,
    reach: Floats,
    amplification: Floats,
    network: Floats,
    networks: Floats,
    as_of: Ints,
    hour: int,
    changed: Bools,
    previous: npt.NDArray[np.uint16],
) -> None:
    for user in range(len(heads)):
        head = heads[user]
        known = False
        shows = False
        for code in range(entries.shape[1]):
            entry = entries[user, code]
            if entry["events"]:
                known = True
                now = tenths(networks[user, code])
                shows = shows or whole(now) != whole(np.int64(entry["score_tenths"]))
            elif entry["score_tenths"]:
                shows = True
        if not known and head["score_tenths"] == 0:
            continue
        score_now = tenths(score[user]) if known else 0
        reach_now = tenths(reach[user]) if known else 0
        amplification_now = tenths(amplification[user]) if known else 0
        network_now = tenths(network[user]) if known else 0
        if not shows and not _shows(head, score_now, reach_now, amplification_now, network_now):
            continue
        changed[user] = True
        previous[user] = head["score_tenths"]
        own_hour = max(0, min(hour, as_of[user] // HOUR_MS))
        if head["anchor_hour"] < own_hour:
            head["anchor_hour"] = own_hour
            head["anchor_tenths"] = head["score_tenths"]
        head["sequence"] += np.uint64(1)
        head["score_tenths"] = score_now
        head["reach_tenths"] = reach_now
        head["amplification_tenths"] = amplification_now
        head["network_tenths"] = network_now
        head["as_of"] = as_of[user]
        for code in range(entries.shape[1]):
            entry = entries[user, code]
            entry["score_tenths"] = tenths(networks[user, code]) if entry["events"] else 0
