"""The founding stories: what happened then, and what happens here when the same goes wrong.

A story is a generator that the demonstration moves on while it plays: it yields wherever it waits.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from clout.demo.board import Board
from clout.demo.population import COLLECTORS
from clout.demo.stage import Stage
from clout.injection import FeedOrder, WorkerFault
from schemas.change import ScoreChange
from schemas.times import format_ms, parse_ms
from streams.status import TaskStatus

Story = Callable[[Stage, Board], Iterator[object]]

USERS_MIN: Final = 300
"""Users who have a score before anything goes wrong."""
STANDS_SECONDS: Final = 3.0
"""For so long a clock is watched before it is said to stand; it moves once a second."""
STALL_SECONDS_MAX: Final = 120.0
HOUR_MS: Final = 3_600_000
LOWEST: Final = 1.0


def floor(stage: Stage, board: Board) -> Iterator[object]:
    """Every score is reset to 1."""
    stage.say("then", "A faulty job reset every score to 1. Customers saw it before anyone else did,")
    stage.say("", "and it took two hours until someone looked.")
    stage.say("here", "The same fault is planted in the worker, as soon as people have scores.")
    yield from stage.until(lambda: board.users >= USERS_MIN)
    witness = board.top(1)[0].user
    reset = _Reset()
    stage.watch(reset.take)
    fault = WorkerFault(stage.run_directory, "floor", audit=True, partition=0)
    fault.begin()
    begun = time.monotonic()
    stage.say("planted", f"{board.users:,} people have scores, and from now on the worker takes every score for 1")

    yield from stage.until(lambda: len(stage.standing()) == stage.settings.lanes.partitions)
    standing, took_seconds = stage.standing(), time.monotonic() - begun
    numbers = ", ".join(str(task.partition) for task in standing)
    stage.check("stopped", f"{took_seconds:.1f} s later partitions {numbers} stand still", holds=bool(standing))
    law = "score_follows_sums"
    stage.check("the law", f"{law}: {_offenders(standing)}", holds=all(law in (task.reason or "") for task in standing))
    yield from stage.until(lambda: len(stage.incidents("law_violation")) >= len(standing))
    incidents = stage.incidents("law_violation")
    stage.check("incident", ", ".join(incident.id for incident in incidents), holds=bool(incidents))
    _tell_of_the_witness(stage, board, witness)
    violations = stage.metric("clout_law_violations_total")
    stage.check("alert", f"clout_law_violations_total went from 0 to {violations:.0f}", holds=violations > 0)
    stage.check("published", f"wrong changes: {reset.count}", holds=reset.count == 0)

    fault.ask_to_end()
    stage.say("mended", "the worker is started again, without the fault; nothing else is done")
    yield from stage.until(lambda: fault.is_over() and stage.all_run())
    stage.check(
        "resumed", f"all partitions run, {time.monotonic() - begun:.0f} s after the fault", holds=stage.all_run()
    )
    yield from stage.until(lambda: _all_resolved(stage, "law_violation"))
    stage.check("resolved", f"{len(incidents)} incidents are over", holds=_all_resolved(stage, "law_violation"))
    stage.check("published", f"wrong changes, to the end: {reset.count}", holds=reset.count == 0)


def stall(stage: Stage, board: Board) -> Iterator[object]:
    """One network's feed brings nothing."""
    network = list(stage.settings.networks)[1]
    stage.say("then", "An upstream was half available. Time went on without its events, so scores were")
    stage.say("", "halved, and customers reported it.")
    stage.say("here", f"All collectors of {network} fall silent, as soon as people have scores.")
    faded = _Faded(network)
    stage.watch(faded.take)
    yield from stage.until(lambda: board.users >= USERS_MIN and _clock(stage, network) is not None)
    order = FeedOrder(stage.run_directory, "stall", network, STALL_SECONDS_MAX)
    order.begin()
    begun = time.monotonic()
    stage.say("planted", f"the {len(COLLECTORS)} collectors of {network} send nothing, no heartbeats either")

    stands = _Stands(lambda: _clock(stage, network))
    yield from stage.until(stands)
    faded.stands_ms = stands.clock_ms
    others_ms = _others(stage, network)
    stage.check(
        "the law",
        f"time is data: scores fade by the clock of their network, and that of {network} stands at"
        f" {format_ms(stands.clock_ms or 0)[:16]}",
        holds=stands.clock_ms is not None,
    )
    yield from stage.until(lambda: _others(stage, network) > others_ms)
    hours = (_others(stage, network) - (stands.clock_ms or 0)) / HOUR_MS
    stage.check("meanwhile", f"the other networks are {hours:.0f} h further, and go on", holds=hours > 0)
    held_by = _held_by(stage, network)
    stage.check("held by", f"{held_by}; `clout clock show` says so too", holds="source" in held_by)
    if stage.has_guard():
        yield from stage.until(lambda: stage.incidents("feed_stalled"))
        incidents = stage.incidents("feed_stalled")
        stage.check("incident", ", ".join(incident.id for incident in incidents), holds=bool(incidents))
    people = len(faded.people)
    stage.check(
        "published",
        f"{people:,} people are on {network} alone; scores of theirs that faded: {faded.count}",
        holds=faded.count == 0 and people > 0,
    )

    faded.stands_ms = None
    report = order.end()
    back = report.sent if report is not None else 0
    stage.check("mended", f"the collectors are back, with {back:,} events that they had kept", holds=report is not None)
    reached_ms = _others(stage, network)
    yield from stage.until(lambda: (_clock(stage, network) or 0) >= reached_ms)
    caught_up = (_clock(stage, network) or 0) >= reached_ms
    stage.check(
        "resumed",
        f"events and decay came together, {time.monotonic() - begun:.0f} s after the fault its clock has caught up",
        holds=caught_up,
    )


