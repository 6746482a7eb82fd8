"""The RocksDB of one partition: tables of rows by key, and the position that they stand for.

Column families, each with the keys that its rows have in the changelog too:

    targets     user id
    actors      user id, NUL, network name
    ledger      LEDGER_KEY, then the number of the block's first row (u8, big-endian)
    forgotten   FORGOTTEN_KEY, then the keyed hash of a user id
    names       NAME_KEY, then the hash of a user id (`streams.actor_names`)
    default     META_KEY: the task's own record
    timers      in this copy only: due times, made from the rows of targets (`streams.timers`)
    every one   in this copy only, _LOCAL_KEY: the changelog offset that the family has reached

User ids hold no control characters, so a changelog key says by itself which table it belongs to.

The write-ahead log is off: the changelog is the durability, and `atomic_flush` keeps the families in step while the
store is open. Closing flushes one family after the other, and a crash or a full disk may come between: so each family
says how far it has come, and restore reads on from the oldest.
"""

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Final, NamedTuple, cast

import msgspec
import structlog
from rocksdict import (
    BlockBasedOptions,
    BottommostLevelCompaction,
    Cache,
    CompactOptions,
    DbClosedError,
    DBCompressionType,
    Options,
    Rdict,
    RdictIter,
    WriteBatch,
    WriteOptions,
)

from streams.actor_names import NAME_KEY, name_key
from streams.damage import DamagedError, check_lists_of_tables
from streams.errors import CloutError
from streams.frozen import Frozen, FrozenError, FrozenSet
from streams.timers import Range, restored_rows

_log = structlog.get_logger(__name__)

META_KEY: Final = b"\0meta"
"""Key of the task's record, in the changelog and here; written last in every batch."""
LEDGER_KEY: Final = b"\0ledger"
FORGOTTEN_KEY: Final = b"\0forgotten"
LOCAL_VERSION: Final = 2
"""Of how the tables of a local copy are laid out; version 1 had no timers."""
_LOCAL_KEY: Final = b"\0local"
_ERASED_KEY: Final = b"\0erased"
"""Written so that there is something to flush."""
_WRITE_BUFFER_BYTES: Final = 64 << 20
"""Of all tables of a partition together, before they are flushed."""
_BLOOM_BITS_PER_KEY: Final = 10
_KEYS_READ_AT_ONCE: Final = 1_024
MANIFEST_BYTES_MAX: Final = 1
"""A new list of tables is begun with each change of it: one that grows names the first and last key of every table
that ever was, and tables change seldom."""
_FIRST_USER: Final = b" "
"""User ids hold no control characters; keys of other kinds begin with one."""
_FREEZE_TRIES_MAX: Final = 100
_ERASED_RANGES_MAX: Final = 16
"""Keys of a table that are erased one by one."""

Row = tuple[bytes, bytes | None]
"""Key and value; None deletes."""


class Rows(NamedTuple):
    """Rows to write, by table."""

    actors: Sequence[Row] = ()
    targets: Sequence[Row] = ()
    ledger: Sequence[Row] = ()
    forgotten: Sequence[Row] = ()
    names: Sequence[Row] = ()

    def all(self) -> Iterator[Row]:
        """Yield the rows of all tables, as they go to the changelog."""
        return chain.from_iterable(self)

    def __bool__(self) -> bool:
        """Return whether there is any row."""
        return any(self)


def table_of(key: bytes) -> str:
    r"""Return the table that a changelog key belongs to; the task's own record is in none.

    >>> table_of(b"twitter:7"), table_of(b"twitter:7\0twitter"), table_of(META_KEY)
    ('targets', 'actors', '')
    """
    if b"\0" not in key:
        return "targets"
    if key[0]:
        return "actors"
    return next((table for prefix, table in _TABLE_OF_PREFIX.items() if key.startswith(prefix)), "")


_TABLE_OF_PREFIX: Final = {LEDGER_KEY: "ledger", FORGOTTEN_KEY: "forgotten", NAME_KEY: "names"}
_LOCAL_TABLES: Final = ("timers",)
"""Tables that are not in the changelog."""
_LOOKED_UP: Final = ("actors", "targets", "forgotten")
"""Tables of which batches ask for keys that are in no file. Of the others hardly any key is asked for, and none that is
not there."""


