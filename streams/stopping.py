"""What is found out when a task has to stop: which record is to blame, and what an incident says of it."""

import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from schemas.incident import Span
from schemas.packed import COMMANDS
from streams.audit import LawBrokenError
from streams.errors import CloutError, unlabelled
from streams.incidents import Finding, spans_of
from streams.intake import Accepted

SUSPECTS_TRIED_MAX: Final = 256
"""Records of a batch that are tried alone; larger batches hold large records, of which none has so many."""
SUSPECT_SECONDS_MAX: Final = 10.0
"""Time for all trials together: the partition stands meanwhile anyway."""


class Trial(NamedTuple):
    """What came of trying a batch's records one at a time."""

    suspect: Span | None
    """The one record that fails by itself; None when none does, or several do."""
    text: str


def try_alone(batch: Sequence[Accepted], fails: Callable[[Sequence[Accepted]], bool]) -> Trial:
    """Find the one record of a batch that is to blame; `fails` tries records on the present state, for nothing.

    Commands are left out: to try one is to obey it.
    """
    if fails([]):
        return Trial(None, "it fails without any record too, by the users whose time has come")
    candidates = [accepted for accepted in batch if accepted.kind != COMMANDS]
    deadline = time.monotonic() + SUSPECT_SECONDS_MAX
    tried = 0
    guilty: list[Accepted] = []
    for accepted in candidates[:SUSPECTS_TRIED_MAX]:
        if time.monotonic() > deadline:
            break
        tried += 1
        if fails([accepted]):
            guilty.append(accepted)
    alone = spans_of(guilty)[0] if len(guilty) == 1 else None
    return Trial(alone, f"of {len(candidates)} records {tried} were tried alone, {len(guilty)} of them fail")


def advice(error: Exception, suspect: Span | None, partition: int) -> str:
    """Return why a partition stopped, with the record to blame and how to go on without it.

    >>> print(advice(CloutError("partition 1 stopped"), Span(lane="targets", first=8, last=8), 1))
    error: partition 1 stopped, for the record at offset 8 of the lane targets
    hint: `clout quarantine --partition 1 --lane targets --offset 8 --reason TEXT` lets it go on without that record
    """
    told = error if isinstance(error, CloutError) else CloutError(str(error))
    hint = told.hint + "; " if told.hint else ""
    if suspect is None:
        return str(CloutError(told.error, detail=told.detail, hint=f"{hint}no record is to blame by itself"))
    order = f"clout quarantine --partition {partition} --lane {suspect.lane} --offset {suspect.first} --reason TEXT"
    return str(
        CloutError(
            f"{told.error}, for the record at offset {suspect.first} of the lane {suspect.lane}",
            detail=told.detail,
            hint=f"{hint}`{order}` lets it go on without that record",
        )
    )


def finding_of(error: Exception, batch: Sequence[Accepted], trial: Trial, gap_at: Span | None) -> Finding:
    """Return what an incident says of a stop."""
    if gap_at is not None:
        return Finding(kind="lane_gap", finding="lane_gap", detail=unlabelled(error), spans=[gap_at])
    detail = f"{unlabelled(error)}\n{trial.text}"
    spans, suspect = spans_of(batch), trial.suspect
    if isinstance(error, LawBrokenError):
        return Finding(
            kind="law_violation",
            finding=", ".join(error.laws),
            detail=detail,
            spans=spans,
            suspect=suspect,
            users=error.users,
            values=error.values,
        )
    name = type(error).__name__
    return Finding(kind="partition_stopped", finding=name, detail=detail, spans=spans, suspect=suspect)
