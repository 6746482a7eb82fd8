"""Lane records that an operator set aside: which ones, and what they take with them.

Pure. A record set aside takes its place in the lane and in its source's sequence; its rows count as dead letters. A
record of commands is never set aside: a `forget` that one partition does not obey would leave copies behind.
"""

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress

import msgspec
import numpy as np

from schemas.control import decode_record
from schemas.interaction import RETRACT_CODE
from schemas.packed import COMMANDS, CREDITS, INTERACTIONS, PackedError, decode
from streams.intake import Accepted
from streams.task_state import QUARANTINED, TaskState, TaskStateError

Place = tuple[str, int]
"""Lane and offset."""


def ordered(values: Iterable[bytes], partition: int) -> dict[Place, str]:
    """Return which records of a partition accepted commands set aside, and the commands' ids, from public records."""
    found: dict[Place, str] = {}
    for value in values:
        try:
            record = decode_record(value)
        except msgspec.DecodeError:
            continue  # Of a later version, and so none of the commands that this one knows.
        if record.command == "quarantine" and record.accepted and record.partition == partition:
            found[record.lane or "", -1 if record.offset is None else record.offset] = record.id
    return found


def may_be_set_aside(accepted: Accepted) -> bool:
    """Return whether a record is of a kind that may go."""
    return accepted.kind != COMMANDS


def rows_of(value: bytes) -> Counter[str]:
    """Return how many rows of a record count as events, by network; none if it cannot be read.

    Retractions are counted where they are read, and adjustments are none.
    """
    counts: Counter[str] = Counter()
    with suppress(PackedError):
        record = decode(value)
        if record.kind in {INTERACTIONS, CREDITS}:
            events = record.columns["network"][record.columns["kind"] != RETRACT_CODE]
            numbers = np.bincount(events, minlength=len(record.networks)).tolist()
            counts.update({name: rows for name, rows in zip(record.networks, numbers, strict=True) if rows})
    return counts


def count(rows: Counter[str], state: TaskState) -> None:
    """Count rows that were set aside in the task's record."""
    for network, events in rows.items():
        # One network too many is known to nobody's counters.
        with suppress(TaskStateError):
            state.network_code(network)
            state.count(network, QUARANTINED, events)


def detail_of(rows: Counter[str], accepted: Accepted) -> str:
    """Say what a record took with it.

    >>> detail_of(Counter(twitter=40), Accepted("actors", 7, None, "interactions", 41, None, b"", None))
    'a record of interactions with 41 rows, of which events: 40 of twitter'
    """
    events = ", ".join(f"{count} of {network}" for network, count in sorted(rows.items())) or "none"
    return f"a record of {accepted.kind or 'unknown kind'} with {accepted.rows} rows, of which events: {events}"
