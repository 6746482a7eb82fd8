"""Files that one process at a time holds; the system lets go of them when it ends, however it does."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streams.errors import CloutError


@contextmanager
def alone(file: Path, otherwise: CloutError | None = None) -> Iterator[None]:
    """Hold a file, which is made; while another process holds it, wait, or raise `otherwise` if it is given."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as held:
        if otherwise is None:
            fcntl.flock(held, fcntl.LOCK_EX)
        else:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise otherwise from None
        yield
