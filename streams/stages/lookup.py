"""Join the records of a lane into one batch with the partition's own numbers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.packed import Record
from streams.errors import CloutError
from streams.packing import renumbered
from streams.task_state import TaskState


def require_kind(records: Sequence[Record], *kinds: str) -> None:
    """Raise `CloutError` when a record is of another kind than this stage folds."""
    for record in records:
        if record.kind not in kinds:
            raise CloutError(
                f"a lane of {kinds[0]} holds a record of {record.kind}",
                hint="run a version of Clout that knows this kind of record here",
            )


def network_codes(records: Sequence[Record], state: TaskState) -> NDArray[np.uint8]:
    """Return each row's network as the partition's code; a new network gets one in `state`."""
    tables = [np.array([state.network_code(name) for name in record.networks], np.uint8) for record in records]
    return renumbered(records, "network", tables)


def labels(records: Sequence[Record]) -> tuple[list[str], NDArray[np.uint32]]:
    """Return the distinct labels of a batch, and each row's number among them."""
    names = list(dict.fromkeys(label for record in records for label in record.labels))
    number = {name: at for at, name in enumerate(names)}
    tables = [np.array([number[label] for label in record.labels], np.uint32) for record in records]
    return names, renumbered(records, "label", tables)


def accounts(records: Sequence[Record], side: str, numbers: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return the accounts named, as numbers among the users of that side; empty when all are their own users."""
    name = f"{side}_account"
    if not any(len(record.columns[name]) for record in records):
        return np.empty(0, np.uint32)
    parts = [
        table.take(record.columns[name] if len(record.columns[name]) else record.columns[side])
        for record, table in zip(records, numbers, strict=True)
    ]
    return np.concatenate(parts)
