"""The tables of a partition in memory, over a disk that keeps only what was flushed.

As RocksDB without a write-ahead log and with atomic flush: a crash takes every table back to the same committed batch.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from rocksdict import Cache

from streams.damage import DamagedError
from streams.store import _LOCAL_KEY, META_KEY, Local, RecentRows, Row, Rows, Store
from streams.timers import Range
from tests.simulator.log import Log
from tests.simulator.process import Process

Image = dict[str, dict[bytes, bytes]]
"""Rows by table."""

_OWN: str = "default"
_TIMERS: str = "timers"


def empty() -> Image:
    """Return the image of a new store."""
    return {name: {} for name in (*Rows._fields, _TIMERS, _OWN)}


def copied(image: Image) -> Image:
    """Return an independent copy."""
    return {name: dict(rows) for name, rows in image.items()}


class Disk:
    """What survives the crash of a worker: the flushed image of each store, by its directory."""

    def __init__(self, log: Log, process: Process) -> None:
        self.log, self.process = log, process
        self.images: dict[Path, Image] = {}
        self.flushes = 0.0
        """Share of writes that RocksDB happens to flush after."""


class Table:
    """One table, with the calls of rocksdict that the store makes."""

    def __init__(self, rows: dict[bytes, bytes]) -> None:
        self.rows = rows

    def get(self, key: Any) -> Any:
        """Return the row of a key, or those of a list of keys."""
        return [self.rows.get(one) for one in key] if isinstance(key, list) else self.rows.get(key)

    def iter(self) -> "Cursor":
        """Return what walks over the rows in key order."""
        return Cursor(self.rows)


class Cursor:
    """Walks over rows in key order."""

    def __init__(self, rows: dict[bytes, bytes]) -> None:
        self._rows, self._keys, self._at = rows, sorted(rows), 0

    def seek(self, key: bytes) -> None:
        """Go to the first row from `key` on."""
        self._at = bisect_left(self._keys, key)

    def valid(self) -> bool:
        """Return whether there is a row here."""
        return self._at < len(self._keys)

    def key(self) -> bytes:
        """Return the row's key."""
        return self._keys[self._at]

    def value(self) -> bytes:
        """Return the row's value."""
        return self._rows[self.key()]

    def next(self) -> None:
        """Go on."""
        self._at += 1

    def status(self) -> None:
        """Raise nothing: memory has no damaged blocks."""


class MemoryStore(Store):
    """The store with tables in memory: what it does with them is the real one's."""

    def __init__(self, disk: Disk, path: Path, recent_rows_max: int) -> None:
        self.disk, self.path = disk, path
        self._restoring = False
        image = copied(disk.images.setdefault(path, empty()))
        self._image = image
        self._tables: Any = {name: Table(image[name]) for name in (*Rows._fields, _TIMERS)}
        self._db: Any = Table(image[_OWN])
        self._recent_actors, self._recent_targets = RecentRows(recent_rows_max), RecentRows(recent_rows_max)

    def local(self) -> Local | None:
        try:
            return super().local()
        except DamagedError:
            # Whoever opens it deletes the directory.
            self._image = empty()
            raise

    def read_targets(self, users: list[bytes]) -> list[bytes | None]:
        self.disk.process.probe("read")
        return super().read_targets(users)

    def read_actors(self, keys: list[bytes]) -> list[bytes | None]:
        self.disk.process.probe("read")
        return super().read_actors(keys)

    def write(
        self, rows: Rows, meta: bytes | None, local: Local, timers: Sequence[Row] = (), passed: Sequence[Range] = ()
    ) -> None:
        self.disk.process.probe("restore" if self._restoring else "store")
        due = self._image[_TIMERS]
        for first, end in passed:
            for key in [key for key in due if first <= key < end]:
                del due[key]
        self._put(rows, meta, local, timers)
        if self.disk.log.random.random() < self.disk.flushes:
            self.flush()
        self.disk.process.probe("restored" if self._restoring else "stored")

    def write_changelog(self, records: Sequence[Row], local: Local) -> None:
        self._restoring = True
        super().write_changelog(records, local)
        self._restoring = False

    def _put(self, rows: Rows, meta: bytes | None, local: Local, timers: Sequence[Row] = ()) -> None:
        reached = msgspec.msgpack.encode(local)
        own: list[Row] = [] if meta is None else [(META_KEY, meta)]
        for name, theirs in (*zip(Rows._fields, rows, strict=True), (_TIMERS, timers), (_OWN, own)):
            table = self._image[name]
            table[_LOCAL_KEY] = reached
            for key, value in theirs:
                if value is None:
                    table.pop(key, None)
                else:
                    table[key] = value
        self._recent_actors.put(rows.actors)
        self._recent_targets.put(rows.targets)

    def erase(self, rows: Rows) -> None:
        """Do nothing: there are no files."""

    def erase_restored(self, deleted: Iterable[bytes]) -> None:
        """Do nothing: there are no files."""

    def flush(self) -> None:
        """Make everything durable, at once in all tables."""
        if self.disk.process.alive:
            self.disk.images[self.path] = copied(self._image)

    def close(self) -> None:
        self.flush()

    def destroy(self) -> None:
        del self.disk.images[self.path]


Opener = Callable[[Path, Cache], Store]


def opener(disk: Disk, kind: type[MemoryStore], recent_rows_max: int) -> Opener:
    """Return what opens stores on a disk."""
    return lambda path, _cache: kind(disk, path, recent_rows_max)
