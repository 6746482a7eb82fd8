"""How fast the machine is just now: one that is shared with others may take twice as long as at rest."""

import time
from typing import Final

from bench.figures import Figure

_TURNS: Final = 2_000_000


def pace(when: str) -> Figure:
    """Return what a turn of a loop in plain Python takes, in ns of CPU: what stands beside it is read against that."""
    begun = time.thread_time()
    total = 0
    for turn in range(_TURNS):
        total += turn
    return Figure("this machine", f"plain Python loop, {when}", (time.thread_time() - begun) / _TURNS * 1e9, "ns/turn")
