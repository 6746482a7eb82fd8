"""Whose time has come: hints in the store, in the order of their time, by which decay shows when it should.

A key of the table `timers` is

    network's code (u2, big-endian) · due time (u8, big-endian, ms of that network's clock) · user id

and there is one for each due time in the rows of users (`scorer.timers`), so what it costs to look is what is due, and
nobody sweeps the population. The table is in the local copy alone: restore makes it from the rows. A due time that
is read is held against the user's row, which decides.
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from itertools import chain, repeat
from typing import Final, NamedTuple

import numpy as np

from scorer.target_state import Dues, stored_dues
from scorer.timers import NEVER, Moved

DUE_MAX: Final = 10_000
"""Due times that a batch takes: others wait for the next one, so that events are not held up."""
RANGE_KEYS_MIN: Final = 1_000
"""Due times of a network, read one after the other, from which on they are deleted as one range.

It spares a sixth of what it costs to fire a timer. RocksDB keeps ranges and holds every key that it reads against them,
so there are none where little is due.
"""

_NETWORK_BYTES: Final = 2
_TIME_BYTES: Final = 8
_HEAD_BYTES: Final = _NETWORK_BYTES + _TIME_BYTES
_TIME_BITS: Final = 48
"""As many hold ms far beyond the year 2099."""
_KEY_HEAD: Final = np.dtype([("network", ">u2"), ("time", ">u8")])

Row = tuple[bytes, bytes | None]
Range = tuple[bytes, bytes]
"""Keys from the first on, up to the second, which is not among them."""


class Due(NamedTuple):
    """What a key says."""

    network: int
    time_ms: int
    user: bytes


def timer_key(due: Due) -> bytes:
    r"""Return the key of a due time.

    >>> timer_key(Due(1, 258, b"twitter:7"))
    b'\x00\x01\x00\x00\x00\x00\x00\x00\x01\x02twitter:7'
    """
    return due.network.to_bytes(_NETWORK_BYTES, "big") + due.time_ms.to_bytes(_TIME_BYTES, "big") + due.user


def due_of(key: bytes) -> Due:
    """Read a key.

    >>> due_of(timer_key(Due(1, 258, b"twitter:7")))
    Due(network=1, time_ms=258, user=b'twitter:7')
    """
    time_ms = int.from_bytes(key[_NETWORK_BYTES:_HEAD_BYTES], "big")
    return Due(int.from_bytes(key[:_NETWORK_BYTES], "big"), time_ms, key[_HEAD_BYTES:])


class Found(NamedTuple):
    """Due times that have come."""

    keys: list[bytes]
    """In order, all that there are of a network up to its last."""
    last: dict[int, bytes]
    """The last of these keys of each network that has any, in order."""

    @property
    def users(self) -> list[bytes]:
        """Return whose they are; who has several is there as often."""
        return [key[_HEAD_BYTES:] for key in self.keys]


NOTHING_DUE: Final = Found([], {})


def keys_of(dues: Dues, users: Sequence[bytes]) -> list[bytes]:
    """Return the keys of due times, by network and time; `users` are those that `dues.row` counts.

    >>> [key] = keys_of(Dues(*np.array([[0], [1], [258]])), [b"twitter:7"])
    >>> due_of(key)
    Due(network=1, time_ms=258, user=b'twitter:7')
    """
    chosen = np.flatnonzero((dues.time > 0) & (dues.time < NEVER))
    network, time = dues.network[chosen].astype(np.int64), dues.time[chosen]
    # RocksDB takes keys in order faster, and numbers are sorted in a fraction of the time that keys are.
    order = np.argsort(network << _TIME_BITS | time)
    chosen = chosen[order]
    heads = np.empty(len(chosen), _KEY_HEAD)
    heads["network"], heads["time"] = network[order], time[order]
    data = heads.tobytes()
    places = zip(range(0, len(data), _HEAD_BYTES), dues.row[chosen].tolist(), strict=True)
    return [data[at : at + _HEAD_BYTES] + users[place] for at, place in places]


class MovedRows(NamedTuple):
    """What moves due times, to be written in this order."""

    passed: list[Range]
    """What is deleted as a whole."""
    rows: list[Row]
    """What is deleted one by one, and what comes instead."""


def moved_rows(moved: Moved, users: Sequence[bytes], seen: Found = NOTHING_DUE) -> MovedRows:
    """Return what moves due times, and deletes those that it moves and what was seen.

    >>> moved = Moved(*np.array([[0], [1], [258], [259]]))
    >>> key = timer_key(Due(1, 258, b"twitter:7"))
    >>> passed, rows = moved_rows(moved, [b"twitter:7"], Found([key], {1: key}))
    >>> passed, [(due_of(key).time_ms, value) for key, value in rows]
    ([], [(258, None), (259, b'')])
    """
    before = Dues(moved.user, moved.network, moved.before)
    after = keys_of(before._replace(time=moved.after), users)
    passed, others = _passed(seen)
    for _, end in passed:
        last = due_of(end)
        in_range = (before.network == last.network) & (before.time < last.time_ms)
        before = before._replace(time=np.where(in_range, NEVER, before.time))
    # Two lists in order, which Python merges as it sorts them.
    deleted = sorted(dict.fromkeys(chain(others, keys_of(before, users))))
    return MovedRows(passed, [*zip(deleted, repeat(None)), *zip(after, repeat(b""))])


def _passed(seen: Found) -> tuple[list[Range], list[bytes]]:
    """Return the ranges that were read through and hold nothing else, and the keys that are in none of them."""
    passed, others, begin = list[Range](), list[bytes](), 0
    for last in seen.last.values():
        end = bisect_right(seen.keys, last, begin)
        if end - begin >= RANGE_KEYS_MIN:
            passed.append((seen.keys[begin], last + b"\0"))
        else:
            others += seen.keys[begin:end]
        begin = end
    return passed, others


def restored_rows(users: Sequence[bytes], before: Sequence[bytes | None], after: Sequence[bytes | None]) -> list[Row]:
    """Return the rows that bring the table in line with rows of users that are written as they are in the changelog."""
    deleted = zip(keys_of(stored_dues(before), users), repeat(None))
    return [*deleted, *zip(keys_of(stored_dues(after), users), repeat(b""))]


def _earliest(moved: Moved | None) -> dict[int, int]:
    """Return the earliest due time, in ms, that was moved to on each network."""
    if moved is None:
        return {}
    later = moved.after > 0
    return {
        network: int(moved.after[(moved.network == network) & later].min(initial=NEVER))
        for network in np.unique(moved.network).tolist()
    }


class Timers:
    """The due times of one partition, as its task reads them."""

    def __init__(self, keys_between: Callable[[bytes, bytes, int], list[bytes]]) -> None:
        """Take what reads the keys of the table from one to another that it does not reach, at most so many."""
        self._keys_between = keys_between
        self._from: dict[int, bytes] = {}
        """By network: no earlier key is left. What was deleted before it is not looked through again."""
        self.pending = True
        """Whether there may be more that is due, without any clock moving."""

    def due(self, clocks_ms: Mapping[int, int]) -> Found:
        """Return what is due by the clocks (in ms by the networks' codes), at most `DUE_MAX`, the earliest first."""
        found = Found([], {})
        for network, clock_ms in sorted(clocks_ms.items()):
            begin = self._from.get(network, timer_key(Due(network, 0, b"")))
            keys = self._keys_between(begin, timer_key(Due(network, clock_ms + 1, b"")), DUE_MAX - len(found.keys))
            if keys:
                found.keys.extend(keys)
                found.last[network] = keys[-1]
        return found

    def committed(self, seen: Found | None, moved: Moved | None, clocks_ms: Mapping[int, int]) -> None:
        """Take note that these were looked at, None when nobody looked, and that due times were moved."""
        if seen is None:
            self.pending = True
            return
        pending = len(seen.keys) >= DUE_MAX
        self._from.update(seen.last)
        for network, first_ms in _earliest(moved).items():
            first = timer_key(Due(network, first_ms, b""))
            if first < self._from.get(network, b""):
                self._from[network] = first
            pending = pending or first_ms <= clocks_ms.get(network, -1)
        # At once: others read it.
        self.pending = pending
