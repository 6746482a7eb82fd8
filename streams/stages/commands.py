"""Commands that travel in the lanes: forget a user, or let them count again.

Every actors task gets each command, obeys it in its own tables, and sends it on to the user's partition of the targets
lane, after all credits that it sent before and before all that it sends after. So the targets task knows of each
source's credits whether they are of before or after.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.packed import COMMANDS, FORGET, Record
from schemas.users import is_canary, partition_of, user_hash
from scorer.target_state import decode_targets, stored_dues
from streams.actor_names import name_key
from streams.forgotten import Forgotten
from streams.ledger import Ledger
from streams.packing import Rows
from streams.publish import NO_CHANGES, Changes, forgetting
from streams.store import Row, Store, actor_key
from streams.store import Rows as TableRows
from streams.task_state import TaskState
from streams.timers import keys_of

_NO_INDEX = np.empty(0, np.uint32)


class Command(NamedTuple):
    """One command about a user, as it stands in a lane."""

    code: int
    user: bytes
    label: str
    time: int
    epoch: int


class Obeyed(NamedTuple):
    """What commands come to."""

    rows: TableRows
    changes: Changes
    canaries: Changes
    """Changes of synthetic accounts."""
    onward: list[tuple[int, Rows]]
    """Commands for partitions of the targets lane."""
    timers: list[Row]


def commands_of(records: Sequence[Record]) -> list[Command]:
    """Return the commands of records, in order."""
    found = []
    for record in records:
        columns = {name: column.tolist() for name, column in record.columns.items()}
        for code, target, label, time, epoch in zip(
            columns["command"], columns["target"], columns["label"], columns["time"], columns["epoch"], strict=True
        ):
            found.append(Command(code, record.targets[target], record.labels[label], time, epoch))
    return found


def obey_actors(
    records: Sequence[Record],
    state: TaskState,
    *,
    ledger: Ledger,
    forgotten: Forgotten,
    partition: int,
    partitions: int,
) -> Obeyed:
    """Obey commands in the actors stage; the user's own partition forgets them as an actor too."""
    actors: dict[bytes, bytes | None] = {}
    blocks: dict[bytes, bytes | None] = {}
    entries: dict[bytes, bytes | None] = {}
    names: dict[bytes, bytes | None] = {}
    onward = []
    for command in commands_of(records):
        home = partition_of(command.user, partitions)
        entry = forgotten.get(command.user)
        onward.append((home, _as_rows(command)))
        if command.code != FORGET and command.user not in forgotten:
            continue  # Nobody is remembered who was never forgotten.
        entry.dropping = command.code == FORGET
        if command.code == FORGET:
            entry.masked_before = state.ledger.next_row
            names[name_key(user_hash(command.user))] = None
        row = forgotten.row(command.user, entry)
        forgotten.apply([row])
        entries |= [row]
        if command.code == FORGET and home == partition:
            actors |= {actor_key(command.user, name.encode()): None for name in state.networks}
            blocks |= ledger.without(command.user, blocks)
    rows = TableRows(list(actors.items()), (), list(blocks.items()), list(entries.items()), list(names.items()))
    return Obeyed(rows, NO_CHANGES, NO_CHANGES, onward, [])


def obey_targets(
    records: Sequence[Record],
    sources: Sequence[str],
    state: TaskState,
    *,
    store: Store,
    forgotten: Forgotten,
    model: str,
) -> Obeyed:
    """Obey commands in the targets stage: the first one of a `forget` deletes the user and says so."""
    targets: dict[bytes, bytes | None] = {}
    entries: dict[bytes, bytes | None] = {}
    timers: list[Row] = []
    changes = canaries = NO_CHANGES
    for record, source in zip(records, sources, strict=True):
        for command in commands_of([record]):
            entry = forgotten.get(command.user)
            if command.code != FORGET:
                if command.user not in forgotten:
                    continue  # No task that sends this has sent a `forget` before: there was none.
                entry.undone[source] = command.epoch
            elif command.epoch > entry.epoch:
                entry.epoch = command.epoch
                row = None if command.user in targets else store.read_targets([command.user])[0]
                if row is not None:
                    heads, entries_, _ = decode_targets([row], len(state.networks))
                    if not is_canary(command.user):
                        state.population.follow(len(state.networks), (heads, entries_), None)
                    head = heads[0]
                    timers += [(key, None) for key in keys_of(stored_dues([row]), [command.user])]
                    entry.sequence = int(head["sequence"])
                    targets[command.user] = None
                    if head["sequence"]:
                        entry.sequence += 1
                        last = forgetting(
                            command.user,
                            entry.sequence,
                            int(head["score_tenths"]),
                            int(head["as_of"]),
                            model=model,
                            reference=command.label,
                        )
                        if is_canary(command.user):
                            canaries = canaries.followed_by(last)
                        else:
                            changes = changes.followed_by(last)
                            state.population.count_changes("forget", 1)
            row_ = forgotten.row(command.user, entry)
            forgotten.apply([row_])
            entries |= [row_]
    return Obeyed(TableRows((), list(targets.items()), (), list(entries.items())), changes, canaries, [], timers)


def _as_rows(command: Command) -> Rows:
    columns: dict[str, NDArray[Any]] = {
        "actor": _NO_INDEX,
        "actor_account": _NO_INDEX,
        "target": np.zeros(1, np.uint32),
        "target_account": _NO_INDEX,
        "label": np.zeros(1, np.uint16),
        "command": np.array([command.code], np.uint8),
        "time": np.array([command.time], np.int64),
        "epoch": np.array([command.epoch], np.uint64),
    }
    return Rows(COMMANDS, [], [command.label], [], [command.user], columns)