_HIT_SHARE_MIN: Final = 1 / 8
"""Share of rows found below which holding rows costs more than it saves."""
_ABSENT: Final[bytes] = bytes(bytearray(b"absent"))
"""Stands for a row that is not held, which is not the same as one that does not exist; known by identity."""


class _LocalVersion(msgspec.Struct):
    version: int = LOCAL_VERSION


class Local(msgspec.Struct, frozen=True):
    """What only this copy knows about itself."""

    changelog_topic_id: str
    changelog_end: int
    """Offset after the last changelog record that is in this store."""
    written_at_seconds: float
    """Wall clock of the last write; tells whether compacted deletions may have been missed."""
    version: int = LOCAL_VERSION
    """Of the copy as a whole; the first ones did not say it."""


def actor_key(user: bytes, network: bytes) -> bytes:
    r"""Return the key of an actor's row.

    >>> actor_key(b"twitter:7", b"twitter")
    b'twitter:7\x00twitter'
    """
    return user + b"\0" + network


class RecentRows:
    """The rows last read or written, so that busy users cost no look-up; at most two generations of `rows_max`.

    Where hardly anybody comes twice it only costs: then it holds nothing for a while and tries again.

    >>> recent = RecentRows(2)
    >>> recent.get([b"a"], lambda keys: [b"1"] * len(keys)), recent.get([b"a"], lambda keys: [])
    ([b'1'], [b'1'])
    """

    def __init__(self, rows_max: int, *, batch_rows_min: int = 1_000, resting_reads: int = 16) -> None:
        """Begin empty; fewer than `batch_rows_min` rows at once say nothing of how often somebody comes back."""
        self.rows_max = rows_max
        self._batch_rows_min = batch_rows_min
        self._resting_reads = resting_reads
        self._resting = 0
        self._recent: dict[bytes, bytes | None] = {}
        self._older: dict[bytes, bytes | None] = {}

    def get(self, keys: list[bytes], read: Callable[[list[bytes]], list[bytes | None]]) -> list[bytes | None]:
        """Return the rows of `keys`; those not held are read."""
        if self._resting:
            self._resting -= 1
            return read(keys)
        recent, older, absent = self._recent, self._older, _ABSENT
        rows = [recent.get(key, absent) for key in keys]
        at = [place for place, row in enumerate(rows) if row is absent]
        for place in at:
            rows[place] = older.get(keys[place], absent)
        at = [place for place in at if rows[place] is absent]
        if at:
            missing = [keys[place] for place in at]
            for place, row in zip(at, read(missing), strict=True):
                rows[place] = row
        self.put(zip(keys, rows, strict=True))
        if len(keys) >= self._batch_rows_min and len(keys) - len(at) < len(keys) * _HIT_SHARE_MIN:
            self._recent, self._older, self._resting = {}, {}, self._resting_reads
        return rows

    def put(self, rows: Iterable[Row]) -> None:
        """Hold these rows."""
        if self._resting:
            return
        self._recent.update(rows)
        if len(self._recent) > self.rows_max:
            self._recent, self._older = {}, self._recent


