"""Cut the rows of a batch into packed records, and join packed records into a batch."""

from collections import deque
from collections.abc import Sequence
from itertools import chain
from typing import Any, Final, Generic, NamedTuple, TypeVar

import numba
import numpy as np
from numpy.typing import NDArray

from schemas.limits import LANE_RECORD_BYTES_MAX, LANE_RECORD_ROWS_MAX
from schemas.packed import Columns, Record, encode

Index = NDArray[np.uint32]
T = TypeVar("T")

_FRAME_BYTES_MAX: Final = 50_000
"""Of a record, all but users, labels and columns: the names of networks, and what MessagePack adds."""


class Rows(NamedTuple):
    """Rows of a batch; the columns `actor` and `target` (and accounts) index the lists, as u4."""

    kind: str
    networks: list[str]
    labels: list[str]
    actors: list[bytes]
    targets: list[bytes]
    columns: Columns

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.columns["target"])


@numba.njit(cache=True, nogil=True)
def renumber(index: Any, slots: Any, kept: Any, renumbered: Any) -> int:
    """Number the distinct values of `index` by first appearance; `slots` is all zero before and after."""
    count = 0
    for row in range(len(index)):
        value = index[row]
        slot = slots[value]
        if slot == 0:
            kept[count] = value
            count += 1
            slot = count
            slots[value] = slot
        renumbered[row] = slot - 1
    for at in range(count):
        slots[kept[at]] = 0
    return count


class _Renumberer(Generic[T]):
    """Distinct users, or labels, of a selection of rows, with scratch space for one batch."""

    def __init__(self, entries: list[T]) -> None:
        self.entries = entries
        self.slots = np.zeros(len(entries), np.uint32)
        self.kept = np.empty(len(entries), np.uint32)

    def __call__(self, index: Index) -> tuple[list[T], NDArray[np.uint16]]:
        renumbered = np.empty(len(index), np.uint16)
        count = renumber(index, self.slots, self.kept, renumbered)
        entries = self.entries
        return [entries[at] for at in self.kept[:count].tolist()], renumbered


