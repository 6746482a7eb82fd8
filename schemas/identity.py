"""The identity of an event is (network, actor, id); 64 bits stand for it in packed records."""

from typing import Final

import numpy as np
import xxhash
from numpy.typing import NDArray

_MULTIPLIER: Final = np.uint64(0x9E3779B97F4A7C15)
_FOLD: Final = np.uint64(32)


def event_hashes(network: str, actor_hashes: NDArray[np.uint64], id_hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the hash of each event, from the network and the `schemas.users.user_hash` of its actor and of its id.

    The three are chained through a multiply-and-fold, so that equal ids of two actors differ.

    >>> a, b = event_hashes("twitter", np.array([1, 2], np.uint64), np.array([7, 7], np.uint64)).tolist()
    >>> a != b
    True
    """
    of_network = np.full(1, xxhash.xxh3_64_intdigest(network.encode()), np.uint64)
    return _mixed(_mixed(_mixed(of_network) ^ actor_hashes) ^ id_hashes)


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    multiplied: NDArray[np.uint64] = values * _MULTIPLIER
    return multiplied ^ (multiplied >> _FOLD)
