"""How many different users are in a column, in a few hundred bytes: HyperLogLog.

P. Flajolet, É. Fusy, O. Gandouet and F. Meunier: "HyperLogLog: the analysis of a near-optimal cardinality estimation
algorithm" (AofA 2007); names and numbers of formulas are theirs. Hashes have 64 bits, so the correction for large
ranges is not needed (Heule, Nunkesser and Hall: "HyperLogLog in practice", EDBT 2013). A register is one byte.
"""

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from schemas.feed_report import REGISTERS
from scorer.arrays import column
from scorer.compiled import kernel

Registers = NDArray[np.uint8]

_INDEX_BITS: Final = 8
_REST_BITS: Final = 64 - _INDEX_BITS
_INDEX_SHIFT: Final = np.uint64(_REST_BITS)
_REST_SHIFT: Final = np.uint64(_INDEX_BITS)
_ONE: Final = np.uint64(1)
_TOP: Final = np.uint64(1 << 63)
_ALPHA: Final = 0.7213 / (1 + 1.079 / REGISTERS)
_SMALL: Final = 2.5 * REGISTERS
"""Up to here many registers are empty, and counting these says more (linear counting)."""


def sketches(groups: int) -> Registers:
    """Return empty sketches, uint8[groups, REGISTERS].

    >>> estimate(sketches(1)[0])
    0.0
    """
    return np.zeros((groups, REGISTERS), np.uint8)


def take_in(into: Registers, group: NDArray[Any], number: NDArray[Any], hashes: NDArray[np.uint64]) -> None:
    """Take rows into the sketches of their groups: the user of a row is the one of `hashes` with that number.

    >>> found = sketches(2)
    >>> from schemas.users import user_hashes
    >>> take_in(found, np.array([0, 1, 1, 1]), np.array([0, 0, 1, 1]), user_hashes([b"a", b"b"]))
    >>> [round(estimate(sketch)) for sketch in found]
    [1, 2]
    """
    _take_in(into, column(group, np.int64), column(number, np.uint32), column(hashes, np.uint64))


@kernel
def _take_in(into: Any, group: Any, number: Any, hashes: Any) -> None:
    for row in range(len(group)):
        hash_ = hashes[number[row]]
        rest = hash_ << _REST_SHIFT
        rank = 1
        while rest < _TOP and rank <= _REST_BITS:
            rest <<= _ONE
            rank += 1
        register = np.int64(hash_ >> _INDEX_SHIFT)
        into[group[row], register] = max(into[group[row], register], rank)


def merged(one: Registers, other: Registers) -> Registers:
    """Return the sketch of whoever is in either.

    >>> merged(np.array([0, 3], np.uint8), np.array([1, 2], np.uint8)).tolist()
    [1, 3]
    """
    return np.maximum(one, other)


def estimate(registers: Registers) -> float:
    """Return how many different users a sketch has seen, off by 6.5 % (one standard deviation, 1.04/√256).

    >>> estimate(np.array([1] + [0] * 255, np.uint8))
    1.0019582262108966
    """
    raw = _ALPHA * REGISTERS**2 / float(np.exp2(-registers.astype(np.float64)).sum())
    empty = REGISTERS - int(np.count_nonzero(registers))
    return REGISTERS * math.log(REGISTERS / empty) if raw <= _SMALL and empty else raw
