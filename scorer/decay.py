"""Exponential decay, as plain Python and inside kernels."""

import math

import numpy as np

from scorer.compiled import shared


@shared
def decay(elapsed_ms: float | np.int64, half_life_ms: float) -> float:
    """What is left of 1 after a time; more than 1 for a negative time.

    >>> decay(60.0, 30.0)
    0.25
    """
    return math.exp2(-elapsed_ms / half_life_ms)
