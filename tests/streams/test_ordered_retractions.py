"""What an operator takes back: exactly the copies of events that counted, and nothing that is left behind."""

from collections.abc import Sequence

import numpy as np
import pytest

from schemas.packed import RETRACTIONS, Record
from schemas.users import user_hash
from scorer.arrays import Floats
from scorer.model import DAY_MS, Model
from scorer.reference import Event, Reference
from scorer.target_state import published_scores
from streams.stages.targets import TargetsOutcome
from tests.streams.stages import Retraction, Stages, record_of
from tests.streams.test_retractions import check, note, taken_back

START_MS = 1_340_000_000_000
GOOD, BAD = "east", "west"
ARRIVAL_MS = START_MS + 5_000
LATER_MS = ARRIVAL_MS + 1_000
INCIDENT = "feed_partial/twitter:west/2026-01-01T00:00:00Z"


def events(count: int, first: int = 0) -> list[Event]:
    """Every actor acts on several, some of them again."""
    return [
        Event("one", str(at), "share", f"actor{at % 7}", f"person{at * 5 % 11}", START_MS + at * 60_000)
        for at in range(first, first + count)
    ]


def order(
    of: Sequence[Event], *, source: str = BAD, arrival_ms: int = ARRIVAL_MS, epoch: int = 3, reference: str = INCIDENT
) -> Record:
    """What the command makes of events that came from a source at a time."""
    packed = record_of(of, arrival_ms)
    size = len(of)
    columns = {
        "network": packed.columns["network"],
        "label": np.zeros(size, np.uint16),
        "epoch": np.full(size, epoch, np.uint64),
        "actor_hash": np.array([user_hash(event.actor.encode()) for event in of], np.uint64),
        "event_hash": packed.columns["event_hash"],
        "source_hash": np.full(size, user_hash(source.encode()), np.uint64),
        "arrival": packed.columns["arrival"],
    }
    return Record(RETRACTIONS, size, packed.networks, [reference], [], [], columns)


def take(stages: Stages, of: Sequence[Event], source: str, arrival_ms: int = ARRIVAL_MS) -> None:
    stages.take(record_of(of, arrival_ms, source))


def scores(stages: Stages) -> Floats:
    """Published scores, by user."""
    return published_scores([stages.targets[user] for user in sorted(stages.targets)])


def counted(stages: Stages) -> tuple[int, int, int, int]:
    """Taken back, before, another copy, not found."""
    counters = stages.state.ordered.counters
    return counters["retracted"], counters["repeated"], counters["elsewhere"], counters["unmatched"]


def same_sums(one: Stages, other: Stages) -> bool:
    mine, theirs = (stages.sums(START_MS + DAY_MS) for stages in (one, other))
    return mine.keys() == theirs.keys() and all(mine[key] == pytest.approx(theirs[key], rel=1e-9) for key in mine)


@pytest.mark.parametrize("size", [1, 7, 60])
def test_it_leaves_what_retractions_by_the_actors_themselves_would(size: int) -> None:
    stages, reference = Stages(Model()), Reference(Model())
    largest: dict[tuple[str, str], tuple[float, float]] = {}
    every = events(120)
    for begin in range(0, 120, 2):
        take(stages, every[begin : begin + 1], GOOD)
        take(stages, every[begin + 1 : begin + 2], BAD)
    for event in every:
        reference.apply(event)
        note(largest, reference.sums)
    bad = every[1::2]
    for begin in range(0, len(bad), size):
        stages.take_back(order(bad[begin : begin + size]))
        if begin % 20 == 0:
            stages.reopen()
    for event in bad:
        reference.retract(event.network, event.actor, event.id)

    check(stages, reference, largest)
    assert counted(stages) == (60, 0, 0, 0)
    assert stages.counted("retracted") == 0


def test_a_change_has_the_cause_and_the_incident() -> None:
    stages = Stages(Model())
    take(stages, events(40), GOOD)
    take(stages, events(40, first=40), BAD)

    outcome = stages.take_back(order(events(40, first=40)))

    assert isinstance(outcome, TargetsOutcome)
    assert len(outcome.published.index) > 0
    told = {outcome.references.of(at) for at in range(len(outcome.published.index))}
    assert told == {INCIDENT}


