"""Whose time has come: hints in the store, in the order of their time, by which decay shows when it should.

A key of the table `timers` is

    network's code (u2, big-endian) · due time (u8, big-endian, ms of that network's clock) · user id

and there is one for each due time in the rows of users (`scorer.timers`), so what it costs to look is what is due, and
nobody sweeps the population. The table is in the local copy alone: restore makes it from the rows. A due time that
is read is held against the user's row, which decides.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from scorer.target_state import Dues, stored_dues
from scorer.timers import NEVER, Moved

DUE_MAX: Final = 10_000
"""Due times that a batch takes: others wait for the next one, so that events are not held up."""

_NETWORK_BYTES: Final = 2
_TIME_BYTES: Final = 8
_HEAD_BYTES: Final = _NETWORK_BYTES + _TIME_BYTES
_KEY_HEAD: Final = np.dtype([("network", ">u2"), ("time", ">u8")])

Row = tuple[bytes, bytes | None]


class Due(NamedTuple):
    """A due time that has come."""

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


def rows_of(dues: Dues, users: Sequence[bytes], value: bytes | None) -> list[Row]:
    """Return the rows that write (or, with None, delete) due times; `users` are those that `dues.row` counts.

    >>> [(key, value)] = rows_of(Dues(*np.array([[0], [1], [258]])), [b"twitter:7"], b"")
    >>> due_of(key), value
    (Due(network=1, time_ms=258, user=b'twitter:7'), b'')
    """
    chosen = (dues.time > 0) & (dues.time < NEVER)
    return _rows(dues.row[chosen], dues.network[chosen], dues.time[chosen], users, value)


def moved_rows(moved: Moved, users: Sequence[bytes]) -> list[Row]:
    """Return the rows that move due times."""
    before = Dues(moved.user, moved.network, moved.before)
    return rows_of(before, users, None) + rows_of(before._replace(time=moved.after), users, b"")


def restored_rows(users: Sequence[bytes], before: Sequence[bytes | None], after: Sequence[bytes | None]) -> list[Row]:
    """Return the rows that bring the table in line with rows of users that are written as they are in the changelog."""
    return rows_of(stored_dues(before), users, None) + rows_of(stored_dues(after), users, b"")


class Timers:
    """The due times of one partition, as its task reads them."""

    def __init__(self, keys_from: Callable[[bytes], Iterator[bytes]]) -> None:
        """Take what yields the keys of the table from one on."""
        self._keys_from = keys_from
        self._from: dict[int, bytes] = {}
        """By network: no earlier key is left. What was deleted before it is not looked through again."""
        self.pending = True
        """Whether there may be more that is due, without any clock moving."""

    def due(self, clocks_ms: Mapping[int, int]) -> list[Due]:
        """Return what is due by the clocks (in ms by the networks' codes), at most `DUE_MAX`, the earliest first."""
        found: list[Due] = []
        for network, clock_ms in clocks_ms.items():
            begin = self._from.get(network, timer_key(Due(network, 0, b"")))
            for key in islice(self._keys_from(begin), DUE_MAX - len(found)):
                due = due_of(key)
                if due.network != network or due.time_ms > clock_ms:
                    break
                found.append(due)
        return found

    def committed(self, due: Sequence[Due] | None, written: Sequence[Row], clocks_ms: Mapping[int, int]) -> None:
        """Take note that these were looked at, None when nobody looked, and that these rows were written."""
        if due is None:
            self.pending = True
            return
        self.pending = len(due) >= DUE_MAX
        for seen in due:
            self._from[seen.network] = timer_key(seen)
        for key, value in written:
            if value is None:
                continue
            network = int.from_bytes(key[:_NETWORK_BYTES], "big")
            if key < self._from.get(network, b""):
                self._from[network] = key
            if int.from_bytes(key[_NETWORK_BYTES:_HEAD_BYTES], "big") <= clocks_ms.get(network, -1):
                self.pending = True


def _rows(
    at: NDArray[np.int64],
    network: NDArray[np.int64],
    time: NDArray[np.int64],
    users: Sequence[bytes],
    value: bytes | None,
) -> list[Row]:
    heads = np.empty(len(at), _KEY_HEAD)
    heads["network"], heads["time"] = network, time
    data = heads.tobytes()
    return [
        (data[_HEAD_BYTES * number : _HEAD_BYTES * (number + 1)] + users[place], value)
        for number, place in enumerate(at.tolist())
    ]
