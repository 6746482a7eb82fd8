"""How the gateway's read model lies on disk: its tables, their keys and values, and how rows of them are gone through.

Column families, with their keys and values (all numbers big-endian):

    scores    user id                                  offset (u8), then the newest change as it was published
    history   period (u2), user id, NUL, sequence (u8)  offset (u8), then the change; a period is PERIOD_DAYS of time
    days      user id, NUL, day (u4)                    offset (u8), then the last change of that day
              user id, NUL, REBORN                      when the first change of a later life was written, in ms (u8)
    log       partition (u2), offset (u8)               HERE and the change, or THERE and its key in `history`
    default   STATE_KEY: how far each partition is read

`history` holds every change of the last HISTORY_DAYS of event time and up to one period more; older periods go whole.
`days` keeps one point a day for ever. A day's point is written when the user's next day begins, and never again.
`log` is what a dropped stream goes on from: the newest LOG_CHANGES_MAX changes of each partition.
"""

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from rocksdict import BlockBasedOptions, Cache, DBCompressionType, Options, Rdict

from schemas.change import decode_change
from streams.store import MANIFEST_BYTES_MAX
from streams.topics import DAY_MS

HISTORY_DAYS: Final = 90
"""Days of event time for which every change is kept."""
PERIOD_DAYS: Final = 30

STATE_KEY: Final = b"\0state"
FORGOTTEN_KEY: Final = b"\0forgotten"
"""Has how many users were forgotten: a number of its own for each time."""
ERASED_KEY: Final = b"\0erased"
"""Has the number up to which they are gone from the files."""
FAMILIES: Final = ("scores", "history", "days", "log")
OFFSET: Final = struct.Struct(">Q")
PLACE: Final = struct.Struct(">HQ")
DAY: Final = struct.Struct(">I")
PERIOD: Final = struct.Struct(">H")
REBORN: Final = b"\xff" * 4
"""Stands in the place of a day that never comes."""
HERE: Final = b"\0"
THERE: Final = b"\1"
_WRITE_BUFFER_BYTES: Final = 64 << 20
_BLOOM_BITS_PER_KEY: Final = 10


class Point(NamedTuple):
    """A change as it is stored."""

    offset: int
    value: bytes


def period_number(at_ms: int) -> int:
    """Return the period of a time in ms."""
    return at_ms // (PERIOD_DAYS * DAY_MS)


def day_number(at_ms: int) -> int:
    """Return the day of a time, 0 for the first of 1970 and all before."""
    return max(0, at_ms) // DAY_MS


def horizon_ms(as_of_ms: int) -> int:
    """Return from when on every change is kept: the beginning of a day."""
    return day_number(as_of_ms - HISTORY_DAYS * DAY_MS) * DAY_MS


def user_of(value: bytes) -> bytes:
    """Return whom a row of the log is about."""
    if value[:1] == THERE:
        return value[1 + PERIOD.size : -len(b"\0") - OFFSET.size]
    return decode_change(value[1:]).user.encode()


def point_of(row: bytes) -> Point:
    """Read a row of any table but the log."""
    return Point(OFFSET.unpack_from(row)[0], row[OFFSET.size :])


def rows(table: Rdict, begin: bytes, end: bytes | None) -> Iterator[tuple[bytes, bytes]]:
    """Yield keys and values from a key on, up to another that is not reached, or to the end."""
    cursor = table.iter()
    cursor.seek(begin)
    while cursor.valid():
        key = cursor.key()
        if end is not None and key >= end:
            break
        yield key, cursor.value()
        cursor.next()
    cursor.status()


def rows_back(table: Rdict, prefix: bytes) -> Iterator[bytes]:
    """Yield the values of the keys that begin so, the last first; keys have more behind it."""
    cursor = table.iter()
    cursor.seek_for_prev(prefix + b"\xff" * 9)
    while cursor.valid() and cursor.key().startswith(prefix):
        yield cursor.value()
        cursor.prev()
    cursor.status()


def options(cache: Cache) -> Options:
    """Return how a table is opened."""
    blocks = BlockBasedOptions()
    blocks.set_block_cache(cache)
    blocks.set_bloom_filter(_BLOOM_BITS_PER_KEY, block_based=False)
    opened = Options(raw_mode=True)
    opened.create_if_missing(True)
    opened.create_missing_column_families(True)
    opened.set_block_based_table_factory(blocks)
    opened.set_db_write_buffer_size(_WRITE_BUFFER_BYTES)
    opened.set_compression_type(DBCompressionType.lz4())
    opened.set_max_manifest_file_size(MANIFEST_BYTES_MAX)
    opened.set_keep_log_file_num(2)
    return opened