def test_whom_it_brought_below_their_anchor_is_counted_by_the_incident() -> None:
    stages = Stages(Model())
    take(stages, events(40), GOOD)
    take(stages, events(40, first=40), BAD)
    stages.state.clocks["one"] = START_MS + 80 * 60_000
    stages.state.population.move_to(stages.state.clocks)
    before = scores(stages)

    for first in (40, 60):
        stages.take_back(order(events(20, first=first)))

    fell_tenths = np.rint(10 * (before - scores(stages)))
    by_step = tuple(int(np.count_nonzero(fell_tenths >= step)) for step in (1, 10, 50, 100))
    assert stages.state.population.shift.taken_back == {INCIDENT: by_step}
    assert by_step[0] >= by_step[1] > 0


def test_an_event_that_another_collector_had_brought_before_is_not_taken_back() -> None:
    stages, untouched = Stages(Model()), Stages(Model())
    for of in (stages, untouched):
        take(of, events(20), GOOD)
        take(of, events(20), BAD, LATER_MS)

    stages.take_back(order(events(20), arrival_ms=LATER_MS))

    assert counted(stages) == (0, 0, 20, 0)
    assert same_sums(stages, untouched)


def test_what_a_feed_sent_again_counts_as_of_when_it_first_came() -> None:
    stages, untouched = Stages(Model()), Stages(Model())
    for of in (stages, untouched):
        take(of, events(20), BAD)
        take(of, events(20), BAD, LATER_MS)

    stages.take_back(order(events(20), arrival_ms=LATER_MS))
    assert counted(stages) == (0, 0, 20, 0)
    assert same_sums(stages, untouched)
    stages.take_back(order(events(20), epoch=4))
    assert counted(stages) == (20, 0, 0, 0)


def test_an_event_that_is_named_twice_is_taken_back_once_and_may_not_come_again() -> None:
    stages = Stages(Model())
    take(stages, events(20), BAD)

    stages.take_back(order([*events(20), *events(5)]))
    stages.reopen()
    stages.take_back(order(events(20)))
    assert counted(stages) == (20, 25, 0, 0)
    take(stages, events(20), GOOD, LATER_MS)
    assert stages.counted("duplicate") == 20
    assert stages.sums(START_MS + DAY_MS) == {}


def test_what_is_not_found_leaves_no_mark_and_counts_when_it_comes() -> None:
    stages, untouched = Stages(Model()), Stages(Model())

    stages.take_back(order(events(20)))
    assert counted(stages) == (0, 0, 0, 20)
    for of in (stages, untouched):
        take(of, events(20), GOOD, LATER_MS)

    assert stages.counted("withheld") == 0
    assert stages.state.ledger.rows == untouched.state.ledger.rows
    assert same_sums(stages, untouched)


def test_what_its_actor_took_back_is_not_taken_back_again() -> None:
    stages = Stages(Model())
    take(stages, events(20), BAD)
    stages.apply([taken_back(event) for event in events(8)])
    waiting: list[Retraction] = [taken_back(event) for event in events(4, first=20)]
    stages.apply(waiting)

    stages.take_back(order(events(24)))

    assert counted(stages) == (12, 12, 0, 0)


def test_a_later_order_counts_from_nothing_and_an_earlier_one_no_more() -> None:
    stages = Stages(Model())
    take(stages, events(20), BAD)
    stages.take_back(order(events(5)))
    stages.take_back(order(events(5, first=5), epoch=9))
    stages.take_back(order(events(5, first=10)))
    assert (stages.state.ordered.epoch, counted(stages)) == (9, (5, 0, 0, 0))


def test_another_actors_event_with_the_same_hash_is_not_taken_back() -> None:
    stages = Stages(Model())
    take(stages, events(1), BAD)
    wrong = order(events(1))
    columns = {**wrong.columns, "actor_hash": wrong.columns["actor_hash"] + np.uint64(1)}
    stages.take_back(wrong._replace(columns=columns))
    assert counted(stages) == (0, 0, 0, 1)
