"""Outages harm nobody, and after the last event everyone falls exactly as decay says: on two real networks' worth.

A sample of the acting people of the real week, and a second network that credits the same people.
"""

from pathlib import Path

import pytest

from scorer.model import DAY_MS
from tests.engine import outages
from tests.engine.conftest import Install
from tests.engine.outages import Run, Week, Weeks
from tests.engine.two_networks import interactions

pytestmark = pytest.mark.timeout(240)

ONE_ACTOR_IN = 200
PARTITIONS = 2
SECONDS = 60.0


@pytest.fixture(scope="module")
def week(install: Install, higgs_path: Path) -> Week:
    events = interactions(higgs_path, one_in=ONE_ACTOR_IN)
    steady, interrupted = (
        Run(install(**outages.settings(PARTITIONS)), events, seconds=SECONDS) for _ in ("steady", "interrupted")
    )
    return outages.week(steady, interrupted, events, DAY_MS // 2)


@pytest.fixture(scope="module")
def weeks(week: Week) -> Weeks:
    return outages.fade(week.steady, week, [DAY_MS, 6 * DAY_MS, 7 * DAY_MS], print)


def test_while_a_feed_stands_still_nobodys_part_from_it_changes_at_all(week: Week) -> None:
    before, after = week.stopped
    assert outages.differs_on_twitter(before, after) == []
    assert outages.with_new_events(before, after) == []
    assert outages.published_otherwise(week.interrupted, before, after) == []
    # Meanwhile the other network went on, and its parts faded.
    assert sum(after.ends.values()) > sum(before.ends.values())


def test_while_one_of_four_collectors_is_dead_nothing_from_its_network_falls(week: Week) -> None:
    before, after = week.halved
    assert outages.differs_on_twitter(before, after) == []
    assert len(outages.with_new_events(before, after)) > 10
    assert outages.fell_by_more_than_their_own_events_time(before, after) == []


def test_what_comes_after_an_outage_brings_everyone_to_where_they_would_have_been(week: Week) -> None:
    assert outages.differs_from_steady(week) == []


def test_while_all_feeds_stand_still_nothing_happens(week: Week) -> None:
    assert outages.changes_while_nothing_comes(week.interrupted, 2.0) == 0


def test_each_fall_by_decay_is_published_at_its_computed_moment_and_none_is_faster_than_decay(weeks: Weeks) -> None:
    assert weeks.verdict.wrong == []
    assert weeks.verdict.exact > 10_000
    assert weeks.published.causes == {"decay"}
    assert (weeks.published.early, weeks.published.late) == (0, 0)


def test_a_score_falls_by_a_tenth_at_a_time(weeks: Weeks) -> None:
    assert weeks.too_much_at_once == []


def test_the_chains_are_whole_and_end_at_the_export(weeks: Weeks) -> None:
    assert weeks.published.wrong == []
    assert weeks.unlike_export == []
