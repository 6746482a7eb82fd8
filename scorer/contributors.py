"""Who gave a user most: a bounded, decayed summary for each user and network.

The summary of Misra and Gries (1982) with weights, where a weight is what somebody's actions granted the user's network
sum, decayed like the sum. Up to `CONTRIBUTORS_MAX` actors have a slot. What would need one more takes the same amount
from all, which adds up in `spilled`; so somebody's true part lies between their weight less what was taken back and
their weight plus `spilled`, and `spilled` is at most the sum's (CONTRIBUTORS_MAX + 1)th part. Retractions name nobody:
what they took back adds up in `taken`. Weights are single floats, exact to about 1e-6.
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from scorer.arrays import Words
from scorer.compiled import shared

CONTRIBUTORS_MAX: Final = 8

SPILLED: Final = 0
TAKEN: Final = 1


class Contributors(NamedTuple):
    """Summaries of n users on k networks; slots are in no order."""

    actors: Words
    """[n, k, CONTRIBUTORS_MAX]: hashes of the actors' ids, 0 for a free slot."""
    weights: npt.NDArray[np.float32]
    """[n, k, CONTRIBUTORS_MAX], decayed to the time of the user's sums there."""
    bounds: npt.NDArray[np.float32]
    """[n, k, 2]: `spilled` and `taken`, decayed alike."""


def no_contributors(users: int, networks: int) -> Contributors:
    """Empty summaries.

    >>> no_contributors(1, 2).weights.shape
    (1, 2, 8)
    """
    return Contributors(
        np.zeros((users, networks, CONTRIBUTORS_MAX), np.uint64),
        np.zeros((users, networks, CONTRIBUTORS_MAX), np.float32),
        np.zeros((users, networks, 2), np.float32),
    )


@shared
def fade(weights: npt.NDArray[np.float32], bounds: npt.NDArray[np.float32], left: float) -> None:
    """Let a summary decay: `left` of 1 is left."""
    for slot in range(CONTRIBUTORS_MAX):
        weights[slot] *= left
    bounds[SPILLED] *= left
    bounds[TAKEN] *= left


@shared
def credit(
    actors: Words, weights: npt.NDArray[np.float32], bounds: npt.NDArray[np.float32], actor: np.uint64, weight: float
) -> bool:
    """Add what an actor gave to a summary; whether they have a slot that they did not have before."""
    least = 0
    for slot in range(CONTRIBUTORS_MAX):
        if actors[slot] == actor:
            weights[slot] += weight
            return False
        # A free slot has weight zero, and weights are positive.
        if weights[slot] < weights[least]:
            least = slot
    room = weights[least]
    if weight <= room:
        for slot in range(CONTRIBUTORS_MAX):
            weights[slot] -= weight
            if weights[slot] <= 0.0:
                weights[slot] = 0.0
                actors[slot] = 0
        bounds[SPILLED] += weight
        return False
    if actors[least]:
        for slot in range(CONTRIBUTORS_MAX):
            weights[slot] -= room
            if weights[slot] <= 0.0:
                weights[slot] = 0.0
                actors[slot] = 0
        bounds[SPILLED] += room
    actors[least] = actor
    weights[least] = weight - room
    return True


@shared
def clear(actors: Words, weights: npt.NDArray[np.float32], bounds: npt.NDArray[np.float32]) -> None:
    """Empty a summary."""
    for slot in range(CONTRIBUTORS_MAX):
        actors[slot] = 0
        weights[slot] = 0.0
    bounds[SPILLED] = 0.0
    bounds[TAKEN] = 0.0
