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

An action can be taken back. Then the actor's rate and the pair's x lose its decayed count, and if nothing came after
it, the pair memory is what it was before: like, unlike, like leaves what one like gives. Filters only forget with time.
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from scorer.actor_state import FILTER_WORDS
from scorer.arrays import Bytes, Floats, Ints, Records, Words, column
from scorer.compiled import kernel, shared
from scorer.decay import decay
from scorer.model import PAIRS, Parameters
from scorer.published import SCORE_MAX, SCORE_MIN

FORGOTTEN_ACTS: Final = 1e-6
"""A pair whose x falls below this when events are taken back is as never met: one act not taken back leaves more."""


class Grants(NamedTuple):
    """What each event grants its target: columns of one length."""

    reach: Floats
    amplification: Floats
    network: Floats


class Undo(NamedTuple):
    """What it takes to take events back, beside their targets, times and reach: columns of one length."""

    rate_time: Ints
    """When the actor's rate rose by one: the event's time, or the actor's latest if that was later."""
    former_target: Words
    """What the slot of the pair held before: the target itself, one that had to make room, or 0 for nothing."""
    former_x: Floats
    former_time: Ints


class Past(NamedTuple):
    """Events of earlier batches that this one takes back: columns of one length."""

    target: Words
    time: Ints
    reach: Floats
    undo: Undo


def no_past() -> Past:
    """No events of earlier batches."""
    return Past(np.empty(0, np.uint64), np.empty(0, np.int64), np.empty(0), Undo(*_undo_columns(0)))


class Folded(NamedTuple):
    """What a batch of m rows comes to; rows that take back grant nothing and have no undo."""

    grants: Grants
    undo: Undo


def _undo_columns(size: int) -> tuple[Ints, Words, Floats, Ints]:
    return np.zeros(size, np.int64), np.zeros(size, np.uint64), np.zeros(size), np.zeros(size, np.int64)


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
    takes_back: npt.ArrayLike | None = None,
    past: Past | None = None,
) -> Folded:
    """Fold events and retractions, in their order, into their actors' states; say what each event grants.

    Args:
        states: ACTOR[n], one an (actor, network); changed in place.
        index: The state that each of the m rows belongs to.
        targets: `user_hash` of the users credited; none may be the actor itself.
        kinds: Codes of the kinds.
        times: Event times in ms.
        influence: Of each state's actor (n), from `influences`.
        parameters: The model's.
        takes_back: For each row the row that it takes back, m + i for event i of `past`; -1 for an event. None: all
            rows are events.
        past: The events of earlier batches that are taken back.
    """
    index = column(index, np.int64)
    size = len(index)
    past = past or no_past()
    whole = size + len(past.target)
    grants = Grants(np.zeros(whole), np.zeros(whole), np.zeros(whole))
    undo = Undo(*_undo_columns(whole))
    target = np.empty(whole, np.uint64)
    time = np.empty(whole, np.int64)
    target[:size], target[size:] = targets, past.target
    time[:size], time[size:] = times, past.time
    grants.reach[size:] = past.reach
    for mine, theirs in zip(undo, past.undo, strict=True):
        mine[size:] = theirs
    _fold(
        states,
        index,
        target,
        column(kinds, np.uint8),
        time,
        column(influence, np.float64),
        np.full(size, -1, np.int64) if takes_back is None else column(takes_back, np.int64),
        parameters,
        grants.reach,
        grants.amplification,
        grants.network,
        undo.rate_time,
        undo.former_target,
        undo.former_x,
        undo.former_time,
    )
    return Folded(
        Grants(grants.reach[:size], grants.amplification[:size], grants.network[:size]),
        Undo(undo.rate_time[:size], undo.former_target[:size], undo.former_x[:size], undo.former_time[:size]),
    )


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
def _oldest(state: np.void, used: int | np.int64) -> int:
    slot = 0
    for other in range(1, used):
        if state["pair_time"][other] < state["pair_time"][slot]:
            slot = other
    return slot


@shared
def _pair(state: np.void, target: np.uint64) -> tuple[int | np.int64, bool, np.uint64, float, np.int64]:
    """Find the slot of a target in the pair memory, or make one.

    Returns the slot, whether the actor is known to have met the target, and the target, x and time that the slot held
    (target 0: nothing; x and time are then those that a known target takes over).
    """
    used: int | np.int64 = np.int64(state["used"])
    for met in range(used):
        if state["pair_target"][met] == target:
            return met, True, target, state["pair_x"][met], state["pair_time"][met]
    known = _remembered(state["current"], target) or _remembered(state["former"], target)
    if used < PAIRS:
        # There is room beside filters only where a retraction made it: what was met before is still known.
        known = bool(known and used > 0)
        oldest = _oldest(state, used)
        x, time = (state["pair_x"][oldest], state["pair_time"][oldest]) if known else (0.0, np.int64(0))
        state["used"] = used + 1
        state["pair_target"][used] = target
        state["pair_x"][used] = x
        state["pair_time"][used] = time
        return used, known, np.uint64(0), x, time
    slot = _oldest(state, used)
    evicted = state["pair_target"][slot]
    _remember(state["current"], evicted)
    state["pair_target"][slot] = target
    return slot, known, evicted, state["pair_x"][slot], state["pair_time"][slot]