class Store:
    """The tables of one partition; one writer, any number of readers."""

    def __init__(self, path: Path, cache: Cache, recent_rows_max: int = 50_000) -> None:
        """Open the store at `path`, made when missing; raise `DamagedError` where RocksDB would not come back."""
        path.parent.mkdir(parents=True, exist_ok=True)
        check_lists_of_tables(path)
        self.path = path
        families = {name: _options(cache, is_looked_up=name in _LOOKED_UP) for name in (*Rows._fields, *_LOCAL_TABLES)}
        self._db = Rdict(str(path), _options(cache), column_families=families)
        self._write_options = WriteOptions()
        self._write_options.disable_wal = True  # type: ignore[method-assign,assignment]
        self._db.set_write_options(self._write_options)
        self._tables: dict[str, Rdict] = {name: self._db.get_column_family(name) for name in families}
        self._handles = {name: self._db.get_column_family_handle(name) for name in families}
        self._recent_actors, self._recent_targets = RecentRows(recent_rows_max), RecentRows(recent_rows_max)
        self._frozen = FrozenSet()

    def meta(self) -> bytes | None:
        """Return the task's record."""
        value: bytes | None = self._db.get(META_KEY)
        return value

    def local(self) -> Local | None:
        """Return what this copy knows about itself, as of the table that is least far; None in a new one.

        Raise `DamagedError` when some tables know and others do not: files are missing; `CloutError` when the copy was
        written by a release that this one does not know.
        """
        values: list[bytes | None] = [family.get(_LOCAL_KEY) for family in (self._db, *self._tables.values())]
        told = [self._read_local(value) for value in values if value is not None]
        if 0 < len(told) < len(values):
            raise DamagedError("some tables do not say how far they have come, and others do")
        return min(told, key=lambda local: local.changelog_end, default=None)

    def _read_local(self, value: bytes) -> Local:
        try:
            # Before the rest: the fields of another version may differ.
            version = msgspec.msgpack.decode(value, type=_LocalVersion).version
            if version == 1:
                raise DamagedError("this copy was written by an earlier release, which kept no timers")
            if version != LOCAL_VERSION:
                raise CloutError(
                    f"the local state has format version {version}",
                    detail=f"{self.path}; this program reads version {LOCAL_VERSION}",
                    hint="use the release that wrote it, or delete that directory: it is made anew from the changelog",
                )
            return msgspec.msgpack.decode(value, type=Local)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise DamagedError(f"how far this copy has come cannot be read: {error}") from error

    def read_actors(self, keys: list[bytes]) -> list[bytes | None]:
        """Return the actors' rows, None where there is none; for the writer alone."""
        return self._recent_actors.get(keys, _reader(self._tables["actors"]))

    def read_targets(self, users: list[bytes]) -> list[bytes | None]:
        """Return the targets' rows, None where there is none; for the writer alone."""
        return self._recent_targets.get(users, _reader(self._tables["targets"]))

    def target(self, user: bytes) -> bytes | None:
        """Return one target's row, for any reader."""
        row: bytes | None = self._tables["targets"].get(user)
        return row

    def names_of(self, hashes: Sequence[int]) -> list[bytes | None]:
        """Return the ids that hashes of contributors stand for, None where no name is kept; for any reader."""
        return _reader(self._tables["names"])([name_key(hash_) for hash_ in hashes])

    def ledger_block(self, key: bytes) -> bytes | None:
        """Return one block of the ledger."""
        block: bytes | None = self._tables["ledger"].get(key)
        return block

    def scan(self, table: str) -> Iterator[tuple[bytes, bytes]]:
        """Yield all rows of a table in key order; for the writer alone."""
        return _rows_from(self._tables[table], b"")

    def name(self, key: bytes) -> bytes | None:
        """Return one name, for any reader."""
        name: bytes | None = self._tables["names"].get(key)
        return name

    def timers_between(self, first: bytes, end: bytes, keys_max: int) -> list[bytes]:
        """Return the keys of due times from one on, up to another that it does not reach; for the writer alone."""
        cursor, keys = self._tables["timers"].iter(), list[bytes]()
        cursor.seek(first)
        valid, key_here, go_on, append = cursor.valid, cursor.key, cursor.next, keys.append
        while len(keys) < keys_max and valid():
            key = key_here()
            if key >= end:
                break
            append(key)
            go_on()
        cursor.status()
        return keys

    def write(
        self, rows: Rows, meta: bytes | None, local: Local, timers: Sequence[Row] = (), passed: Sequence[Range] = ()
    ) -> None:
        """Write rows, the task's record, the changelog offset reached and due times, as one batch.

        Due times in the ranges `passed` are deleted before others are written.
        """
        batch = WriteBatch(raw_mode=True)
        put, delete = batch.put, batch.delete
        for first, end in passed:
            batch.delete_range(first, end, self._handles["timers"])
        for table, theirs in (*zip(Rows._fields, rows, strict=True), ("timers", timers)):
            handle = self._handles[table]
            for key, value in theirs:
                if value is None:
                    delete(key, handle)
                else:
                    put(key, value, handle)
        if meta is not None:
            batch.put(META_KEY, meta)
        reached = msgspec.msgpack.encode(local)
        batch.put(_LOCAL_KEY, reached)
        for handle in self._handles.values():
            batch.put(_LOCAL_KEY, reached, handle)
        self._db.write(batch, self._write_options)
        self._recent_actors.put(rows.actors)
        self._recent_targets.put(rows.targets)

    def write_changelog(self, records: Sequence[Row], local: Local) -> None:
        """Write records as they stand in the changelog, and the offset after them."""
        meta: bytes | None = None
        rows: dict[str, list[Row]] = {name: [] for name in Rows._fields}
        for key, value in records:
            table = table_of(key)
            if table:
                rows[table].append((key, value))
            elif key == META_KEY:
                meta = value
        # The last record of a user counts; what is there of them may have due times of its own.
        latest = dict(rows["targets"])
        users = list(latest)
        timers = restored_rows(users, _reader(self._tables["targets"])(users), list(latest.values())) if users else []
        self.write(Rows(**rows), meta, local, timers)

    def scan_targets(self, after: bytes, rows_max: int) -> list[tuple[bytes, bytes]]:
        """Return up to `rows_max` users and rows that follow the key `after`, in key order.

        A bounded piece at a time, so that no reader keeps an iterator open while the partition moves.
        """
        return list(islice(_rows_from(self._tables["targets"], after + b"\0"), rows_max))

    def freeze(self) -> Frozen:
        """Return all users and the task's record as of the last commit; `thaw` it soon. Raise `FrozenError`."""
        return self._frozen.add(self._freeze)

    def thaw(self, frozen: Frozen) -> None:
        """Drop what `freeze` returned."""
        self._frozen.remove(frozen)

    def _freeze(self) -> Frozen:
        """Begin to read two tables, again if a commit came between."""
        try:
            for _ in range(_FREEZE_TRIES_MAX):
                tasks, users = self._db.iter(), self._tables["targets"].iter()
                told, meta = _value_at(users, _LOCAL_KEY), _value_at(tasks, META_KEY)
                if told is not None and meta is not None and told == _value_at(tasks, _LOCAL_KEY):
                    end = self._read_local(told).changelog_end
                    # Entries are never taken away, so none now is none as of then.
                    forgotten = next(_rows_from(self._tables["forgotten"], b""), None) is not None
                    users.seek(_FIRST_USER)
                    return Frozen(users, meta, changelog_end=end, anyone_forgotten=forgotten)
        except DbClosedError as error:
            raise FrozenError("the partition was closed") from error
        raise FrozenError("the partition has no record of its own yet", hint="try again when something was processed")

    def erase(self, rows: Rows) -> None:
        """Make RocksDB rewrite the files that former versions of these rows lie in, so that no file has them any more.

        A row deleted or written anew stays in the files until they are merged some day. Costs a flush, and about one
        file a level for each key; many keys of a table are taken together, with all that lies between them. Where it is
        about users, so is all of the table of due times: nobody knows what it had of them before.
        """
        self._frozen.clear()
        if rows.targets:
            self._tables["timers"].compact_range(None, None, rewriting())
        for name, theirs in zip(Rows._fields, rows, strict=True):
            keys = sorted(key for key, _ in theirs)
            ranges = [(key, key) for key in keys] if len(keys) <= _ERASED_RANGES_MAX else [(keys[0], keys[-1])]
            for first, last in ranges:
                self._tables[name].compact_range(first, last + b"\0", rewriting())
        self._begin_list()

    def erase_restored(self, deleted: Iterable[bytes]) -> None:
        """Do the same after a restore that brought deletions of users: also for all blocks, which may have named them.

        Nobody else is ever deleted, and the restore has seen the blocks only as they are now.
        """
        keys = list(deleted)
        actors: list[Row] = [(key, None) for key in keys if table_of(key) == "actors"]
        targets: list[Row] = [(key, None) for key in keys if table_of(key) == "targets"]
        names: list[Row] = [(key, None) for key in keys if table_of(key) == "names"]
        if actors or targets or names:
            self._tables["ledger"].compact_range(None, None, rewriting())
            self.erase(Rows(actors, targets, names=names))

    def _begin_list(self) -> None:
        # The list of tables still names those that were rewritten; the next one does not.
        self._db.put(_ERASED_KEY, b"")
        self._db.flush()

    def close(self) -> None:
        """Flush what is in memory and close; what cannot be flushed, the changelog has. Closed twice is closed."""
        problems = self._release()
        if problems:
            _log.warning("local state was not flushed, the changelog has it", path=str(self.path), reason=problems[0])

    def destroy(self) -> None:
        """Close and delete the local copy; the changelog has all of it."""
        self._release()
        shutil.rmtree(self.path, ignore_errors=True)

    def _release(self) -> list[str]:
        """Close all families, each of which is flushed by that; return what went wrong."""
        # A handle or an iterator keeps the database, and so its lock, alive after close().
        self._frozen.clear(for_good=True)
        self._handles.clear()
        problems = []
        for family in (*self._tables.values(), self._db):
            try:
                family.close()
            except DbClosedError:
                pass
            except Exception as error:  # noqa: BLE001  RocksDB's errors have no type of their own
                problems.append(str(error))
        return problems


