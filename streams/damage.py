"""Tell what is wrong with a partition's files: damaged, which means a rebuild, or no room, which means to wait.

RocksDB's errors come as plain exceptions; only their text tells them apart.
"""

import re
from enum import Enum
from typing import Final


class DamagedError(Exception):
    """The files of a store do not fit together."""


class Trouble(Enum):
    """What the files of a partition suffer from."""

    DAMAGED = "damaged"
    """The local copy cannot be trusted: it is deleted and made anew from the changelog."""
    FULL = "full"
    """Nothing more can be written: the same copy goes on when there is room again."""


# A file that RocksDB's own list names and that is not there is damage too.
_DAMAGED: Final = re.compile(r"Corruption: |IO error: No such file or directory: ")
_FULL: Final = re.compile(r"(IO error: |\[Errno \d+\] )?(No space left on device|Disk quota exceeded|File too large)")


def trouble_of(error: BaseException) -> Trouble | None:
    """Return what the files suffer from, None when the error says nothing of the kind.

    >>> trouble_of(Exception("Corruption: block checksum mismatch"))
    <Trouble.DAMAGED: 'damaged'>
    >>> trouble_of(Exception("IO error: No space left on device: While appending to file: 000008.sst"))
    <Trouble.FULL: 'full'>
    >>> trouble_of(Exception("No space left on device (os error 28)"))
    <Trouble.FULL: 'full'>
    >>> trouble_of(Exception("IO error: While lock file: LOCK: Resource temporarily unavailable")) is None
    True
    """
    text = str(error)
    if isinstance(error, DamagedError) or _DAMAGED.match(text):
        return Trouble.DAMAGED
    return Trouble.FULL if _FULL.match(text) else None
