"""The actors stage: what is each action worth?

An event at time t grants its target, w being the weight of its kind and h the half-life:

    reach           novelty: 1 for an actor new to the target, else 1 - 2^(-Δ/h), Δ being the time since it last acted
    amplification   w·s·p: selectivity s = 1/(1 + r/r0), r being the actor's decayed number of acts before this one;
                    repetition p = (x+1)^a - x^a, a being `alpha`, x being those on this target, decayed with a·h
    network         w·s·p·i: influence i grows with the actor's own score

So who acts rarely counts more, and who does the same again counts less. x^a decays with h, as the sums do, and a fan of
constant pace brings a curve that rises to a plateau. An actor remembers its latest 16 targets exactly; those that had
to make room are kept in two Bloom filters, so that cycling through more targets than it can hold makes none new again:
a target that comes back takes over the x and the time of the one evicted for it.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from scorer.actor_state import FILTER_WORDS
from scorer.compiled import Bytes, Floats, Ints, Records, Words, column, kernel, shared
from scorer.decay import decay
from scorer.model import PAIRS, Parameters
from scorer.scale import SCORE_MAX, SCORE_MIN


class Grants(NamedTuple):
    """What each event grants its target: columns of one length."""

    reach: Floats
    amplification: Floats
    network: Floats


def influences(scores: Floats, parameters: Parameters) -> Floats:
    """How much actors count, by their last published scores (1 where there is none).

    >>> from scorer.model import Model
    >>> influences(np.array([1.0, 100.0]), Model().parameters).tolist()
    [0.1, 1.0]
    """
    floor = parameters.influence_floor
    return floor + (1.0 - floor) * ((scores - SCORE_MIN) / (SCORE_MAX - SCORE_MIN))


def fold_actors(
    states: Records,
    *,
    index: npt.ArrayLike,
    targets: npt.ArrayLike,
    kinds: npt.ArrayLike,
    times: npt.ArrayLike,
    influence: npt.ArrayLike,
    parameters: Parameters,
) -> Grants:
    """Fold events, in their order, into their actors' states and say what each grants.

    Args:
        states: ACTOR[n], one an (actor, network); changed in place.
        index: The state that each of the m events belongs to.
        targets: `user_hash` of the users credited; none may be the actor itself.
        kinds: Codes of the kinds.
        times: Event times in ms.
        influence: Of each state's actor (n), from `influences`.
        parameters: The model's.
    """
    index = column(index, np.int64)
    size = len(index)
    grants = Grants(np.empty(size), np.empty(size), np.empty(size))
    _fold(
        states,
        index,
        column(targets, np.uint64),
        column(kinds, np.uint8),
        column(times, np.int64),
        column(influence, np.float64),
        parameters,
        grants.reach,
        grants.amplification,
        grants.network,
    )
    return grants


@shared
def _turn_filters(state: np.void, time: np.int64, epoch_ms: int) -> None:
    """Let the filters take turns once for each epoch passed; after two, both are empty."""
    turns = (time - state["epoch"]) // epoch_ms
    if turns < 1:
        return
    for word in range(FILTER_WORDS):
        state["former"][word] = state["current"][word] if turns == 1 else np.uint64(0)
        state["current"][word] = 0
    state["epoch"] += turns * epoch_ms


@shared
def _remember(words: Words, target: np.uint64) -> None:
    for shift in (0, 20, 40):
        bit = (target >> np.uint64(shift)) & np.uint64(511)
        words[bit >> np.uint64(6)] |= np.uint64(1) << (bit & np.uint64(63))


@shared
def _remembered(words: Words, target: np.uint64) -> bool:
    for shift in (0, 20, 40):
        bit = (target >> np.uint64(shift)) & np.uint64(511)
        if not words[bit >> np.uint64(6)] & (np.uint64(1) << (bit & np.uint64(63))):
            return False
    return True


@shared
def _pair(state: np.void, target: np.uint64, time: np.int64) -> tuple[int | np.int64, bool]:
    """The slot of a target in the pair memory, made if need be, and whether the actor is known to have met it."""
    slot: int | np.int64 = np.int64(state["used"])
    for met in range(slot):
        if state["pair_target"][met] == target:
            return met, True
    known = False
    if slot < PAIRS:
        state["used"] = slot + 1
    else:
        slot = 0
        for other in range(1, PAIRS):
            if state["pair_time"][other] < state["pair_time"][slot]:
                slot = other
        known = _remembered(state["current"], target) or _remembered(state["former"], target)
        _remember(state["current"], state["pair_target"][slot])
    state["pair_target"][slot] = target
    if not known:
        state["pair_x"][slot] = 0.0
        state["pair_time"][slot] = time
    return slot, known


@kernel
def _fold(
    states: Records,
    index: Ints,
    targets: Words,
    kinds: Bytes,
    times: Ints,
    influence: Floats,
    parameters: Parameters,
    reach: Floats,
    amplification: Floats,
    network: Floats,
) -> None:
    for event in range(len(index)):
        state = states[index[event]]
        time = times[event]
        if state["events"] == 0:
            state["time"] = time
            state["epoch"] = time
        rate = state["rate"]
        if time > state["time"]:
            rate *= decay(time - state["time"], parameters.rate_half_life_ms)
            state["time"] = time
        selectivity = 1.0 / (1.0 + rate / parameters.rate_reference)
        state["rate"] = rate + 1.0
        state["events"] += 1

        _turn_filters(state, time, parameters.epoch_ms)
        slot, known = _pair(state, targets[event], time)
        novelty = 1.0
        repetition = 1.0
        acts = 0.0
        if known:
            elapsed = max(0, time - state["pair_time"][slot])
            novelty = 1.0 - decay(elapsed, parameters.half_life_ms)
            acts = state["pair_x"][slot] * decay(elapsed, parameters.pair_half_life_ms)
            repetition = (acts + 1.0) ** parameters.alpha - acts**parameters.alpha
            state["pair_time"][slot] += elapsed
        state["pair_x"][slot] = acts + 1.0

        worth = parameters.weights[kinds[event]] * selectivity * repetition
        reach[event] = novelty
        amplification[event] = worth
        network[event] = worth * influence[index[event]]
