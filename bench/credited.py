"""What the same changes cost when credits bring them: users who have not been read lately, one credit each."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.load import NETWORK
from schemas.kinds import KINDS
from schemas.packed import COLUMNS, CREDITS, Record, Stamp, encode, encode_key
from schemas.users import user_hashes
from streams.intake import Verdict
from streams.task import Task
from streams.task_state import TARGETS
from streams.timers import DUE_MAX

_GENERATION: Final = 1
_SEED: Final = 7
_RECORD_ROWS: Final = DUE_MAX // 2
_ACTOR: Final = b"twitter:who-acts"


def credits_by_partition(partitions: int, users: int, time_ms: int) -> list[list[bytes]]:
    """Return packed records for each partition, which credit each of its users once, in no order.

    As many rows in each as make two a batch of timers; users who fill no record are left out.
    """
    names = [b"twitter:%d" % number for number in range(users)]
    homes = user_hashes(names) % np.uint64(partitions)
    chance = np.random.default_rng(_SEED)
    orders = [chance.permutation(np.flatnonzero(homes == partition)) for partition in range(partitions)]
    return [list(_records(names, order, time_ms, chance)) for order in orders]


def let_credits_come(
    tasks: Sequence[Task], records: Sequence[Sequence[bytes]], first: int, pool: ThreadPoolExecutor
) -> int:
    """Commit each partition's records, of which the `first` is so numbered; return how many users were credited."""
    return sum(pool.map(lambda task, theirs: _let_come(task, theirs, first), tasks, records))


def _records(
    names: list[bytes], order: NDArray[np.int64], time_ms: int, chance: np.random.Generator
) -> Iterator[bytes]:
    rows = _RECORD_ROWS
    for at in range(0, len(order) - rows + 1, rows):
        columns = {name: np.zeros(rows, kind) for name, kind in COLUMNS[CREDITS].items()}
        columns["target"][:] = columns["target_account"][:] = np.arange(rows)
        columns["kind"][:] = chance.integers(0, len(KINDS), rows)
        columns["time"][:] = columns["arrival"][:] = time_ms
        columns["event_hash"][:] = chance.integers(0, 1 << 63, rows)
        columns["reach"][:] = chance.uniform(0.5, 1.0, rows)
        columns["amplification"][:] = columns["reach"] * chance.uniform(0.3, 1.0, rows)
        columns["influence"][:] = columns["amplification"] * chance.uniform(0.1, 0.4, rows)
        users = [names[number] for number in order[at : at + rows].tolist()]
        yield encode(Record(CREDITS, rows, [NETWORK], [""], [_ACTOR], users, columns))


def _let_come(task: Task, records: Sequence[bytes], first: int) -> int:
    task.intake.open(task.state, _GENERATION)
    for number, value in enumerate(records, start=first):
        key = encode_key(Stamp(task.source, number))
        if task.intake.offer(TARGETS, number, _GENERATION, (key, value), None) is not Verdict.ACCEPTED:
            raise RuntimeError(f"the credits were not taken: {task.intake.gap}")
    while task.intake.waiting[TARGETS]:
        task.commit(task.intake.take(task.state, task.source, rows_max=DUE_MAX, own_in_flight_max=1))
    return len(records) * _RECORD_ROWS
