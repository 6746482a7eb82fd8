"""What follows from the score's definition and must stay true."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scorer.arrays import Ints, Records
from scorer.decay import decay
from scorer.model import DAY_MS, Model
from scorer.reference import Reference
from scorer.scale import combined, scaled, tenths, whole
from scorer.target_state import ENTRY, HEAD
from scorer.targets import Scored, publish, score_targets
from scorer.timers import NO_CLOCK, evaluation_times
from tests.scorer.partition import START_MS, Partition, act, fans, stream

MODEL = Model()
SCALE = MODEL.score_scale
sums = st.floats(1e-6, 1e8)
kinds = st.sampled_from(["share", "quote", "reply", "mention", "follow", "reaction"])


def score_of(partition: Partition, user: str) -> float:
    """A user's unrounded score at the partition's clocks; NaN where it has none."""
    head, entries = partition.state(user)
    return float(taken_at(head, entries, partition.clocks).score[0])


def taken_at(head: Records, entries: Records, clocks: Ints) -> Scored:
    """A user, scored at clocks."""
    return score_targets(head[None], entries[None], evaluation_times(entries[None], clocks), MODEL.parameters)


def test_only_what_others_do_counts() -> None:
    reference = Reference(MODEL)
    reference.apply(act("ann", "ann", START_MS))
    assert reference.counters == {"self": 1}
    assert reference.changes == []


def test_acting_gives_the_actor_no_score() -> None:
    partition = Partition(MODEL)
    partition.apply([act("ann", "bob", START_MS)])
    assert np.isnan(score_of(partition, "ann"))


@given(seed=st.integers(0, 2**32), kind=kinds, late_days=st.integers(0, 60))
@settings(deadline=None, max_examples=50)
def test_any_engagement_adds(seed: int, kind: str, late_days: int) -> None:
    partition = Partition(MODEL)
    past = [e for e in stream(seed, events=30, actors=4, targets=4, days_per_event=0.1) if e.actor != e.target]
    partition.apply([*past, *fans("u0", 3)])
    before = score_of(partition, "u0")
    now = int(partition.clocks.max())
    partition.clocks[:] = now
    before = score_of(partition, "u0")
    partition.apply([act("u1", "u0", now - late_days * DAY_MS, kind)])
    assert score_of(partition, "u0") > before


@given(st.lists(st.integers(0, 9), min_size=1, max_size=20), st.integers(0, 40))
@settings(deadline=None, max_examples=50)
def test_one_more_network_never_lowers(actors: list[int], days_apart: int) -> None:
    alone, both = Partition(MODEL), Partition(MODEL)
    first = [act(f"fan{actor}", "star", START_MS + number) for number, actor in enumerate(actors)]
    alone.apply(first)
    both.apply([*first, act("stranger", "star", START_MS - days_apart * DAY_MS, "reaction", "two")])
    assert score_of(both, "star") > score_of(alone, "star")


@given(sums, sums, sums, st.floats(1.0001, 100), st.floats(1.0001, 100), st.floats(1.0001, 100))
def test_if_all_three_sub_scores_rise_the_score_rises(
    reach: float, amplification: float, network: float, more_r: float, more_a: float, more_n: float
) -> None:
    before = combined(reach, amplification, network)
    after = combined(reach * more_r, amplification * more_a, network * more_n)
    assert after > before
    assert scaled(after, SCALE) > scaled(before, SCALE) or scaled(before, SCALE) == 100.0


@given(st.floats(0, SCALE), st.floats(0, 3650))
def test_decay_takes_at_most_017_points_a_day(strength: float, day: float) -> None:
    now = strength * decay(day * DAY_MS, MODEL.half_life_ms)
    tomorrow = now * decay(DAY_MS, MODEL.half_life_ms)
    assert 0.0 <= scaled(now, SCALE) - scaled(tomorrow, SCALE) <= 0.17


def test_scores_fade_with_the_clock_and_not_without_it() -> None:
    partition = Partition(MODEL)
    partition.apply(fans("star", 20))
    head, entries = partition.state("star")
    still = taken_at(head, entries, partition.clocks)
    later = taken_at(head, entries, partition.clocks + 30 * DAY_MS)
    assert later.score[0] < still.score[0]
    assert later.as_of[0] == START_MS + 19 + 30 * DAY_MS


def test_each_network_fades_by_its_own_clock() -> None:
    partition = Partition(MODEL)
    partition.apply([act("ann", "star", START_MS, network="one"), act("ann", "star", START_MS, network="two")])
    head, entries = partition.state("star")
    clocks = partition.clocks + np.array([0, 30 * DAY_MS, 0])
    scored = taken_at(head, entries, clocks)
    assert scored.reach[0] == pytest.approx(scaled(1.5, SCALE))
    assert scored.networks[0, 0] > scored.networks[0, 1]


def test_a_part_whose_last_event_is_later_than_the_clock_is_taken_at_that_event() -> None:
    partition = Partition(MODEL)
    partition.apply([act("ann", "star", START_MS)])
    head, entries = partition.state("star")
    scored = taken_at(head, entries, partition.clocks - DAY_MS)
    assert scored.reach[0] == scaled(1.0, SCALE)
    assert scored.as_of[0] == START_MS


def test_an_unknown_user_has_no_score_and_no_change() -> None:
    heads: Records = np.zeros(1, HEAD)
    entries: Records = np.zeros((1, 2), ENTRY)
    scored = taken_at(heads[0], entries[0], np.array([START_MS, NO_CLOCK]))
    assert np.isnan(scored.score[0])
    assert len(publish(heads, entries, scored).index) == 0


def test_who_acts_rarely_counts_more() -> None:
    partition = Partition(MODEL)
    partition.apply([act("busy", f"other{number}", START_MS) for number in range(20)])
    grants = partition.apply([act("busy", "star", START_MS), act("rare", "star", START_MS)]).grants
    assert grants.amplification == pytest.approx([0.5, 1.0])


def test_influential_people_count_more() -> None:
    partition = Partition(MODEL)
    partition.apply(fans("star", 100))
    grants = partition.apply([act("star", "bob", START_MS), act("nobody", "bob", START_MS)]).grants
    assert grants.network[0] > 2 * grants.network[1]
    assert grants.amplification[0] == grants.amplification[1]


def test_the_second_act_on_the_same_person_counts_less_and_adds_no_reach() -> None:
    grants = Partition(MODEL).apply([act("ann", "bob", START_MS), act("ann", "bob", START_MS)]).grants
    assert grants.reach.tolist() == [1.0, 0.0]
    assert grants.amplification[1] < grants.amplification[0] / 5


@pytest.mark.parametrize("pace_days", [0.1, 1, 7])
def test_a_fan_of_constant_pace_and_selectivity_brings_a_curve_that_never_wanes(pace_days: float) -> None:
    partition = Partition(Model(rate_reference=1e9))
    curve = []
    for number in range(150):
        partition.apply([act("ann", "star", START_MS + round(number * pace_days * DAY_MS))])
        curve.append(score_of(partition, "star"))
    assert np.all(np.diff(curve) > -1e-12)


def test_a_daily_fan_brings_a_curve_that_stays_where_it_has_risen_to() -> None:
    partition = Partition(MODEL)
    curve = []
    for day in range(150):
        partition.apply([act("ann", "star", START_MS + day * DAY_MS)])
        curve.append(score_of(partition, "star"))
    assert abs(curve[-1] - curve[-30]) < 0.01


def scored_as(score: float, reach: float, amplification: float, network: float, own: float) -> Scored:
    return Scored(
        score=np.array([score]),
        reach=np.array([reach]),
        amplification=np.array([amplification]),
        network=np.array([network]),
        networks=np.array([[own]]),
        times=np.array([[START_MS]]),
        as_of=np.array([START_MS]),
    )


@pytest.mark.parametrize(
    ("scored", "shows"),
    [
        (scored_as(20.04, 30.0, 30.0, 30.0, 20.0), False),
        (scored_as(20.05, 30.0, 30.0, 30.0, 20.0), True),
        (scored_as(19.94, 30.0, 30.0, 30.0, 20.0), True),
        (scored_as(20.0, 30.4, 30.4, 30.4, 20.4), False),
        (scored_as(20.0, 30.5, 30.0, 30.0, 20.0), True),
        (scored_as(20.0, 30.0, 30.5, 30.0, 20.0), True),
        (scored_as(20.0, 30.0, 30.0, 29.4, 20.0), True),
        (scored_as(20.0, 30.0, 30.0, 30.0, 20.5), True),
    ],
)
def test_a_change_shows_by_a_tenth_of_the_score_or_a_point_of_its_parts(scored: Scored, shows: bool) -> None:
    heads: Records = np.zeros(1, HEAD)
    entries: Records = np.zeros((1, 1), ENTRY)
    entries["events"] = 1
    first = publish(heads, entries, scored_as(20.0, 30.0, 30.0, 30.0, 20.0))
    assert (first.sequence[0], first.previous_tenths[0], first.score[0]) == (1, 0, 20.0)
    second = publish(heads, entries, scored)
    assert len(second.index) == int(shows)
    if shows:
        assert (second.sequence[0], second.previous_tenths[0]) == (2, 200)


@pytest.mark.parametrize(
    ("moments", "anchors"),
    [
        # Minutes of the moments at which the score was 20, 21, 22 …, and hour and score of the anchor after each.
        ([10, 20, 50], [(0, 0.0), (0, 0.0), (0, 0.0)]),
        ([10, 70, 80, 130], [(0, 0.0), (1, 20.0), (1, 20.0), (2, 22.0)]),
        # What came while clocks stood is of its own hour; and of none that is not there yet.
        ([10, 200, 500], [(0, 0.0), (3, 20.0), (5, 21.0)]),
    ],
)
def test_the_anchor_is_the_score_when_the_hour_of_a_change_began(
    moments: list[int], anchors: list[tuple[int, float]]
) -> None:
    heads: Records = np.zeros(1, HEAD)
    entries: Records = np.zeros((1, 1), ENTRY)
    entries["events"] = 1
    found = []
    for number, minute in enumerate(moments):
        scored = scored_as(20.0 + number, 30.0, 30.0, 30.0, 20.0)._replace(as_of=np.array([minute * 60_000]))
        publish(heads, entries, scored, hour=5)
        found.append((int(heads["anchor_hour"][0]), float(heads["anchor_tenths"][0]) / 10))
    assert found == anchors


def test_a_network_that_is_new_to_a_user_shows() -> None:
    heads: Records = np.zeros(1, HEAD)
    entries: Records = np.zeros((1, 1), ENTRY)
    entries["events"] = 1
    publish(heads, entries, scored_as(1.0, 1.0, 1.0, 1.0, 1.0))
    entries["score_tenths"] = 0
    assert len(publish(heads, entries, scored_as(1.0, 1.0, 1.0, 1.0, 1.0)).index) == 1


@given(st.floats(1, 100))
def test_a_score_is_published_to_the_nearest_tenth(score: float) -> None:
    assert abs(tenths(score) / 10 - score) <= 0.05 + 1e-9


@given(st.integers(10, 1000))
def test_a_published_score_counts_to_the_nearest_point(score_tenths: int) -> None:
    assert -5 <= whole(score_tenths) * 10 - score_tenths <= 5
