"""The audit of a task's batch: what the laws look at is put together from what came in, not from what the fold says.

The fold says which user each row credits and by which clocks it went. Both are held here against the lane records and
what the tasks have told, so that a row that was read wrongly, or a clock that nobody told, is seen too.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.change import Score
from schemas.incident import USERS_SHOWN_MAX, UserValues
from schemas.packed import ADJUSTMENTS, Record
from scorer.arrays import Bools, Ints
from scorer.laws import LAWS, Violation, audit
from scorer.model import Parameters
from scorer.timers import clock_column
from streams.errors import CloutError
from streams.stages.targets import TargetsOutcome
from streams.task_state import TaskState

_GRANTS_LAW = 4
_SUMS = ("reach", "amplification", "network")


class LawBrokenError(CloutError):
    """A batch breaks a law: nothing of it may be published."""

    def __init__(
        self, partition: int, violations: Sequence[Violation], outcome: TargetsOutcome, networks: Sequence[str]
    ) -> None:
        """Say which laws, and note whom it concerns."""
        super().__init__(
            f"partition {partition} stopped: a batch breaks the law {violations[0].name}",
            detail="; ".join(f"{violation.name}: {violation.detail}" for violation in violations),
            hint="nothing of the batch was published, the last good scores stay; start a worker whose fold is right",
        )
        self.laws = [violation.name for violation in violations]
        places = np.unique(np.concatenate([violation.users for violation in violations])).tolist()
        self.users = [outcome.users[place].decode() for place in places]
        self.values = [_values(outcome, place, networks) for place in places[:USERS_SHOWN_MAX]]


def broken_laws(
    outcome: TargetsOutcome,
    records: Sequence[Record],
    *,
    before: TaskState,
    after: TaskState,
    tasks: int,
    parameters: Parameters,
) -> list[Violation]:
    """Hold what a batch of lane records comes to against all laws; an empty list lets it pass.

    `before` and `after` are the task's records around the batch; `tasks` is how many tell their clocks.
    """
    clocks = clocks_told(before, after, tasks)
    batch = outcome.batch(sum(record.rows for record in records), clock_column(before.clocks, after.networks), clocks)
    violations = audit(batch, parameters)
    wrong = misread(outcome, records, after)
    if len(wrong):
        detail = f"rows about {len(wrong)} of {len(outcome.users)} users are not as they came"
        violations.append(Violation(law=_GRANTS_LAW, name=LAWS[_GRANTS_LAW], users=wrong, detail=detail))
    return violations


def clocks_told(before: TaskState, after: TaskState, tasks: int) -> Ints:
    """Return the clocks (ms, by code) that a batch may go by: the least that all tasks told, or what they were."""
    clocks = clock_column(before.clocks, after.networks)
    for code, network in enumerate(after.networks):
        told = after.told_ms.get(network, {})
        if len(told) == tasks:
            least = min(told.values())
            clocks[code] = max(clocks[code], least)
    return clocks


def misread(outcome: TargetsOutcome, records: Sequence[Record], state: TaskState) -> Ints:
    """Return the users (indices in the batch) of rows that the fold took otherwise than they came."""
    wrong: list[NDArray[np.int64]] = []
    began = came = 0
    for record in records:
        counted = None if outcome.counted is None else outcome.counted[came : came + record.rows]
        came += record.rows
        ended = began + (record.rows if counted is None else int(np.count_nonzero(counted)))
        mine = slice(began, ended)
        user = outcome.user[mine]
        bad = _misnamed(outcome.users, user, record, counted)
        codes = np.array([state.networks.index(name) for name in record.networks], np.int64)
        grants = outcome.grants
        for taken, column in (
            (outcome.time[mine], record.columns["time"]),
            (grants.reach[mine], record.columns["reach"]),
            (grants.amplification[mine], record.columns["amplification"]),
            (grants.network[mine], record.columns["influence"]),
            (outcome.network[mine], codes.take(record.columns["network"])),
        ):
            bad |= _differ(taken, column if counted is None else column[counted])
        bad |= outcome.takes_back[mine] != (record.kind == ADJUSTMENTS)
        if bad.any():
            wrong.append(user[bad])
        began = ended
    return np.unique(np.concatenate(wrong)) if wrong else np.empty(0, np.int64)


def _misnamed(users: list[bytes], user: Ints, record: Record, counted: Bools | None) -> Bools:
    """Return which rows were given to another user than the record names."""
    if not len(user):
        return np.empty(0, np.bool_)
    target = record.columns["target"].astype(np.intp)
    if counted is not None:
        target = target[counted]
    number = np.full(len(record.targets), -1, np.int64)
    number[target] = user
    found = list(map(users.__getitem__, number.tolist()))
    bad: Bools = number[target] != user
    if found != record.targets:
        right = [name == named for name, named in zip(found, record.targets, strict=True)]
        bad |= ~np.array(right, np.bool_)[target]
    return bad


def _differ(taken: NDArray[Any], came: NDArray[Any]) -> Bools | np.bool_:
    # Not a number is as it came, too; the laws of the sums see it.
    return np.bool_(False) if taken.tobytes() == came.astype(taken.dtype, copy=False).tobytes() else taken != came


def _values(outcome: TargetsOutcome, place: int, networks: Sequence[str]) -> UserValues:
    """Return what a user had and was about to get."""
    tenths = int(outcome.before.heads["score_tenths"][place])
    before, after = outcome.before.entries[place], outcome.after.entries[place]
    return UserValues(
        user=outcome.users[place].decode(),
        score=tenths / 10 if tenths else None,
        proposed=_number(outcome.scored.score[place]),
        networks={
            name: [_number(entries[code][sum_]) for entries in (before, after) for sum_ in _SUMS]
            for code, name in enumerate(networks)
            if before[code]["events"] or after[code]["events"]
        },
    )


def _number(value: float) -> Score | None:
    return float(value) if np.isfinite(value) else None
