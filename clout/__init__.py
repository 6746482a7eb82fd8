"""The command, its configuration and the processes of one machine."""

import os
from typing import Final

VERSION: Final = "0.1.0"

# Else numpy starts threads for linear algebra, which nothing here does, and they spin for a tenth of a second each.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
