"""Decay shows when it should: at its own millisecond, whatever steps the clocks take, and for no other reason."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scorer.arrays import Ints, Records
from scorer.model import DAY_MS, Model
from scorer.scale import scaled, tenths
from scorer.target_state import ENTRY, HEAD, decode_targets, encode_targets, stored_dues
from scorer.targets import Published, publish, score_targets
from scorer.timers import NEVER, NO_CLOCK, advance, evaluation_times, reschedule, until_shows
from tests.scorer.partition import START_MS

PARAMETERS = Model().parameters
LOOKS_MAX = 20_000
SHOWN = ["score_tenths", "reach_tenths", "amplification_tenths", "network_tenths", "sequence", "as_of"]


class Users:
    """Users who got something once, published then, and to whom nothing happens any more."""

    def __init__(self, sums: list[tuple[float, float, float]], networks: int = 1) -> None:
        self.heads: Records = np.zeros(len(sums), HEAD)
        self.entries: Records = np.zeros((len(sums), networks), ENTRY)
        for user, (reach, amplification, network) in enumerate(sums):
            for code in range(networks):
                share = (1.0, 0.25)[code]
                entry = self.entries[user, code]
                entry["events"], entry["time"] = 1, START_MS - code * DAY_MS
                entry["reach"], entry["amplification"], entry["network"] = reach * share, amplification * share, network
        self.clocks: Ints = np.full(networks, NO_CLOCK)
        self.changes: list[tuple[int, int, int]] = []
        """User, time, score in tenths."""
        self.hints: set[tuple[int, int, int]] = set()
        """User, network, due time, as the table of due times has them."""
        self.looks = 0
        self.take(np.empty(0, np.int64))

    def take(self, due: Ints) -> Published:
        times = evaluation_times(self.entries, self.clocks)
        advance(self.heads, self.entries, times, due, self.clocks, PARAMETERS)
        scored = score_targets(self.heads, self.entries, times, PARAMETERS)
        published = publish(self.heads, self.entries, scored)
        moved = reschedule(self.heads, self.entries, times, self.clocks, PARAMETERS)
        for user, network, before, after in zip(*(of.tolist() for of in moved), strict=True):
            self.hints.discard((user, network, before))
            self.hints |= {(user, network, after)} if 0 < after < NEVER else set()
        scores = np.rint(published.score * 10).astype(int)
        self.changes += zip(published.index.tolist(), published.as_of.tolist(), scores.tolist(), strict=True)
        return published

    def let_pass(self, clocks: list[int]) -> None:
        """Move the clocks, and look at whoever is due, as often as somebody is."""
        self.clocks = np.array(clocks)
        while seen := {hint for hint in self.hints if hint[2] <= clocks[hint[1]]}:
            due = np.unique([user for user, _, _ in seen])
            self.looks += len(due)
            assert self.looks < LOOKS_MAX, "somebody is looked at again and again"
            self.hints -= seen
            rest = np.setdiff1d(np.arange(len(self.heads)), due)
            # Who is not due is not read: that changes nothing that is published of them.
            heads, entries, hints = self.heads[rest].copy(), self.entries[rest].copy(), self.hints.copy()
            self.take(np.arange(len(self.heads)))
            assert all(np.array_equal(self.heads[rest][name], heads[name]) for name in SHOWN)
            self.heads[rest], self.entries[rest] = heads, entries
            unread = set(rest.tolist())
            kept = {hint for hint in hints if hint[0] in unread}
            self.hints = {hint for hint in self.hints if hint[0] not in unread} | kept
        stored = {(user, code, due) for (user, code), due in np.ndenumerate(self.entries["due"]) if 0 < due < NEVER}
        assert self.hints == stored


def whole(of: Any) -> list[int]:
    """Published tenths as integers."""
    numbers: list[int] = ((np.asarray(of, np.int64) + 5) // 10).tolist()
    return numbers


def scores_at(users: Users, clocks: list[int]) -> tuple[list[int], list[list[int]]]:
    """Scores in tenths, and sub-scores and network scores as integers, as the formulas have them."""
    times = evaluation_times(users.entries, np.array(clocks))
    scored = score_targets(users.heads, users.entries, times, PARAMETERS)
    parts = [scored.reach, scored.amplification, scored.network, *scored.networks.T]
    rounded = [np.floor(part * 10 + 0.5).astype(int) for part in parts]
    return np.floor(scored.score * 10 + 0.5).astype(int).tolist(), [whole(part) for part in rounded]


SUMS = st.tuples(st.floats(0.01, 1e7), st.floats(0.01, 1e7), st.floats(0.001, 1e6))


@given(st.lists(SUMS, min_size=1, max_size=4), st.lists(st.integers(1, 20 * DAY_MS), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_after_any_steps_of_the_clock_what_is_published_is_what_the_clock_says(
    sums: list[tuple[float, float, float]], steps: list[int]
) -> None:
    users, clock = Users(sums), START_MS
    for step in steps:
        clock += step
        users.let_pass([clock])
        scores, parts = scores_at(users, [clock])
        assert users.heads["score_tenths"].tolist() == scores
        shown = ["reach_tenths", "amplification_tenths", "network_tenths"]
        published = [whole(users.heads[name]) for name in shown]
        assert [*published, whole(users.entries["score_tenths"][:, 0])] == parts


def test_each_change_is_at_the_first_millisecond_at_which_it_shows() -> None:
    users = Users([(40.0, 25.0, 3.0)])
    users.let_pass([START_MS + 90 * DAY_MS])
    assert len(users.changes) > 50
    for _, time, _ in users.changes[1:]:
        assert scores_at(users, [time]) != scores_at(users, [time - 1])


@pytest.mark.parametrize("step_ms", [1000, 3_600_000, 7 * DAY_MS])
def test_the_changes_are_the_same_in_whatever_steps_the_clock_goes(step_ms: int) -> None:
    at_once, in_steps = Users([(40.0, 25.0, 3.0)]), Users([(40.0, 25.0, 3.0)])
    end = START_MS + (14 * DAY_MS if step_ms > 1000 else DAY_MS)
    at_once.let_pass([end])
    for clock in range(START_MS + step_ms, end + 1, step_ms):
        in_steps.let_pass([clock])
    assert len(at_once.changes) > 1
    assert in_steps.changes == at_once.changes


def test_a_score_falls_a_tenth_at_a_time_and_at_most_seventeen_hundredths_a_day() -> None:
    users = Users([(1e5, 1e5, 1e4)])
    users.let_pass([START_MS + 30 * DAY_MS])
    scores = [(time, tenths) for _, time, tenths in users.changes]
    for (before, high), (after, low) in pairwise(scores):
        assert 0 <= high - low <= 1
        assert after > before
    days = (scores[-1][0] - scores[1][0]) / DAY_MS
    assert (scores[1][1] - scores[-1][1]) / 10 <= 0.17 * days


def test_nothing_falls_while_no_clock_moves() -> None:
    users = Users([(40.0, 25.0, 3.0), (2.0, 1.0, 0.1)])
    before = list(users.changes)
    users.let_pass([NO_CLOCK])
    users.let_pass([START_MS - DAY_MS])
    assert users.changes == before
    assert users.looks == 0


def test_the_part_of_a_network_that_stands_still_does_not_fade() -> None:
    users = Users([(40.0, 25.0, 3.0)], networks=2)
    still, later = START_MS, START_MS + 60 * DAY_MS
    users.let_pass([still, still])
    own = int(users.entries["score_tenths"][0, 0])
    users.let_pass([still, later])
    assert int(users.entries["score_tenths"][0, 0]) == own
    scores, _ = scores_at(users, [still, later])
    assert users.heads["score_tenths"].tolist() == scores
    # And it costs no endless looking: the clock that stands brings nobody back.
    looks = users.looks
    users.let_pass([still, later + 1])
    assert users.looks - looks <= 1


@given(SUMS, st.lists(st.tuples(st.integers(0, 5 * DAY_MS), st.integers(0, 5 * DAY_MS)), min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_with_clocks_apart_what_is_published_is_what_they_say(
    sums: tuple[float, float, float], steps: list[tuple[int, int]]
) -> None:
    users, clocks = Users([sums], networks=2), [START_MS, START_MS]
    users.let_pass(clocks)
    for step in steps:
        clocks = [clock + more for clock, more in zip(clocks, step, strict=True)]
        users.let_pass(clocks)
        scores, _ = scores_at(users, clocks)
        assert users.heads["score_tenths"].tolist() == scores


def test_who_was_looked_at_between_two_clocks_changes_at_the_first_millisecond_of_both_all_the_same() -> None:
    users = Users([(40.0, 25.0, 3.0)], networks=2)
    users.let_pass([START_MS, START_MS])
    # One clock runs ahead, is looked at, and the other catches up unseen.
    ahead = int(users.entries["due"][0].min()) + 1
    seen = users.looks
    users.let_pass([START_MS, ahead])
    assert users.looks > seen
    known, end = len(users.changes), START_MS + 20 * DAY_MS
    users.let_pass([end, end])
    later = [time for _, time, _ in users.changes[known:] if time > ahead]
    assert len(later) > 20
    for time in later:
        assert scores_at(users, [time, time]) != scores_at(users, [time - 1, time - 1])


def test_a_clock_that_catches_up_takes_its_part_a_tenth_at_a_time() -> None:
    users = Users([(400.0, 250.0, 30.0)], networks=2)
    users.let_pass([START_MS, START_MS])
    end = START_MS + 20 * DAY_MS
    users.let_pass([START_MS, end])
    known = len(users.changes)
    users.let_pass([end, end])
    caught_up = users.changes[known - 1 :]
    assert len(caught_up) > 5
    assert {time for _, time, _ in caught_up[1:]} == {end}
    assert {before[2] - after[2] for before, after in pairwise(caught_up)} <= {0, 1}


@pytest.mark.parametrize("networks", [1, 2])
def test_an_event_far_ahead_of_the_clock_fades_when_the_clock_has_come_to_it(networks: int) -> None:
    users = Users([(40.0, 25.0, 3.0)], networks=networks)
    begun = list(users.changes)
    users.entries["time"] += 50 * DAY_MS
    users.take(np.empty(0, np.int64))
    event = int(users.entries["time"].max())
    users.let_pass([START_MS + 10 * DAY_MS] * networks)
    assert users.changes == begun
    assert users.looks == 0
    users.let_pass([event + 10 * DAY_MS] * networks)
    assert len(users.changes) > 10
    assert all(time > event - 2 * DAY_MS for _, time, _ in users.changes[1:])


def test_a_network_that_was_never_heard_of_keeps_its_part_while_others_fade() -> None:
    users = Users([(40.0, 25.0, 3.0)], networks=2)
    own = int(users.entries["score_tenths"][0, 1])
    users.let_pass([START_MS + 40 * DAY_MS, NO_CLOCK])
    assert int(users.entries["score_tenths"][0, 1]) == own
    scores, _ = scores_at(users, [START_MS + 40 * DAY_MS, NO_CLOCK])
    assert users.heads["score_tenths"].tolist() == scores
    assert len(users.changes) > 10


def test_sums_that_fade_to_nothing_end_at_the_lowest_score() -> None:
    users = Users([(1e-300, 1e-300, 1e-300), (40.0, 1e-310, 1e-5), (5e-324, 2.0, 1e5)])
    users.let_pass([START_MS + 40_000 * DAY_MS])
    assert users.heads["score_tenths"].tolist() == [10, 10, 10]
    assert set(users.entries["due"].ravel().tolist()) == {NEVER}
    assert users.hints == set()


@pytest.mark.parametrize("networks", [1, 2])
def test_who_stands_on_the_edge_of_a_number_is_not_looked_at_for_ever(networks: int) -> None:
    # By the table of thresholds these have passed one, by the formula of the score not yet.
    scale, edges = Model().score_scale, PARAMETERS.strengths
    below = [(tenths_, float(np.nextafter(edges[tenths_], 0.0))) for tenths_ in range(15, 995, 10)]
    reaches = [strength for tenths_, strength in below if tenths(scaled(strength, scale)) == tenths_]
    assert len(reaches) > 5
    users = Users([(reach / 1.25 if networks > 1 else reach, 25.0, 3.0) for reach in reaches], networks=networks)
    if networks > 1:
        users.entries["time"] = START_MS
        users.entries["reach"] = np.array(reaches)[:, None] / 2
        users.take(np.empty(0, np.int64))
    users.let_pass([START_MS + DAY_MS] * networks)
    assert users.heads["score_tenths"].tolist() == scores_at(users, [START_MS + DAY_MS] * networks)[0]


def test_one_small_part_that_moves_takes_few_looks() -> None:
    users = Users([(40.0, 25.0, 3.0)], networks=2)
    for name in ("reach", "amplification", "network"):
        users.entries[name][0, 1] /= 1000
    users.let_pass([START_MS, START_MS])
    users.let_pass([START_MS, START_MS + 60 * DAY_MS])
    scores, _ = scores_at(users, [START_MS, START_MS + 60 * DAY_MS])
    assert users.heads["score_tenths"].tolist() == scores
    assert users.looks <= 3 * len(users.changes)


def test_who_has_faded_to_the_lowest_score_is_never_looked_at_again() -> None:
    users = Users([(0.5, 0.4, 0.04)])
    users.let_pass([START_MS + 3000 * DAY_MS])
    assert users.heads["score_tenths"].tolist() == [10]
    assert users.entries["due"].tolist() == [[NEVER]]


def test_a_due_time_that_is_early_is_left_where_it_is() -> None:
    users = Users([(40.0, 25.0, 3.0)])
    times = evaluation_times(users.entries, users.clocks)
    due = int(users.entries["due"][0, 0])
    users.entries["reach"] *= 1.0001
    assert len(reschedule(users.heads, users.entries, times, users.clocks, PARAMETERS).user) == 0
    users.entries["reach"] /= 1.01
    moved = reschedule(users.heads, users.entries, times, users.clocks, PARAMETERS)
    assert (moved.user.tolist(), moved.network.tolist(), moved.before.tolist()) == ([0], [0], [due])
    assert START_MS < moved.after[0] < due


def test_the_due_times_of_stored_rows_are_those_of_the_users() -> None:
    users = Users([(40.0, 25.0, 3.0), (2.0, 1.0, 0.1)], networks=2)
    rows = encode_targets(users.heads, users.entries)
    dues = stored_dues([None, *rows])
    assert dues.row.tolist() == [1, 1, 2, 2]
    assert dues.network.tolist() == [0, 1, 0, 1]
    assert dues.time.tolist() == users.entries["due"].ravel().tolist()
    assert decode_targets(rows, 2).entries["due"].ravel().tolist() == dues.time.tolist()


@given(st.lists(SUMS, min_size=1, max_size=3), st.integers(0, 20 * DAY_MS), st.integers(0, 20 * DAY_MS))
@settings(max_examples=60, deadline=None)
def test_when_decay_shows_next_is_known_to_the_millisecond_on_several_clocks(
    sums: list[tuple[float, float, float]], one_ms: int, two_ms: int
) -> None:
    users = Users(sums, networks=2)
    users.let_pass([START_MS + one_ms, START_MS + two_ms])
    times = evaluation_times(users.entries, users.clocks)
    shown = scores_at(users, users.clocks.tolist())
    for user in range(len(sums)):
        after_ms = until_shows(users.heads[user], users.entries[user], times[user], PARAMETERS)
        assert after_ms > 0
        if math.isinf(after_ms):
            assert shown[0][user] == 10
            assert {part[user] for part in shown[1]} == {1}
            continue
        # Powers of two and logarithms of them agree to much less than a millisecond, not to nothing.
        before, after = (scores_at(users, (times[user] + int(after_ms) + step).tolist()) for step in (-2, 1))
        assert (before[0][user], [part[user] for part in before[1]]) == (shown[0][user], [p[user] for p in shown[1]])
        assert (after[0][user], [part[user] for part in after[1]]) != (shown[0][user], [p[user] for p in shown[1]])


def test_decay_never_shows_in_what_has_faded_to_the_lowest_score() -> None:
    users = Users([(1.0, 1.0, 0.1)])
    users.let_pass([START_MS + 40_000 * DAY_MS])
    times = evaluation_times(users.entries, users.clocks)
    assert until_shows(users.heads[0], users.entries[0], times[0], PARAMETERS) == math.inf
