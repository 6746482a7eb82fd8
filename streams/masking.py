"""Who must not be named to others, wherever somebody would be: in the reasons of changes, in explanations.

Everything that names somebody who acted asks here, so that whoever is not to be named is named nowhere.
"""

from collections.abc import Callable, Sequence

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from schemas.change import ScoreChange
from streams.forgotten import Forgotten


def masked(users: Sequence[bytes], hashes: NDArray[np.uint64], forgotten: Forgotten) -> NDArray[np.bool_]:
    """Return which users must not be named: those who were forgotten; `hashes` are their `user_hash`.

    >>> from schemas.users import user_hashes
    >>> masked([b"twitter:7"], user_hashes([b"twitter:7"]), Forgotten(b"key")).tolist()
    [False]
    """
    hidden = np.zeros(len(users), np.bool_)
    hidden[[at for at, entry in forgotten.find(users, hashes).items() if entry.dropping]] = True
    return hidden


def without_forgotten(change: ScoreChange, is_forgotten: Callable[[str], bool]) -> ScoreChange:
    """Return a change that names nobody who was forgotten since it was written."""
    if not change.reasons:
        return change
    reasons = [
        replace(reason, actor=None) if reason.actor is not None and is_forgotten(reason.actor) else reason
        for reason in change.reasons
    ]
    return replace(change, reasons=reasons)
