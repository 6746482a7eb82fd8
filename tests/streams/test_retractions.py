"""An event counts once and can be taken back, in any order: the stages equal the reference."""

import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scorer.model import DAY_MS, Model
from scorer.reference import Event, Reference, Sums
from scorer.target_state import decode_targets
from tests.streams.stages import Act, Retraction, Stages

START_MS = 1_340_000_000_000
GAPS_MS = (0, 1, 1000, 60_000, 3_600_000, DAY_MS, 5 * DAY_MS, -1000, -DAY_MS)
OF_LARGEST = 1e-9
PEOPLE = 30


def event(actor: str, target: str, id_: str, time: int = START_MS, kind: str = "reaction") -> Event:
    return Event("one", id_, kind, actor, target, time)


def taken_back(of: Event, time: int = START_MS) -> Retraction:
    return Retraction(of.network, of.id, of.actor, time)


def course(seed: int, acts: int, actors: int) -> Iterator[Act]:
    """Random events with repeats, and retractions of some, also twice and also of events still to come."""
    chance = random.Random(seed)
    time = START_MS
    known: list[Event] = []
    coming: list[Event] = []
    for number in range(acts):
        time = max(0, time + chance.choice(GAPS_MS))
        draw = chance.random()
        if known and draw < 0.3:
            yield taken_back(chance.choice(known[-20:]), time)
        elif known and draw < 0.4:
            yield chance.choice(known)
        elif coming and draw < 0.45:
            known.append(coming.pop(chance.randrange(len(coming))))
            yield known[-1]
        else:
            actor = f"actor{chance.randrange(actors)}"
            aim = actor if chance.random() < 0.03 else f"person{chance.randrange(PEOPLE)}"
            new = Event(chance.choice(("one", "two")), str(number), "share", actor, aim, time)
            if draw < 0.5:
                coming.append(new)
                yield taken_back(new, time)
            else:
                known.append(new)
                yield new


def play(reference: Reference, act: Act) -> None:
    if isinstance(act, Event):
        reference.apply(act)
    else:
        reference.retract(act.network, act.actor, act.id)


def check(stages: Stages, reference: Reference, largest: dict[tuple[str, str], tuple[float, float]]) -> None:
    """Sums are equal at one time: which one they are stored for depends on events that were taken back."""
    at_ms = max(sums.time for sums in reference.sums.values()) if reference.sums else 0
    found = stages.sums(at_ms)
    assert found.keys() == reference.sums.keys()
    for key, sums in reference.sums.items():
        reach, amplification, network, events = found[key]
        left = 2.0 ** ((sums.time - at_ms) / reference.model.half_life_ms)
        assert events == sums.events
        assert reach == pytest.approx(sums.reach * left, abs=OF_LARGEST * largest[key][0])
        assert amplification == pytest.approx(sums.amplification * left, abs=OF_LARGEST * largest[key][1])
        assert min(reach, amplification, network) >= 0.0


def note(largest: dict[tuple[str, str], tuple[float, float]], sums: dict[tuple[str, str], Sums]) -> None:
    for key, of_user in sums.items():
        reach, amplification = largest.get(key, (0.0, 0.0))
        largest[key] = (max(reach, of_user.reach), max(amplification, of_user.amplification))


@given(st.integers(0, 2**32), st.sampled_from([1, 3, 40]), st.booleans())
@settings(deadline=None, max_examples=25)
def test_one_act_a_batch_gives_every_sum_change_and_count_of_the_reference(
    seed: int, actors: int, reopen: bool
) -> None:
    stages, reference = Stages(Model()), Reference(Model())
    largest: dict[tuple[str, str], tuple[float, float]] = {}
    for number, act in enumerate(course(seed, 150, actors)):
        stages.apply([act])
        play(reference, act)
        note(largest, reference.sums)
        if reopen and number % 40 == 39:
            stages.reopen()
    check(stages, reference, largest)
    for user, last in reference.last.items():
        head = decode_targets([stages.targets[user.encode()]], 2)[0][0]
        assert head["sequence"] == last.sequence
        assert head["score_tenths"] == (0 if last.scores is None else last.scores.score)
    for outcome in ("duplicate", "self", "withheld", "retracted", "repeated", "unmatched", "applied"):
        assert stages.counted(outcome) == reference.counters[outcome], outcome