def _rows_from(table: Rdict, key: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the rows from `key` on. Rdict.items() would end at a damaged block as if it were the table's end."""
    rows = table.iter()
    rows.seek(key)
    while rows.valid():
        found: bytes = rows.key()
        if found != _LOCAL_KEY:
            yield found, rows.value()
        rows.next()
    rows.status()


def _value_at(rows: RdictIter, key: bytes) -> bytes | None:
    rows.seek(key)
    found: bytes | None = rows.value() if rows.valid() and rows.key() == key else None
    rows.status()
    return found


def _reader(table: Rdict) -> Callable[[list[bytes]], list[bytes | None]]:
    """Return the table's multi-get, a piece at a time: for all at once RocksDB needs much fresh memory each time.

    A key costs 1.0 µs so, and 1.9 in one piece of 45,000.
    """
    # What it is with lists of keys in raw mode.
    get = cast("Callable[[list[bytes]], list[bytes | None]]", table.get)

    def read(keys: list[bytes]) -> list[bytes | None]:
        if len(keys) <= _KEYS_READ_AT_ONCE:
            return get(keys)
        pieces = (keys[at : at + _KEYS_READ_AT_ONCE] for at in range(0, len(keys), _KEYS_READ_AT_ONCE))
        return list(chain.from_iterable(map(get, pieces)))

    return read


def rewriting() -> CompactOptions:
    """Return options of a compaction that rewrites all files: else a mere deletion is moved to the last level whole."""
    options = CompactOptions()
    options.set_bottommost_level_compaction(BottommostLevelCompaction.force())
    return options


def _options(cache: Cache, *, is_looked_up: bool = False) -> Options:
    """Return the options of a table; filters cost a fifth of what it takes to write a row."""
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.create_missing_column_families(True)
    options.set_atomic_flush(True)
    options.set_paranoid_checks(True)
    options.set_write_buffer_size(_WRITE_BUFFER_BYTES)
    options.set_db_write_buffer_size(_WRITE_BUFFER_BYTES)
    # One task writes: nothing is gained by letting others in between.
    options.set_allow_concurrent_memtable_write(False)
    # Sums, hashes and weights are as good as random: to compress them costs much and saves little.
    options.set_compression_type(DBCompressionType.none())
    options.set_keep_log_file_num(2)
    options.set_max_manifest_file_size(MANIFEST_BYTES_MAX)
    table = BlockBasedOptions()
    table.set_block_cache(cache)
    if is_looked_up:
        # Most keys of a batch of new users are in no file: a filter on the memtable answers those without a search.
        options.set_memtable_prefix_bloom_ratio(0.05)
        options.set_memtable_whole_key_filtering(True)
        table.set_bloom_filter(_BLOOM_BITS_PER_KEY, False)
    options.set_block_based_table_factory(table)
    return options
