"""Who a change names, through both stages."""

import math
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from schemas.change import Reason
from scorer.model import DAY_MS, Model
from scorer.published import TENTHS_MAX, TENTHS_MIN, strengths
from scorer.reference import Event
from streams.forgotten import Forgotten
from streams.reasons import REASONS_MAX, Reasons, drawn, no_reasons, reasons_of
from streams.stages.targets import TargetsOutcome
from tests.streams.stages import Act, Retraction, Stages

NOW_MS = 1_340_000_000_000
NETWORKS = ("twitter", "mastodon")


def event(number: int, actor: str, target: str = "t:1", network: str = "twitter", time: int = NOW_MS) -> Event:
    return Event(network, f"e{number}", "share", actor, target, time)


def told(outcome: TargetsOutcome | None, stages: Stages, share: float = 1.0) -> dict[str, list[Reason]]:
    """The reasons of the users whose changes have any."""
    assert outcome is not None
    reasons = reasons_of(outcome, share)
    by_user = {
        outcome.users[at].decode(): reasons.of(change, stages.state.networks)
        for change, at in enumerate(outcome.published.index.tolist())
    }
    return {user: theirs for user, theirs in by_user.items() if theirs is not UNSET}


ACTS = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 3), st.sampled_from(NETWORKS), st.integers(0, 50)), max_size=60
)


@given(ACTS)
def test_a_change_names_who_added_most_in_its_batch_and_how_much(acts: list[tuple[int, int, str, int]]) -> None:
    stages = Stages(Model())
    events = [
        event(number, f"a:{actor}", f"t:{target}", network, NOW_MS + days * DAY_MS)
        for number, (actor, target, network, days) in enumerate(acts)
    ]
    if not events:
        return
    outcome = stages.apply(events)
    assert outcome is not None
    grants: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for row, user in enumerate(outcome.user.tolist()):
        actor = outcome.actors[outcome.actor[row]].decode()
        network = stages.state.networks[outcome.network[row]]
        grants[outcome.users[user].decode(), actor, network].append(float(outcome.grants.network[row]))
    found = told(outcome, stages)
    assert found.keys() == {outcome.users[at].decode() for at in outcome.published.index.tolist()}
    for user, theirs in found.items():
        of_user = {key: given for key, given in grants.items() if key[0] == user}
        largest = sorted((sum(given) for given in of_user.values()), reverse=True)[:REASONS_MAX]
        assert [why.granted for why in theirs] == pytest.approx(largest, abs=0.6e-5)
        for why in theirs:
            given_ = of_user[user, str(why.actor), why.network]
            assert why.events == len(given_)
            assert why.granted == pytest.approx(sum(given_), abs=0.6e-5)


def test_which_changes_say_why_depends_on_user_and_number_alone() -> None:
    users = [b"t:%d" % number for number in range(20_000)]
    sequences = np.arange(1, len(users) + 1, dtype=np.uint64)
    some, more = drawn(users, sequences, 1 / 16), drawn(users, sequences, 1 / 4)
    assert 0.055 < some.mean() < 0.07
    assert 0.24 < more.mean() < 0.26
    assert not np.any(some & ~more)
    assert (drawn(users[::-1], sequences[::-1], 1 / 16)[::-1] == some).all()
    assert drawn(users, sequences, 1.0).all()


def test_with_a_share_of_nothing_nothing_is_noted() -> None:
    stages = Stages(Model())
    assert told(stages.apply([event(1, "a:1")]), stages, share=0.0) == {}


def test_what_takes_back_adds_nothing_and_is_no_reason() -> None:
    stages = Stages(Model())
    stages.apply([event(number, f"a:{number}") for number in range(5)])
    back = Retraction("twitter", "e2", "a:2", NOW_MS)
    assert told(stages.apply([back]), stages) == {}
    both: list[Act] = [Retraction("twitter", "e3", "a:3", NOW_MS), event(8, "a:8"), event(9, "a:9")]
    assert {(why.actor, why.events) for why in told(stages.apply(both), stages)["t:1"]} == {("a:8", 1), ("a:9", 1)}


def test_who_was_forgotten_is_not_named_and_each_stands_alone() -> None:
    stages = Stages(Model())
    stages.forgotten = Forgotten(b"key")
    for user in (b"a:1", b"a:2"):
        entry = stages.forgotten.get(user)
        entry.dropping = True
        stages.forgotten.apply([stages.forgotten.row(user, entry)])
    acts = [event(1, "a:1"), event(2, "a:2"), event(3, "a:3")]
    outcome = stages.apply(acts)
    assert outcome is not None
    found = told(outcome, stages)["t:1"]
    assert sorted(str(why.actor) for why in found) == ["None", "None", "a:3"]
    assert [why.events for why in found] == [1, 1, 1]
    assert reasons_of(outcome, 1.0).names == [b"a:3"]


def test_nobody_is_named_where_nothing_would_ever_replace_the_name() -> None:
    # Its worth has faded to nothing, so decay will never show and the change is the user's last.
    stages = Stages(Model())
    stages.state.network_code("twitter")
    stages.state.clocks["twitter"] = NOW_MS + 36_500 * DAY_MS
    outcome = stages.apply([event(1, "a:1")])
    assert outcome is not None
    assert outcome.published.score.tolist() == [1.0]
    assert reasons_of(outcome, 1.0).of(0, NETWORKS) is UNSET


def test_decay_replaces_a_name_within_the_time_that_the_page_on_privacy_says() -> None:
    # From the upper end of what is published as one score, or as one whole sub-score, to its lower end.
    least = strengths(Model().score_scale)
    tenths = [least[score + 1] / least[score] for score in range(TENTHS_MIN + 1, TENTHS_MAX)]
    points = [least[10 * points + 5] / least[10 * points - 5] for points in range(2, TENTHS_MAX // 10)]
    assert max(math.log2(steps) for steps in tenths + points) < 1.8


def test_nothing_noted_is_absent() -> None:
    assert isinstance(no_reasons(1), Reasons)
    assert no_reasons(1).of(0, NETWORKS) is UNSET
