"""How a role's Python process is set up."""

import gc
from typing import Final

_YOUNG_OBJECTS_MAX: Final = 500_000


def set_up_garbage_collection() -> None:
    """Collect cycles seldom: a batch makes hundreds of thousands of short-lived objects and no cycles.

    With Python's default threshold the collector walks them over and over, which doubled the cost of writing changes
    (`python -m bench --only targets`).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS_MAX, 20, 20)
