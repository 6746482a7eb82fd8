"""Every fault is seen, by the law that it breaks, in whom it was planted; who is named is all that is wrong."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest

from clout.audit.changes import Raw
from clout.audit.look import SUMS, Look
from scorer.model import DAY_MS
from tests.clout.audit.stand import (
    START_MS,
    Stand,
    audited,
    broken,
    entry,
    in_batches,
    some_acts,
    with_entries,
    with_head,
)

WHO = "t1"
"""Whom most faults are planted in: somebody with many events."""


class Case:
    """A sound partition, looked at twice, with events and time in between."""

    def __init__(self) -> None:
        stand = Stand()
        for acts in in_batches(list(some_acts(1, 300, days=20)), 50):
            stand.apply(acts)
        stand.pass_time(START_MS + 21 * DAY_MS)
        self.first, self.seen = stand.look(), len(stand.topic)
        stand.apply(list(some_acts(2, 20, days=21)))
        stand.pass_time(START_MS + 25 * DAY_MS)
        self.second, self.topic = stand.look(), stand.topic

    def with_second(self, look: Look) -> dict[str, list[str]]:
        return broken(audited(self.first, look, self.topic, seen=self.seen))

    def with_topic(self, topic: Sequence[Raw], tombstones: Sequence[bytes] = ()) -> dict[str, list[str]]:
        return broken(audited(self.first, self.second, topic, seen=len(topic), tombstones=tombstones))


@pytest.fixture(scope="module")
def case() -> Case:
    case = Case()
    assert case.with_second(case.second) == {}
    return case


def times(name: str, factor: float) -> Callable[[Look], Look]:
    return lambda look: with_entries(look, WHO, **{name: float(entry(look, WHO)[name]) * factor})


def plus(name: str, number: int) -> Callable[[Look], Look]:
    return lambda look: with_entries(look, WHO, **{name: int(entry(look, WHO)[name]) + number})


def head(**values: float) -> Callable[[Look], Look]:
    return lambda look: with_head(look, WHO, **values)


def without_rows(look: Look) -> Look:
    """The look without somebody."""
    at = look.users.index(WHO.encode())
    kept = look.user != at
    return replace(
        look,
        users=[user for user in look.users if user != WHO.encode()],
        heads=np.delete(look.heads, at),
        told=np.delete(look.told, at, axis=0),
        entries=look.entries[kept],
        user=np.where(look.user > at, look.user - 1, look.user)[kept],
        code=look.code[kept],
        told_own=look.told_own[kept],
    )


def clock_back(look: Look) -> Look:
    clocks = dict.fromkeys(look.head.clocks_ms, START_MS + 20 * DAY_MS)
    return replace(look, head=msgspec.structs.replace(look.head, clocks_ms=clocks))


def faded(look: Look) -> Look:
    return times("reach", 0.5)(times("network", 0.5)(look))


def taken(look: Look) -> Look:
    return with_entries(look, WHO, taken_reach=0.01)


def counted_elsewhere(look: Look) -> Look:
    over_all, *others = look.head.histograms
    at = next(place for place, users in enumerate(over_all) if users)
    moved = [*over_all[:at], over_all[at] - 1, over_all[at + 1] + 1, *over_all[at + 2 :]]
    return replace(look, head=msgspec.structs.replace(look.head, histograms=[moved, *others]))


def shift_lost(look: Look) -> Look:
    below, *others = look.head.shift
    return replace(look, head=msgspec.structs.replace(look.head, shift=[below + 1, *others]))


def change_lost(look: Look) -> Look:
    return replace(look, head=msgspec.structs.replace(look.head, changes=look.head.changes - 1))


def told_more(look: Look) -> Look:
    told = look.told.copy()
    told[look.users.index(WHO.encode()), 0] += 1
    return replace(look, told=told)


IN_ROWS = [
    ("a sum that is no number", times("reach", np.nan), "score_in_range"),
    ("a published score of 150", head(score_tenths=1500), "score_in_range"),
    ("a sum that faded too much", times("network", 0.9), "no_interaction_lowers_a_sum"),
    (
        "all sums faded too much",
        faded,
        "only_decay_lowers_strength",
    ),
    ("a sum that rose by itself", times("amplification", 1.001), "sums_rise_by_grants"),
    ("more than was granted", times("reach", 1000.0), "sums_rise_by_grants"),
    ("less than nothing", times("reach", -1.0), "sums_rise_by_grants"),
    (
        "something taken though nothing was",
        taken,
        "sums_rise_by_grants",
    ),
    ("granted without an event", times("granted_reach", 2.0), "sums_rise_by_grants"),
    ("network beyond amplification", times("granted_network", 20.0), "sums_rise_by_grants"),
    ("a published score that the sums do not give", head(score_tenths=300), "score_follows_sums"),
    ("a published sub-score that the sums do not give", head(reach_tenths=300), "score_follows_sums"),
    ("a network score that the sums do not give", plus("score_tenths", 20), "score_follows_sums"),
    ("the worker says another score", told_more, "score_follows_sums"),
    ("a sequence behind the topic", head(sequence=1), "sequence_and_previous_chain"),
    ("a sequence before the topic", head(sequence=10_000), "sequence_and_previous_chain"),
    ("as of another moment", head(as_of=START_MS), "sequence_and_previous_chain"),
    ("an event more than were applied", plus("events", 1), "rows_conserved"),
    ("an event fewer than were applied", plus("events", -1), "rows_conserved"),
    ("a user counted where they are not", counted_elsewhere, "rows_conserved"),
    ("a fall within the hour that was not counted", shift_lost, "rows_conserved"),
    ("a change that was not counted", change_lost, "rows_conserved"),
    ("a row that is gone", without_rows, "emitted_only_with_state"),
    ("a row without a score", head(score_tenths=0), "emitted_only_with_state"),
    ("a row of whom nothing was published", head(sequence=0), "emitted_only_with_state"),
]


@pytest.mark.parametrize(("fault", "plant", "law"), IN_ROWS, ids=[name for name, *_ in IN_ROWS])
def test_a_fault_in_the_rows_breaks_its_law(case: Case, fault: str, plant: Callable[[Look], Look], law: str) -> None:
    found = case.with_second(plant(case.second))
    assert law in found, fault
    assert {who for offenders in found.values() for who in offenders if not who.startswith("partition 0")} <= {WHO}


@pytest.mark.parametrize(("factor", "law"), [(0.5, "no_interaction_lowers_a_sum"), (1.5, "sums_rise_by_grants")])
def test_a_sum_is_judged_while_events_are_taken_back_from_it_too(factor: float, law: str) -> None:
    stand, acts = Stand(), list(some_acts(10, 450, days=20, retracting=0.15))
    for batch in in_batches(acts[:400], 50):
        stand.apply(batch)
    first, seen = stand.look(), len(stand.topic)
    taken = float(entry(first, WHO)["taken_reach"])
    stand.apply(acts[400:])
    second = stand.look()
    assert float(entry(second, WHO)["taken_reach"]) > taken
    assert broken(audited(first, second, stand.topic, seen=seen)) == {}
    assert broken(audited(first, times("reach", factor)(second), stand.topic, seen=seen))[law] == [WHO]


def test_somebody_whose_time_had_come_long_before_was_overlooked() -> None:
    stand = Stand()
    stand.apply(list(some_acts(1, 100, days=1)))
    stand.pass_time(START_MS + 2 * DAY_MS)
    first = with_entries(stand.look(), WHO, due=START_MS)
    assert broken(audited(first, first, stand.topic)) == {"score_follows_sums": [WHO]}
    waiting = replace(first, head=msgspec.structs.replace(first.head, due_left=True))
    assert broken(audited(first, waiting, stand.topic)) == {}


def test_a_clock_that_went_back_is_named(case: Case) -> None:
    assert case.with_second(clock_back(case.second))["only_decay_lowers_strength"] == ["partition 0"]


def places(topic: Sequence[Raw]) -> list[int]:
    return [at for at, record in enumerate(topic) if record.key == WHO.encode()]


def edited(place: int, **values: Any) -> Callable[[Sequence[Raw]], list[Raw]]:
    """The topic with another change of somebody, the n-th of theirs."""

    def edit(topic: Sequence[Raw]) -> list[Raw]:
        found = list(topic)
        at = places(topic)[place]
        value = json.loads(found[at].value)
        value |= {key: change(value) if callable(change) else change for key, change in values.items()}
        found[at] = found[at]._replace(value=json.dumps(value).encode())
        return found

    return edit


def lost(topic: Sequence[Raw]) -> list[Raw]:
    at = places(topic)[2]
    return [*topic[:at], *topic[at + 1 :]]


def doubled(topic: Sequence[Raw]) -> list[Raw]:
    at = places(topic)[2]
    return [*topic[: at + 1], *topic[at:]]


def swapped(topic: Sequence[Raw]) -> list[Raw]:
    one, two = places(topic)[1:3]
    found = list(topic)
    found[one], found[two] = found[two], found[one]
    return found


IN_CHANGES = [
    ("a score of 150", edited(2, score=150.0), "score_in_range"),
    ("a score of 0.5", edited(2, score=0.5), "score_in_range"),
    ("a score not in tenths", edited(2, score=20.05), "score_in_range"),
    ("a sub-score of 0", edited(2, subscores={"reach": 0.0, "amplification": 20.0, "network": 20.0}), "score_in_range"),
    ("a score that its sub-scores do not give", edited(-1, score=lambda of: of["score"] + 1), "score_follows_sums"),
    ("a network with more than the whole", edited(-1, networks={"one": 90.0, "two": 9.0}), "score_follows_sums"),
    ("a change lost", lost, "sequence_and_previous_chain"),
    ("a change twice", doubled, "sequence_and_previous_chain"),
    ("two changes in each other's place", swapped, "sequence_and_previous_chain"),
    ("another score before", edited(2, previous=lambda of: of["previous"] + 0.1), "sequence_and_previous_chain"),
    ("a first change with a score before", edited(0, previous=3.0), "sequence_and_previous_chain"),
    ("a moment that goes back", edited(2, as_of="2012-06-01T00:00:00.000Z"), "sequence_and_previous_chain"),
    ("another's name", edited(2, user="t2"), "sequence_and_previous_chain"),
    ("a score and no parts", edited(2, subscores=None), "emitted_only_with_state"),
    ("parts and no score", edited(2, score=None), "emitted_only_with_state"),
]


@pytest.mark.parametrize(("fault", "plant", "law"), IN_CHANGES, ids=[name for name, *_ in IN_CHANGES])
def test_a_fault_in_the_changes_breaks_its_law(
    case: Case, fault: str, plant: Callable[[Sequence[Raw]], list[Raw]], law: str
) -> None:
    found = case.with_topic(plant(case.topic))
    assert found.pop(law) == [WHO], fault
    # Nothing else is broken but what a chain is held against.
    assert set(found) <= {"sequence_and_previous_chain", "score_follows_sums"}


def test_a_change_that_is_no_json_breaks_the_chain(case: Case) -> None:
    at = places(case.topic)[2]
    topic = [*case.topic[:at], case.topic[at]._replace(value=b"{"), *case.topic[at + 1 :]]
    assert case.with_topic(topic) == {"sequence_and_previous_chain": [WHO]}


def test_somebody_deleted_without_having_been_forgotten_breaks_the_last_law(case: Case) -> None:
    assert case.with_topic(case.topic, [WHO.encode()]) == {"emitted_only_with_state": [WHO]}


def test_a_score_of_somebody_without_a_row_breaks_the_last_law(case: Case) -> None:
    record = next(record for record in case.topic if json.loads(record.value)["sequence"] == 1)
    value = json.loads(record.value) | {"user": "nobody"}
    topic = [*case.topic, record._replace(key=b"nobody", value=json.dumps(value).encode())]
    assert case.with_topic(topic) == {"emitted_only_with_state": ["nobody"]}


def test_a_fall_that_decay_does_not_explain_is_seen_in_the_changes_alone() -> None:
    def fallen(days: int, fall: float) -> bool:
        stand = Stand()
        stand.apply([act for act in some_acts(4, 60, days=1) if act.network == "one"])
        look, [record, *_] = stand.look(), stand.topic

        def change(sequence: int, day: int, score: float, **values: Any) -> Raw:
            parts = {"networks": {"one": score}, "subscores": dict.fromkeys(SUMS, score)}
            as_of = {"as_of": f"2012-07-{1 + day:02d}T00:00:00.000Z", "sequence": sequence, "score": score}
            return record._replace(value=json.dumps(json.loads(record.value) | parts | as_of | values).encode())

        topic = [change(1, 0, 80.0), change(2, days, round(80.0 - fall, 1), previous=80.0, cause="decay")]
        return "only_decay_lowers_strength" in broken(audited(look, look, topic))

    assert [fallen(10, 1.7), fallen(10, 1.8)] == [False, True]
    assert [fallen(1, 0.2), fallen(1, 0.3)] == [False, True]
    assert [fallen(0, 0.0), fallen(0, 0.1)] == [False, True]
