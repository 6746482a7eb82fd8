"""Synthetic accounts are scored like everyone and count in no public figure."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.change import CAUSES
from schemas.times import HOUR_MS
from schemas.users import canary, is_canary
from scorer.model import Model
from scorer.reference import Event, Reference
from streams.stages.targets import TargetsOutcome
from tests.scans import counted_one_by_one, counters_of
from tests.streams.stages import Stages

USERS = ["!first", "@ann", canary("net", 0), canary("net", 1), canary("other", 7), "@canary", "bob"]
pairs = st.tuples(st.sampled_from(USERS), st.sampled_from(USERS))
batches = st.lists(st.lists(pairs, min_size=1, max_size=8), min_size=1, max_size=5)


def events_of(batch: Sequence[tuple[str, str]], number: int) -> list[Event]:
    time = 1_340_000_000_000 + number * HOUR_MS
    return [Event("net", f"{number}-{at}", "share", actor, target, time) for at, (actor, target) in enumerate(batch)]


def published(outcome: TargetsOutcome, *, people: bool) -> int:
    users = [outcome.users[at] for at in outcome.published.index.tolist()]
    return sum(is_canary(user) is not people for user in users)


@given(batches)
def test_counters_say_what_a_look_at_all_people_would(batches: list[list[tuple[str, str]]]) -> None:
    stages, people, canaries = Stages(Model()), 0, 0
    for number, batch in enumerate(batches):
        outcome = stages.apply(events_of(batch, number))
        if outcome is None:
            continue
        people += published(outcome, people=True)
        canaries += published(outcome, people=False)
        state = stages.state
        rows = [row for user, row in stages.targets.items() if row is not None and not is_canary(user)]
        assert counters_of(state.population, state.networks) == counted_one_by_one(
            rows, len(state.networks), state.population.shift.hour
        )
    assert sum(stages.state.population.changes.values()) == people
    assert set(stages.state.population.changes) <= set(CAUSES)
    everyone = sorted((user, row) for user, row in stages.targets.items() if row is not None)
    before = counters_of(stages.state.population, stages.state.networks)
    stages.state.population.count_all(
        len(stages.state.networks), lambda last, _: [row for row in everyone if row[0] > last][:2], lambda: False
    )
    assert counters_of(stages.state.population, stages.state.networks) == before


def test_they_are_scored_like_everyone() -> None:
    stages, reference = Stages(Model()), Reference(Model())
    acts = [
        event
        for number in range(20)
        for event in events_of([(USERS[number % 7], USERS[(3 * number + 2) % 7])], number)
        if event.actor != event.target
    ]
    for event in acts:
        stages.apply([event])
        reference.apply(event)
    sums = stages.sums(acts[-1].time)
    assert {user for user, _ in sums} > set(USERS[2:4])
    for (user, network), (reach, _, _, events) in sums.items():
        of = reference.sums[user, network]
        assert events == of.events
        assert reach == pytest.approx(of.reach * 2.0 ** ((of.time - acts[-1].time) / reference.model.half_life_ms))
