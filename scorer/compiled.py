"""How kernels are compiled: cached on disk, without the GIL, with exact IEEE arithmetic (never `fastmath`).

Numba's cache watches a kernel's own file only. After an edit of a function that is `shared` with kernels of other
files (`scorer.scale`, `scorer.decay`), delete `scorer/__pycache__`, or those kernels go on with the old one.
"""

from collections.abc import Callable
from typing import Any, ParamSpec, Protocol, TypeVar, cast

import numba
from numba.extending import register_jitable

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])


class Kernel(Protocol[P, R]):
    """A compiled function; `py_func` is the same one as plain Python."""

    py_func: Callable[P, R]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run it."""


def kernel(function: Callable[P, R]) -> Kernel[P, R]:
    """Compile a function at its first call; it is given all its arrays and makes none.

    So it need not count who holds an array (`_nrt`), which costs two locked instructions at each call of a helper: a
    third of the time of kernels that call many.
    """
    compile_ = numba.njit(cache=True, nogil=True, error_model="numpy", _nrt=False)  # type: ignore[call-overload]
    return cast("Kernel[P, R]", compile_(function))


def shared(function: F) -> F:
    """Leave a function plain Python and let kernels call it compiled."""
    compiled: F = register_jitable(function)
    return compiled