@shared
def _slot_of(state: np.void, target: np.uint64) -> int:
    for slot in range(np.int64(state["used"])):
        if state["pair_target"][slot] == target:
            return int(slot)
    return -1


@shared
def _drop_pair(state: np.void, slot: int) -> None:
    """Free a slot; the last one takes its place."""
    last = np.int64(state["used"]) - 1
    state["pair_target"][slot] = state["pair_target"][last]
    state["pair_x"][slot] = state["pair_x"][last]
    state["pair_time"][slot] = state["pair_time"][last]
    state["pair_target"][last] = np.uint64(0)
    state["pair_x"][last] = 0.0
    state["pair_time"][last] = 0
    state["used"] = last


@shared
def _take_back(
    state: np.void,
    target: np.uint64,
    time: np.int64,
    reach: float,
    rate_time: np.int64,
    former_target: np.uint64,
    former_x: float,
    former_time: np.int64,
    parameters: Parameters,
) -> None:
    """Take an event out of its actor's rate and pair memory."""
    count = decay(state["time"] - rate_time, parameters.rate_half_life_ms)
    state["rate"] = max(0.0, state["rate"] - count)
    slot = _slot_of(state, target)
    if slot < 0:
        return
    known = reach < 1.0
    elapsed = time - former_time if known and time > former_time else np.int64(0)
    left_time = former_time + elapsed if known else time
    left_x = (former_x * decay(elapsed, parameters.pair_half_life_ms) if known else 0.0) + 1.0
    pair_time = state["pair_time"][slot]
    x = state["pair_x"][slot]
    if pair_time == left_time and x == left_x:
        # Nothing came after it; but who had to make room may have come back since, into another slot.
        if former_target == 0 or (former_target != target and _slot_of(state, former_target) >= 0):
            _drop_pair(state, slot)
        else:
            state["pair_target"][slot] = former_target
            state["pair_x"][slot] = former_x
            state["pair_time"][slot] = former_time
        return
    x -= decay(max(0, pair_time - left_time), parameters.pair_half_life_ms)
    if x < FORGOTTEN_ACTS:
        _drop_pair(state, slot)
        return
    if pair_time == left_time and known:
        x = min(x * decay(-elapsed, parameters.pair_half_life_ms), float(state["events"]))
        state["pair_time"][slot] = former_time
    state["pair_x"][slot] = x


@kernel
def _fold(
    states: Records,
    index: Ints,
    targets: Words,
    kinds: Bytes,
    times: Ints,
    influence: Floats,
    takes_back: Ints,
    parameters: Parameters,
    reach: Floats,
    amplification: Floats,
    network: Floats,
    rate_time: Ints,
    former_target: Words,
    former_x: Floats,
    former_time: Ints,
) -> None:
    for event in range(len(index)):
        state = states[index[event]]
        of = takes_back[event]
        if of >= 0:
            _take_back(
                state,
                targets[of],
                times[of],
                reach[of],
                rate_time[of],
                former_target[of],
                former_x[of],
                former_time[of],
                parameters,
            )
            continue
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
        rate_time[event] = state["time"]

        _turn_filters(state, time, parameters.epoch_ms)
        slot, known, held, x, pair_time = _pair(state, targets[event])
        former_target[event] = held
        former_x[event] = x
        former_time[event] = pair_time
        novelty = 1.0
        repetition = 1.0
        acts = 0.0
        latest = time
        if known:
            elapsed = max(0, time - pair_time)
            novelty = 1.0 - decay(elapsed, parameters.half_life_ms)
            acts = x * decay(elapsed, parameters.pair_half_life_ms)
            repetition = (acts + 1.0) ** parameters.alpha - acts**parameters.alpha
            latest = pair_time + elapsed
        state["pair_x"][slot] = acts + 1.0
        state["pair_time"][slot] = latest

        worth = parameters.weights[kinds[event]] * selectivity * repetition
        reach[event] = novelty
        amplification[event] = worth
        network[event] = worth * influence[index[event]]
