"""Scores as they are published: their bounds, and how strong a user must be for each tenth of a point."""

import math
from typing import Final

import numpy as np

from scorer.arrays import Floats

SCORE_MIN: Final = 1.0
SCORE_MAX: Final = 100.0
TENTHS_MIN: Final = 10
TENTHS_MAX: Final = 1000


def strengths(score_scale: float) -> Floats:
    """By tenths from 0 to 1001: the least strength that is published as these tenths; the inverse of `tenths(scaled)`.

    >>> from scorer.scale import scaled, tenths
    >>> table = strengths(1e6)
    >>> tenths(scaled(table[505] * 1.000001, 1e6)), tenths(scaled(table[505] * 0.999999, 1e6)), len(table)
    (505, 504, 1002)
    """
    score = np.arange(TENTHS_MAX + 2) / 10.0 - 0.05
    table = np.expm1((score - SCORE_MIN) / (SCORE_MAX - SCORE_MIN) * math.log1p(score_scale))
    table[: TENTHS_MIN + 1] = 0.0
    table[TENTHS_MAX + 1] = np.inf
    return table
