"""Names for made-up people."""

from typing import Final

import numpy as np

_NAMES: Final = """
ada aiko alma amara amir anna anouk arjun ayla bao bea bruno carmen chidi chloe dara dmitri elif
emeka emil esra felix finn freya gita hana hugo ida ines isla ivan jana joao jonas juna kai karim
kiri lara leila lena levi linh lucia mads maja malik maren mateo mei mila milo mina nadia naomi nia
nils noor nuno olga omar oskar otto pia priya quinn rafa ravi rosa ruben sami sanna sara sina sofia
suri tara theo tomas uma valen vera wei wim xenia yara yuki yusuf zara zoe
"""
FIRST_NAMES: Final = _NAMES.split()


def person_ids(count: int, seed: int) -> list[str]:
    """Make ids such as `anna-417`: all different, the same for the same seed.

    >>> ids = person_ids(1_000, seed=1)
    >>> len(set(ids))
    1000
    """
    rng = np.random.default_rng([seed, 2])
    names = rng.integers(len(FIRST_NAMES), size=count)
    numbers = rng.permutation(count) + 1
    return [f"{FIRST_NAMES[name]}-{number}" for name, number in zip(names.tolist(), numbers.tolist(), strict=True)]
