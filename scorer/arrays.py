"""Arrays as kernels take and fill them; those who only pass them on need no compiler."""

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]
Bytes = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]
Records = npt.NDArray[np.void]


def column(values: npt.ArrayLike, dtype: type[np.generic]) -> npt.NDArray[Any]:
    """An array as kernels take it: of one type, contiguous and writable, so that each is compiled once.

    Copies only where the array is not like that already (one from `np.frombuffer` is read-only).
    """
    return np.require(values, dtype, ["C", "W", "A"])
