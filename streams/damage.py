"""Tell what is wrong with a partition's files: damaged, which means a rebuild, or no room, which means to wait.

RocksDB's errors come as plain exceptions; only their text tells them apart. One kind of damage it does not survive:
`check_lists_of_tables`.
"""

import re
from enum import Enum
from pathlib import Path
from typing import Final

_LOG_BLOCK_BYTES: Final = 32_768
_RECORD_HEAD_BYTES: Final = 7
_RECORD_TYPES: Final = range(1, 5)
"""Whole, first, middle and last; lists of tables have no others."""


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


def check_lists_of_tables(directory: Path) -> None:
    """Raise `DamagedError` when a list of tables (MANIFEST) has a record of a type that RocksDB never writes there.

    RocksDB 9.8.4 reads such a record, when damage has made it look like one of a recycled log, for ever and without
    Python's lock, so that the whole worker stands. All other damage it finds itself, by the records' checksums.
    Format: 32 KiB blocks of records, each a checksum (u4), a length (u2, little-endian) and a type (u1)
    (https://github.com/facebook/rocksdb/wiki/Write-Ahead-Log-File-Format).
    """
    for path in sorted(directory.glob("MANIFEST-*")):
        content, at = path.read_bytes(), 0
        while at + _RECORD_HEAD_BYTES <= len(content):
            room = _LOG_BLOCK_BYTES - at % _LOG_BLOCK_BYTES
            if room < _RECORD_HEAD_BYTES:
                at += room
                continue
            if content[at + 6] not in _RECORD_TYPES:
                raise DamagedError(f"{path.name} has a record of an unknown type, {content[at + 6]}, at byte {at}")
            at += _RECORD_HEAD_BYTES + int.from_bytes(content[at + 4 : at + 6], "little")