def cut(
    rows: Rows,
    groups: Sequence[tuple[int, NDArray[np.intp]]],
    rows_max: int,
) -> list[tuple[int, bytes]]:
    """Return `(group, record bytes)` for groups of row numbers, in order, each record within the limits."""
    actors, targets, labels = _Renumberer(rows.actors), _Renumberer(rows.targets), _Renumberer(rows.labels)
    out: list[tuple[int, bytes]] = []
    most = min(rows_max, LANE_RECORD_ROWS_MAX // 2)
    # Of one size: a record costs its reader much the same, however few rows it has.
    parts = deque((group, part) for group, chosen in groups for part in np.array_split(chosen, -(-len(chosen) // most)))
    # Not by a function within that calls itself: such a one is a cycle, and keeps the whole batch until cycles are
    # looked for, which is seldom.
    while parts:
        group, chosen = parts.popleft()
        columns = {name: column[chosen] if len(column) else column for name, column in rows.columns.items()}
        actor_list, columns["actor"], columns["actor_account"] = _users_and_accounts(
            actors, columns["actor"], columns["actor_account"]
        )
        target_list, columns["target"], columns["target_account"] = _users_and_accounts(
            targets, columns["target"], columns["target_account"]
        )
        label_list = rows.labels
        if len(label_list) > 1:
            # Collectors may have a name an event: all of a batch in each of its records would burst them.
            label_list, columns["label"] = labels(columns["label"])
        texts_bytes = sum(map(len, actor_list)) + sum(map(len, target_list)) + sum(map(_text_bytes, label_list))
        texts = len(actor_list) + len(target_list) + len(label_list)
        width = sum(column.itemsize for column in columns.values())
        # MessagePack adds at most five bytes an element and a few for the frame.
        if texts_bytes + 5 * texts + width * len(chosen) > LANE_RECORD_BYTES_MAX - _FRAME_BYTES_MAX:
            if len(chosen) == 1:
                raise ValueError(f"a row of {texts_bytes} bytes fits no record of {LANE_RECORD_BYTES_MAX}")
            half = len(chosen) // 2
            parts.extendleft([(group, chosen[half:]), (group, chosen[:half])])
            continue
        record = Record(
            rows.kind,
            len(chosen),
            rows.networks,
            label_list,
            actor_list,
            target_list,
            columns,
        )
        out.append((group, encode(record)))
    return out


def _text_bytes(text: str) -> int:
    return len(text.encode())


def _users_and_accounts(
    renumber: _Renumberer[bytes], users: Index, accounts: Index
) -> tuple[list[bytes], NDArray[np.uint16], NDArray[np.uint16]]:
    if not len(accounts):
        kept, renumbered = renumber(users)
        return kept, renumbered, np.empty(0, np.uint16)
    kept, renumbered = renumber(np.concatenate([users, accounts]))
    return kept, renumbered[: len(users)], renumbered[len(users) :]


def renumbering(index: NDArray[np.int64], size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the distinct values of `index` (all below `size`) in ascending order, and each element's number.

    >>> [part.tolist() for part in renumbering(np.array([7, 3, 7]), 8)]
    [[3, 7], [1, 0, 1]]
    """
    kept = np.flatnonzero(np.bincount(index, minlength=size))
    numbers = np.empty(size, np.int64)
    numbers[kept] = np.arange(len(kept))
    return kept, numbers[index]


def groups_of(group: NDArray[Any], count: int) -> list[tuple[int, NDArray[np.intp]]]:
    """Return the row numbers of each group present, in row order.

    >>> [(g, r.tolist()) for g, r in groups_of(np.array([1, 0, 1], "u1"), 3)]
    [(0, [1]), (1, [0, 2])]
    """
    # NumPy sorts numbers of 16 bits and less by counting, others by comparing, which takes ten times as long.
    order = np.argsort(group.astype(np.min_scalar_type(count)), kind="stable")
    bounds = np.searchsorted(group[order], np.arange(count + 1))
    return [(g, order[bounds[g] : bounds[g + 1]]) for g in range(count) if bounds[g] < bounds[g + 1]]


def distinct(lists: Sequence[list[bytes]]) -> tuple[list[bytes], list[NDArray[np.uint32]]]:
    """Return the distinct users of several lists in order, and for each list the numbers of its users among them.

    In order, because RocksDB reads and writes sorted keys in half the time, which is more than the sorting takes.

    >>> users, numbers = distinct([[b"b", b"a"], [b"b", b"c"]])
    >>> users, [n.tolist() for n in numbers]
    ([b'a', b'b', b'c'], [[1, 0], [1, 2]])
    """
    return _numbered(sorted(dict.fromkeys(chain.from_iterable(lists))), lists)


def distinct_as_seen(lists: Sequence[list[bytes]]) -> tuple[list[bytes], list[NDArray[np.uint32]]]:
    """Return the distinct users of several lists in the order of the lists, and their numbers in each: no row is read.

    >>> users, numbers = distinct_as_seen([[b"b", b"a"], [b"b", b"c"]])
    >>> users, [n.tolist() for n in numbers]
    ([b'b', b'a', b'c'], [[0, 1], [0, 2]])
    """
    return _numbered(list(dict.fromkeys(chain.from_iterable(lists))), lists)


def _numbered(everyone: list[bytes], lists: Sequence[list[bytes]]) -> tuple[list[bytes], list[NDArray[np.uint32]]]:
    number = dict(zip(everyone, range(len(everyone)), strict=True)).__getitem__
    return everyone, [np.fromiter(map(number, users), np.uint32, len(users)) for users in lists]


def joined(records: Sequence[Record], name: str) -> NDArray[Any]:
    """Return one column of several records, one after the other."""
    if len(records) == 1:
        return records[0].columns[name]
    return np.concatenate([record.columns[name] for record in records])


def renumbered(records: Sequence[Record], name: str, numbers: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return an index column of several records, translated by each record's own numbers."""
    # NumPy looks short indices up in a third of the time so than by brackets, which make long ones of them first.
    return np.concatenate([n.take(record.columns[name]) for record, n in zip(records, numbers, strict=True)])
