"""The kernels equal the reference, however the events come and however they are batched."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from schemas.users import user_hash
from scorer import actors, targets
from scorer.actor_state import ACTOR, decode_actors
from scorer.arrays import Floats, Records
from scorer.contributors import no_contributors
from scorer.model import DAY_MS, Model
from scorer.reference import Event, Reference, sums_of
from scorer.target_state import ENTRY, HEAD
from scorer.timers import NO_CLOCK, evaluation_times
from tests.scorer.partition import START_MS, Partition, act, stream

RELATIVE = 1e-9
shapes = st.tuples(
    st.integers(0, 2**32),
    st.sampled_from([1, 2, 5, 40]),
    st.sampled_from([2, 17, 30, 60]),
    st.sampled_from([0.01, 1.0]),
)


def close(value: float, expected: float) -> bool:
    return value == pytest.approx(expected, rel=RELATIVE, abs=0)


def check_same(partition: Partition, reference: Reference, event: Event) -> None:
    """A user's sums, scores and last change are the reference's."""
    head, entries = partition.state(event.target)
    for network, code in partition.networks.items():
        sums = reference.sums.get((event.target, network))
        entry = entries[code]
        if sums is None:
            assert entry["events"] == 0
            continue
        assert (entry["events"], entry["time"]) == (sums.events, sums.time)
        assert close(entry["reach"], sums.reach)
        assert close(entry["amplification"], sums.amplification)
        assert close(entry["network"], sums.network)
    last = reference.last[event.target]
    assert head["sequence"] == last.sequence
    assert head["as_of"] == last.as_of
    published = [head[name] for name in ("score_tenths", "reach_tenths", "amplification_tenths", "network_tenths")]
    scores = last.scores
    assert scores is not None
    assert published == [scores.score, scores.reach, scores.amplification, scores.network]
    assert {n: entries[c]["score_tenths"] for n, c in partition.networks.items() if n in scores.networks} == (
        scores.networks
    )


@given(shapes)
@settings(deadline=None, max_examples=30)
def test_kernels_equal_the_reference_at_every_prefix_of_a_stream(shape: tuple[int, int, int, float]) -> None:
    seed, actors_count, targets_count, days_per_event = shape
    partition, reference = Partition(Model()), Reference(Model())
    for event in stream(seed, events=200, actors=actors_count, targets=targets_count, days_per_event=days_per_event):
        changes = len(reference.changes)
        if event.actor != event.target:
            reference.clocks[event.network] = max(event.time, reference.clocks.get(event.network, event.time))
        expected = reference.apply(event)
        if expected is None:
            continue
        batch = partition.apply([event])
        assert batch.grants.reach[0] == pytest.approx(expected.reach, rel=RELATIVE, abs=1e-15)
        assert close(batch.grants.amplification[0], expected.amplification)
        assert close(batch.grants.network[0], expected.network)
        assert len(batch.published.index) == len(reference.changes) - changes
        if len(batch.published.index):
            change = reference.changes[-1]
            assert batch.published.previous_tenths[0] == (change.previous or 0)
            assert change.scores is not None
            assert batch.published.score[0] == change.scores.score / 10
        check_same(partition, reference, event)


@pytest.mark.parametrize("cycle", [1, 17, 100, 1000])
def test_kernels_equal_the_reference_for_an_account_that_cycles(cycle: int) -> None:
    events = [act("bot", f"target{number % cycle}", START_MS + number * DAY_MS // 100) for number in range(4000)]
    partition = Partition(Model())
    partition.apply(events)
    for (target, _), sums in sums_of(events, Model()).items():
        entry = partition.state(target)[1][0]
        assert close(entry["reach"], sums.reach)
        assert close(entry["amplification"], sums.amplification)


@given(shapes, st.lists(st.integers(1, 300), min_size=1, max_size=8))
@settings(deadline=None, max_examples=30)
def test_reach_and_amplification_do_not_depend_on_the_batches(
    shape: tuple[int, int, int, float], sizes: list[int]
) -> None:
    seed, actors_count, targets_count, days_per_event = shape
    events = [
        event
        for event in stream(seed, events=300, actors=actors_count, targets=targets_count, days_per_event=days_per_event)
        if event.actor != event.target
    ]
    partition = Partition(Model())
    begin = 0
    for size in [*sizes, len(events)]:
        if events[begin : begin + size]:
            partition.apply(events[begin : begin + size])
        begin += size
    for (user, network), sums in sums_of(events, Model()).items():
        entry = partition.state(user)[1][partition.networks[network]]
        assert close(entry["reach"], sums.reach)
        assert close(entry["amplification"], sums.amplification)
        assert (entry["events"], entry["time"]) == (sums.events, sums.time)


@given(st.integers(0, 2**32))
@settings(deadline=None, max_examples=10)
def test_network_equals_amplification_where_everyone_counts_the_same(seed: int) -> None:
    partition = Partition(Model(influence_floor=1.0))
    for event in stream(seed, events=60, actors=5, targets=5, days_per_event=1.0):
        if event.actor != event.target:
            partition.apply([event])
    for user in partition.targets:
        entries = partition.state(user)[1]
        assert close(entries["network"].sum(), entries["amplification"].sum())


def test_compiled_kernels_do_what_they_do_as_plain_python() -> None:
    chance = np.random.default_rng(5)
    events = 400
    times = START_MS + np.cumsum(chance.integers(-DAY_MS // 4, DAY_MS, events))
    hashes = np.array([user_hash(b"%d" % number) for number in chance.integers(0, 40, events)], np.uint64)
    index = chance.integers(0, 2, events)
    kinds = chance.integers(0, 6, events).astype(np.uint8)
    influence = np.array([0.1, 0.7])
    model = Model().parameters
    # Every seventh row takes back the third one before it.
    back = np.array([row - 3 if row % 7 == 6 else -1 for row in range(events)])
    of = np.where(back < 0, np.arange(events), back)

    def run(actor_fold: object, target_fold: object, score: object, publish: object) -> list[Floats]:
        states: Records = np.zeros(2, ACTOR)
        reach, amplification, network = np.empty(events), np.empty(events), np.empty(events)
        undo = np.empty(events, np.int64), np.empty(events, np.uint64), np.empty(events), np.empty(events, np.int64)
        granted = reach, amplification, network
        actor_fold(states, index[of], hashes, kinds, times, influence, back, model, *granted, *undo)  # type: ignore[operator]
        grants = [part[of] for part in granted]
        heads: Records = np.zeros(7, HEAD)
        entries: Records = np.zeros((7, 3), ENTRY)
        users, codes = of % 6, of % 2
        summaries = no_contributors(7, 3)
        entered = np.zeros(events, np.bool_)
        rows = users, codes, times[of], *grants, back >= 0, hashes[of]
        target_fold(entries, *summaries, *rows, model.half_life_ms, entered)  # type: ignore[operator]
        columns = [np.empty(7) for _ in range(4)]
        networks, as_of = np.empty((7, 3)), np.empty(7, np.int64)
        clocks = np.array([times.max(), times.max() + DAY_MS, NO_CLOCK])
        taken = evaluation_times(entries, clocks)
        score(heads, entries, taken, model.half_life_ms, model.score_scale, *columns, networks, as_of)  # type: ignore[operator]
        changed, previous = np.zeros(7, np.bool_), np.zeros(7, np.uint16)
        publish(heads, entries, *columns, networks, as_of, 7, changed, previous)  # type: ignore[operator]
        fields = [states[name].astype(np.float64) for name in ACTOR.names or ()]
        fields += [heads[name].astype(np.float64) for name in HEAD.names or ()]
        fields += [entries[name].astype(np.float64) for name in ENTRY.names or ()]
        exact: list[NDArray[Any]] = [*fields, summaries.actors, entered, changed, previous[changed], as_of]
        return [
            np.concatenate([field.ravel() for field in part]) for part in (exact, [summaries.weights, summaries.bounds])
        ]

    kernels = (actors._fold, targets._fold, targets._score, targets._publish)
    compiled, plain = run(*kernels), run(*(kernel.py_func for kernel in kernels))
    assert compiled[0] == pytest.approx(plain[0], rel=RELATIVE, abs=0)
    # Single floats, which plain Python rounds more often.
    assert compiled[1] == pytest.approx(plain[1], rel=1e-3, abs=1e-6)


def test_a_jump_of_a_century_empties_both_filters_at_once() -> None:
    partition = Partition(Model())
    partition.apply([act("bot", f"target{number}", START_MS + number) for number in range(40)])
    assert decode_actors([partition.actors["bot", "one"]])["current"].any()
    later = START_MS + 36_500 * DAY_MS
    partition.apply([act("bot", "target39", later)])
    state = decode_actors([partition.actors["bot", "one"]])[0]
    assert not state["current"].any()
    assert not state["former"].any()
    assert 0 <= later - state["epoch"] < 15 * DAY_MS


def test_a_target_that_was_evicted_is_recognised_and_adds_no_reach_at_once() -> None:
    partition = Partition(Model())
    partition.apply([act("bot", f"target{number}", START_MS) for number in range(17)])
    assert partition.apply([act("bot", "target0", START_MS)]).grants.reach[0] == 0.0


def test_a_target_that_was_never_met_is_new_after_evictions() -> None:
    partition = Partition(Model())
    partition.apply([act("bot", f"target{number}", START_MS) for number in range(17)])
    assert partition.apply([act("bot", "stranger", START_MS)]).grants.reach[0] == 1.0


def test_a_target_is_new_again_after_two_epochs_and_an_eviction() -> None:
    partition = Partition(Model())
    partition.apply([act("bot", f"target{number}", START_MS) for number in range(17)])
    assert partition.apply([act("bot", "target0", START_MS + 30 * DAY_MS)]).grants.reach[0] == 1.0


def test_a_late_event_counts_with_its_decayed_worth() -> None:
    partition = Partition(Model())
    partition.apply([act("ann", "star", START_MS + 30 * DAY_MS)])
    partition.apply([act("bob", "star", START_MS)])
    entry = partition.state("star")[1][0]
    assert entry["reach"] == 1.5
    assert entry["time"] == START_MS + 30 * DAY_MS
