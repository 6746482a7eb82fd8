"""What is freed only when Python looks for cycles, which a role does seldom (`streams.process`)."""

import gc
from collections import Counter
from collections.abc import Callable


def left_in_cycles(work: Callable[[], object]) -> Counter[str]:
    """Do some work, and return what it leaves behind in cycles, counted by type."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        work()
        gc.collect()
        return Counter(f"{type(thing).__module__}.{type(thing).__qualname__}" for thing in gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
