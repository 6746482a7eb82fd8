"""The parameters of the score: configuration's `[model]` table."""

from dataclasses import asdict, dataclass, field
from typing import Annotated, Final, NamedTuple

import numpy as np
import xxhash
from annotated_types import Ge, Gt, Le, Len

from schemas.kinds import KINDS
from scorer.arrays import Floats
from scorer.published import strengths

PAIRS: Final = 16
"""Targets that an actor's pair memory holds."""
FILTER_BITS: Final = 512
"""Bits of each of an actor's two filters of evicted targets."""

DAY_MS: Final = 86_400_000

Days = Annotated[float, Ge(0.001), Le(36_500)]
Weight = Annotated[float, Gt(0), Le(1000)]


class Parameters(NamedTuple):
    """A model as kernels take it."""

    half_life_ms: float
    rate_half_life_ms: float
    pair_half_life_ms: float
    epoch_ms: int
    rate_reference: float
    alpha: float
    influence_floor: float
    score_scale: float
    weights: Floats
    """By kind code."""
    strengths: Floats
    """By published tenths, see `scorer.published.strengths`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Weights:
    """What an action of each kind is worth."""

    share: Weight = 1.0
    quote: Weight = 1.0
    reply: Weight = 0.8
    mention: Weight = 0.6
    follow: Weight = 0.5
    reaction: Weight = 0.3


@dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    """One way to score; state that was made with other parameters under the same name is refused."""

    name: Annotated[str, Len(1, 32)] = "1"
    """Carried by every score change, and by the topics whose content depends on it."""
    half_life_days: Days = 30.0
    """After which what others did counts half."""
    rate_half_life_days: Days = 1.0
    """Of the rate at which an actor acts, for selectivity."""
    rate_reference: Annotated[float, Gt(0), Le(1e9)] = 20.0
    """Decayed number of acts at which each counts half."""
    alpha: Annotated[float, Gt(0), Le(1)] = 0.2
    """Exponent of repetition: x acts of one person on another count as x^alpha."""
    influence_floor: Annotated[float, Gt(0), Le(1)] = 0.1
    """Influence of an actor without a score; 1 makes everyone equal."""
    score_scale: Annotated[float, Gt(0), Le(1e18)] = 1e6
    """Strength at which the score reaches 100."""
    weights: Weights = field(default_factory=Weights)

    @property
    def half_life_ms(self) -> int:
        """Half-life of reach, amplification and network."""
        return round(self.half_life_days * DAY_MS)

    @property
    def rate_half_life_ms(self) -> int:
        """Half-life of an actor's rate."""
        return round(self.rate_half_life_days * DAY_MS)

    @property
    def epoch_ms(self) -> int:
        """Time after which an actor's filters take turns: half a half-life."""
        return self.half_life_ms // 2

    @property
    def parameters(self) -> Parameters:
        """The model for kernels."""
        return Parameters(
            half_life_ms=float(self.half_life_ms),
            rate_half_life_ms=float(self.rate_half_life_ms),
            pair_half_life_ms=float(self.alpha) * self.half_life_ms,
            epoch_ms=self.epoch_ms,
            rate_reference=float(self.rate_reference),
            alpha=float(self.alpha),
            influence_floor=float(self.influence_floor),
            score_scale=float(self.score_scale),
            weights=np.array([getattr(self.weights, kind) for kind in KINDS], np.float64),
            strengths=strengths(float(self.score_scale)),
        )

    @property
    def parameters_hash(self) -> str:
        """Sixteen hexadecimal digits that differ where any parameter does; the name does not count.

        >>> Model().parameters_hash == Model(name="2").parameters_hash
        True
        >>> Model().parameters_hash == Model(alpha=0.5).parameters_hash
        False
        """
        values = asdict(self)
        del values["name"]
        values |= {f"weights.{kind}": weight for kind, weight in values.pop("weights").items()}
        return xxhash.xxh3_64_hexdigest(";".join(f"{name}={float(values[name])!r}" for name in sorted(values)).encode())
