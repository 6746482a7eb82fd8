"""Who must not be named to others, wherever somebody would be: in the reasons of changes, in explanations.

Everything that names somebody who acted asks here, so that whoever is not to be named is named nowhere.
"""

from collections.abc import Callable, Sequence

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from schemas.change import ScoreChange
from schemas.explanation import Explanation
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


def change_without(change: ScoreChange, is_hidden: Callable[[str], bool]) -> ScoreChange:
    """Return a change whose reasons name nobody who must not be named, for instance who was forgotten since."""
    reasons = change.reasons or ()
    hidden = {reason.actor for reason in reasons if reason.actor is not None and is_hidden(reason.actor)}
    if not hidden:
        return change
    return replace(
        change, reasons=[replace(reason, actor=None) if reason.actor in hidden else reason for reason in reasons]
    )


def explanation_without(explanation: Explanation, is_hidden: Callable[[str], bool]) -> Explanation:
    """Return an explanation whose contributors have no name where they must not be named."""
    networks = {
        name: replace(
            part,
            contributors=[
                replace(one, actor=None) if one.actor is not None and is_hidden(one.actor) else one
                for one in part.contributors
            ],
        )
        for name, part in explanation.networks.items()
    }
    return replace(explanation, networks=networks)
