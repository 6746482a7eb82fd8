"""Law 7 over the whole installation, exact while events flow.

All numbers only grow. Tasks read *before* ingest can have processed no more than ingest had read: else something was
counted twice. Tasks read after, as soon as they have taken in all that ingest had sent, must have processed all of it:
else something was lost.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from clout.audit.findings import Findings
from streams.progress import Behind, Reading, behind, conservation
from streams.progress_reader import ProgressReader, asked_tasks
from streams.status import TaskStatus

PATIENCE_SECONDS: Final = 20.0
"""How long events may be on their way from ingest through both stages."""
SHOWN_MAX: Final = 3
_NAP_SECONDS: Final = 0.2


def judge_doubled(reading: Reading, findings: Findings) -> None:
    """Hold a reading whose tasks were read before its feeds: no more was processed than read."""
    for of in conservation(reading):
        if of.missing < 0:
            findings.offend(7, of.network, f"{-of.missing:,} events more than were read are accounted for")


def judge_lost(reading: Reading, findings: Findings) -> None:
    """Hold a reading whose tasks have caught up with its feeds: all that was read was processed."""
    for of in conservation(reading):
        findings.count(7, f"events read on {of.network}", of.read)
        if of.missing > 0:
            findings.offend(7, of.network, f"{of.missing:,} of {of.read:,} events read are not accounted for")


def under_way(reading: Reading) -> list[Behind]:
    """Return what the tasks have not taken in of what was sent to them; what ingest has not read does not count."""
    return [of for of in behind(reading) if of.stage != "ingest" and (of.records or of.stage == "worker")]


def judge_conservation(reader: ProgressReader, partitions: int, findings: Findings, say: Callable[[str], None]) -> None:
    """Hold what became of all events against what was read."""

    def late(
        actors: Mapping[int, TaskStatus], targets: Mapping[int, TaskStatus], stages: Sequence[str]
    ) -> list[Behind]:
        reading = Reading(feeds=feeds, actors=actors, targets=targets, lane_partitions=partitions)
        return [of for of in under_way(reading) if of.stage in stages]

    early = asked_tasks(reader)
    feeds = reader.feeds()
    judge_doubled(Reading(feeds=feeds, actors=early, targets=early, lane_partitions=partitions), findings)
    deadline = time.monotonic() + PATIENCE_SECONDS
    actors = targets = asked_tasks(reader)
    while waiting := late(actors, actors, ("worker", "actors")) or late(actors, targets, ("worker", "targets")):
        if time.monotonic() > deadline:
            why = "; ".join(
                f"{of.where}: {of.note or f'{of.records:,} records under way'}" for of in waiting[:SHOWN_MAX]
            )
            findings.leave_open([7], f"what was read is not processed after {PATIENCE_SECONDS:g} seconds: {why}")
            return
        say("; ".join(map(_in_words, waiting[:SHOWN_MAX])))
        time.sleep(_NAP_SECONDS)
        targets = asked_tasks(reader)
        # What the actors stages have sent counts as of when they had taken in all that ingest had sent.
        if late(actors, actors, ("worker", "actors")):
            actors = targets
    judge_lost(Reading(feeds=feeds, actors=actors, targets=targets, lane_partitions=partitions), findings)


def _in_words(of: Behind) -> str:
    return f"{of.where}: " + (of.note or f"{of.records:,} records under way")