@given(st.integers(0, 2**32), st.sampled_from([1, 3, 40]), st.integers(2, 60))
@settings(deadline=None, max_examples=25)
def test_batches_of_any_size_leave_the_same_sums(seed: int, actors: int, size: int) -> None:
    stages, reference = Stages(Model(influence_floor=1.0)), Reference(Model(influence_floor=1.0))
    largest: dict[tuple[str, str], tuple[float, float]] = {}
    acts = list(course(seed, 300, actors))
    for begin in range(0, len(acts), size):
        stages.apply(acts[begin : begin + size])
    for act in acts:
        play(reference, act)
        note(largest, reference.sums)
    check(stages, reference, largest)
    seen = sum(stages.counted(outcome) for outcome in ("applied", "self", "duplicate", "withheld"))
    assert seen == sum(isinstance(act, Event) for act in acts)


def test_like_unlike_like_leaves_what_one_like_gives() -> None:
    stages, other = Stages(Model()), Stages(Model())
    first, again = event("ann", "bob", "1"), event("ann", "bob", "2", START_MS + 5000)
    acts: list[Act] = [first, taken_back(first), again]
    for act in acts:
        stages.apply([act])
    other.apply([again])
    assert stages.sums(START_MS) == other.sums(START_MS)
    assert stages.actors.keys() == other.actors.keys()


def test_like_unlike_like_is_one_like_also_when_the_memory_is_full() -> None:
    stages, other = Stages(Model()), Stages(Model())
    before = [event("ann", f"person{number}", f"b{number}", START_MS + number) for number in range(20)]
    first, again = event("ann", "bob", "1", START_MS + DAY_MS), event("ann", "bob", "2", START_MS + DAY_MS + 5)
    acts: list[Act] = [*before, first, taken_back(first), again]
    for act in acts:
        stages.apply([act])
    for act in (*before, again):
        other.apply([act])
    for key, sums in other.sums(START_MS).items():
        assert stages.sums(START_MS)[key] == pytest.approx(sums, rel=1e-12)


def test_whose_every_event_was_taken_back_has_no_score_and_begins_anew_with_the_next_number() -> None:
    stages = Stages(Model())
    first = event("ann", "bob", "1")
    stages.apply([first])
    gone = stages.apply([taken_back(first)])
    assert gone is not None
    assert gone.published.sequence.tolist() == [2]
    assert gone.published.previous_tenths.tolist() != [0]
    assert gone.published.score.tolist() != gone.published.score.tolist()
    assert gone.causes.tolist() == [2]
    assert stages.sums(START_MS) == {}
    back = stages.apply([event("cat", "bob", "1")])
    assert back is not None
    assert (back.published.sequence.tolist(), back.published.previous_tenths.tolist()) == ([3], [0])


def test_making_room_by_taking_back_makes_nobody_new_again() -> None:
    stages = Stages(Model())
    met = [event("ann", f"person{number}", str(number), START_MS + number) for number in range(40)]
    for act in met:
        stages.apply([act])
    before = stages.sums(START_MS)["person3", "one"]
    for act in met[-10:]:
        stages.apply([taken_back(act)])
    stages.apply([event("ann", "person3", "again", START_MS + 1000)])
    after = stages.sums(START_MS)["person3", "one"]
    assert after[0] - before[0] < 0.01


def test_the_ledger_forgets_by_arrival_and_by_rows_and_then_an_event_counts_again() -> None:
    hour = 3_600_000
    stages = Stages(Model())
    first = event("ann", "bob", "1")
    stages.apply([first], 0)
    stages.apply([event("ann", "cat", "2")], 23 * hour)
    stages.apply([first], 23 * hour)
    assert stages.counted("duplicate") == 1
    stages.apply([event("ann", "dan", "3")], 26 * hour)
    stages.apply([first], 26 * hour)
    assert (stages.counted("duplicate"), stages.counted("applied")) == (1, 4)
    assert stages.state.ledger.window_seconds <= 25 * 3600
    stages.reopen()
    stages.apply([first], 26 * hour)
    assert stages.counted("duplicate") == 2