STORIES: Final[Mapping[str, Story]] = {"floor": floor, "stall": stall}


class _Reset:
    """Counts who is published at 1 and was not there before."""

    def __init__(self) -> None:
        self.count = 0

    def take(self, change: ScoreChange) -> None:
        if change.score == LOWEST and (change.previous or LOWEST) > LOWEST + 1:
            self.count += 1


class _Faded:
    """Watches who is on one network alone: none of their changes may go beyond the time at which its clock stands."""

    def __init__(self, network: str) -> None:
        self.people: set[str] = set()
        self.stands_ms: int | None = None
        self.count = 0
        self._network = network

    def take(self, change: ScoreChange) -> None:
        if list(change.networks) != [self._network]:
            self.people.discard(change.user)
            return
        self.people.add(change.user)
        if self.stands_ms is not None and parse_ms(change.as_of) > self.stands_ms:
            self.count += 1


class _Stands:
    """Whether a clock has not moved for a while."""

    def __init__(self, clock: Callable[[], int | None]) -> None:
        self._clock = clock
        self.clock_ms: int | None = None
        self._since = time.monotonic()

    def __call__(self) -> bool:
        clock_ms, now = self._clock(), time.monotonic()
        if clock_ms is None or clock_ms != self.clock_ms:
            self.clock_ms, self._since = clock_ms, now
        return now - self._since >= STANDS_SECONDS


def _tell_of_the_witness(stage: Stage, board: Board, witness: str) -> None:
    known = next((of.score for of in board.top(board.users) if of.user == witness), None)
    found = stage.user(witness)
    served = bool(found) and found.get("stale") is True and (found["score"] or 0) > LOWEST + 1
    what = f"{witness} has {found.get('score')}, marked stale" if found else f"nobody answers about {witness}"
    stage.check("served", f"{what}; last published: {known}", holds=served)


def _offenders(standing: list[TaskStatus]) -> str:
    details = [line for task in standing for line in (task.reason or "").splitlines() if line.startswith("detail: ")]
    return "; ".join(line.partition(": ")[2].partition(": ")[2] for line in details)


def _all_resolved(stage: Stage, kind: str) -> bool:
    return all(incident.status == "resolved" for incident in stage.incidents(kind))


def _clock(stage: Stage, network: str) -> int | None:
    """Return a network's clock, as the partition that is furthest has it."""
    return max((task.clocks[network] for task in stage.tasks() if network in task.clocks), default=None)


def _others(stage: Stage, network: str) -> int:
    """Return the least clock of the other networks."""
    return min((_clock(stage, other) or 0) for other in stage.settings.networks if other != network)


def _held_by(stage: Stage, network: str) -> str:
    for task in stage.tasks():
        inputs = task.inputs.get(network)
        names = [of.name for of in inputs.waits_for if "source" in of.name] if inputs is not None else []
        if names:
            return ", ".join(names)
    return "nobody says by what"
