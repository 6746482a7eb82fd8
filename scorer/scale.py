"""From decayed sums to scores, as plain Python and inside kernels."""

import math

import numpy as np

from scorer.compiled import shared
from scorer.published import SCORE_MAX, SCORE_MIN


@shared
def combined(reach: float, amplification: float, network: float) -> float:
    """S = R^1/4 A^1/4 N^1/2: half is how much is done, half how influential those are who do it.

    >>> combined(16.0, 16.0, 4.0)
    8.0
    """
    return math.sqrt(math.sqrt(reach) * math.sqrt(amplification)) * math.sqrt(network)


@shared
def scaled(strength: float, score_scale: float) -> float:
    """The score of a strength: 1 at 0, logarithmic, 100 from `score_scale` on.

    >>> scaled(0.0, 1e6), scaled(1e6, 1e6), round(scaled(1000.0, 1e6), 1)
    (1.0, 100.0, 50.5)
    """
    return min(SCORE_MAX, SCORE_MIN + (SCORE_MAX - SCORE_MIN) * math.log1p(strength) / math.log1p(score_scale))


@shared
def tenths(score: float) -> int:
    """A score in tenths, rounded half up: as it is published.

    >>> tenths(66.25), tenths(1.0)
    (663, 10)
    """
    return math.floor(score * 10.0 + 0.5)


@shared
def whole(score_tenths: int | np.int64) -> int | np.int64:
    """A published score rounded half up to an integer: the resolution at which sub-scores count as changed.

    >>> whole(664), whole(665)
    (66, 67)
    """
    return (score_tenths + 5) // 10


@shared
def lowest_of_whole(score_tenths: int | np.int64) -> int | np.int64:
    """The lowest published score that rounds to the same integer.

    >>> lowest_of_whole(664), lowest_of_whole(655)
    (655, 655)
    """
    return 10 * whole(score_tenths) - 5
