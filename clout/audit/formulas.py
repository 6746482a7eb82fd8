"""The score by its plain formulas, over columns: not by the code of the workers, whose results it is held against.

S = R^1/4 · A^1/4 · N^1/2        score = min(100, 1 + 99·ln(1+S)/ln(1+C))        left of 1 after t: 2^(-t/h)
"""

from typing import Final

import numpy as np

from scorer.arrays import Floats, Ints
from scorer.model import Model

TOLERANCE: Final = 1e-9
"""Relative, of sums."""
NOTHING: Final = 1e-100
"""Sums faded below this are no longer exact."""
ROUNDING: Final = 1e-6
"""In tenths: a score that lies between two may be rounded either way."""
LOWEST_TENTHS: Final = 10
HIGHEST_TENTHS: Final = 1000


def left_after(elapsed_ms: Ints, model: Model) -> Floats:
    """What is left of 1 after a time.

    >>> left_after(np.array([0, Model().half_life_ms]), Model()).tolist()
    [1.0, 0.5]
    """
    left: Floats = np.exp2(-np.asarray(elapsed_ms, np.float64) / model.half_life_ms)
    return left


def strength(sums: Floats) -> Floats:
    """S of sums [..., 3]: reach, amplification, network; NaN where one is negative.

    >>> strength(np.array([[16.0, 16.0, 4.0]])).round(9).tolist()
    [8.0]
    """
    with np.errstate(invalid="ignore"):
        whole: Floats = np.sqrt(sums[..., 2] * np.sqrt(sums[..., 0] * sums[..., 1]))
        return np.where(np.all(sums >= 0.0, axis=-1), whole, np.nan)


def score_of(strengths: Floats, model: Model) -> Floats:
    """The score of strengths, unrounded.

    >>> score_of(np.array([0.0, 1e6]), Model()).tolist()
    [1.0, 100.0]
    """
    with np.errstate(invalid="ignore"):
        score: Floats = np.minimum(100.0, 1.0 + 99.0 * np.log1p(strengths) / np.log1p(model.score_scale))
    return score


def least_strength(tenths: Ints, model: Model) -> Floats:
    """The least strength that is published as these tenths: 0 of the lowest, infinite beyond the highest.

    >>> tenths = np.array([10, 505, 1001])
    >>> (score_of(least_strength(tenths, Model()), Model()) * 10).round(6).tolist()
    [10.0, 504.5, 1000.0]
    """
    score = np.asarray(tenths, np.float64) / 10.0 - 0.05
    least: Floats = np.expm1((score - 1.0) / 99.0 * np.log1p(model.score_scale))
    least = np.where(np.asarray(tenths) <= LOWEST_TENTHS, 0.0, least)
    return np.where(np.asarray(tenths) > HIGHEST_TENTHS, np.inf, least)


def differs(score: Floats, tenths: Ints) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Whether a score is not rounded to these tenths.

    >>> differs(np.array([50.54, 50.56, np.nan]), np.array([505, 505, 505])).tolist()
    [False, True, True]
    """
    return ~(np.abs(score * 10.0 - tenths) <= 0.5 + ROUNDING)


def differs_whole(score: Floats, tenths: Ints) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Whether a score rounds to another integer than these tenths: then the change shows.

    >>> differs_whole(np.array([66.4, 66.44, 66.46]), np.array([655, 664, 664])).tolist()
    [False, False, True]
    """
    lowest = 10 * ((np.asarray(tenths, np.int64) + 5) // 10) - 5
    return ~((score * 10.0 >= lowest - 0.5 - ROUNDING) & (score * 10.0 <= lowest + 9.5 + ROUNDING))
