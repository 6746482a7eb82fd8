"""The whole week on two networks, with outages and without, and four weeks after it in which only time passes."""

from collections.abc import Callable
from pathlib import Path

import pytest

from scorer.model import DAY_MS
from tests.engine import outages
from tests.engine.conftest import Install
from tests.engine.outages import Run
from tests.engine.two_networks import interactions

pytestmark = [pytest.mark.drill, pytest.mark.timeout(3_600)]

SECONDS = 300.0
WEEKS_MS = [DAY_MS, 6 * DAY_MS, *[7 * DAY_MS] * 3]


def test_outages_harm_nobody_and_everyone_falls_as_decay_says(
    install: Install, higgs_path: Path, say: Callable[[str], None]
) -> None:
    events = interactions(higgs_path)
    steady, interrupted = (
        Run(install(**outages.settings(partitions=4)), events, seconds=SECONDS) for _ in ("steady", "interrupted")
    )
    week = outages.week(steady, interrupted, events, DAY_MS // 24)
    say(f"{len(events):,} events on two networks, {len(week.end.users):,} users")

    before, after = week.stopped
    assert outages.differs_on_twitter(before, after) == []
    assert outages.with_new_events(before, after) == []
    assert outages.published_otherwise(interrupted, before, after) == []
    say(f"a feed stood still for a day: of {len(before.users):,} users nobody's part changed")

    before, after = week.halved
    assert outages.differs_on_twitter(before, after) == []
    assert outages.fell_by_more_than_their_own_events_time(before, after) == []
    news = outages.with_new_events(before, after)
    lower = sum(new.score < old.score for _, old, new in news)
    say(
        f"a collector of four was dead for a day: nobody's part changed but for the {len(news):,} with events from "
        f"others; of these {lower:,} have a lower network score, by decay to the time of these events"
    )

    assert outages.differs_from_steady(week) == []
    say("both came back: sums to 1e-9, scores and times are those of a run without outages")
    assert outages.changes_while_nothing_comes(interrupted, 10.0) == 0

    weeks = outages.fade(steady, week, WEEKS_MS, say)
    assert weeks.verdict.wrong == []
    assert weeks.verdict.exact > 1_000_000
    assert weeks.published.causes == {"decay"}
    assert (weeks.published.early, weeks.published.late) == (0, 0)
    assert weeks.published.wrong == []
    assert weeks.too_much_at_once == []
    assert weeks.unlike_export == []
