"""A partition's users as of one commit, however long it takes to read them all.

It is an open iterator of RocksDB, which sees the table as it was when it began: the worker goes on committing, and what
it overwrites or compacts away stays in files until the iterator is dropped. So there are few of them, none for long,
and the store drops them when it closes, else its directory stays locked, and before it erases what was forgotten, else
a file would keep it. Then reading breaks off. (A snapshot would do too, but `rocksdict` 0.3.29 lets iterators over one
see later writes.)
"""

import time
from collections.abc import Callable
from threading import Lock
from typing import Final

from rocksdict import RdictIter

from streams.errors import CloutError

FROZEN_MAX: Final = 4
"""Readers of a partition at a time."""
FROZEN_SECONDS_MAX: Final = 120.0
"""After which a reader makes room for another: to read a partition takes a few seconds."""


class FrozenError(CloutError):
    """It was dropped: the store closed, erased somebody, or needed the room."""


class Frozen:
    """The users of a partition and its task's record as of the same commit."""

    def __init__(self, users: RdictIter, meta: bytes, *, changelog_end: int, anyone_forgotten: bool) -> None:
        """Take an iterator that stands at the first user."""
        self.meta = meta
        self.changelog_end = changelog_end
        """Offset after the last changelog record that is in it."""
        self.anyone_forgotten = anyone_forgotten
        self.begun_seconds = time.monotonic()
        self._users: RdictIter | None = users
        self._lock = Lock()

    def next_rows(self, rows_max: int) -> list[tuple[bytes, bytes]]:
        """Return up to `rows_max` users and rows, in key order, where it left off; raise `FrozenError`."""
        with self._lock:
            users = self._users
            if users is None:
                raise FrozenError("the reading was broken off", hint="read the partition again from its beginning")
            found: list[tuple[bytes, bytes]] = []
            while len(found) < rows_max and users.valid():
                found.append((users.key(), users.value()))
                users.next()
            users.status()
            return found

    def close(self) -> None:
        """Drop it; waits for a piece that is being read."""
        with self._lock:
            self._users = None


class FrozenSet:
    """The readers of one store."""

    def __init__(self) -> None:
        """Begin with none."""
        self._lock = Lock()
        self._open: list[Frozen] = []
        self._closed = False

    def add(self, make: Callable[[], Frozen]) -> Frozen:
        """Make one; the oldest goes when it has been there for long, else raise `FrozenError` when there are many."""
        with self._lock:
            if self._closed:
                raise FrozenError("the partition was closed")
            now = time.monotonic()
            old = [frozen for frozen in self._open if now - frozen.begun_seconds > FROZEN_SECONDS_MAX]
            for frozen in old:
                self._drop(frozen)
            if len(self._open) >= FROZEN_MAX:
                raise FrozenError(
                    "the partition is being read by others", hint=f"at most {FROZEN_MAX} read it at a time; try again"
                )
            frozen = make()
            self._open.append(frozen)
            return frozen

    def remove(self, frozen: Frozen) -> None:
        """Drop one that was read."""
        with self._lock:
            if frozen in self._open:
                self._drop(frozen)

    def clear(self, *, for_good: bool = False) -> None:
        """Drop all, and refuse to make more if it is for good."""
        with self._lock:
            self._closed = self._closed or for_good
            for frozen in list(self._open):
                self._drop(frozen)

    def _drop(self, frozen: Frozen) -> None:
        frozen.close()
        self._open.remove(frozen)
