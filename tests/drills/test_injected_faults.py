"""Every fault that can be injected, on real installations, and what must not be published because of it."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.drills.faults import CASES, JOBS, run_all
from tests.drills.observers import Webhook

pytestmark = [pytest.mark.drill, pytest.mark.timeout(1_800)]

LAW_SECONDS_MAX = 30.0
PARTIAL_SECONDS_MAX = 1_800.0
"""Of event time."""


def test_faults_are_noticed_and_publish_nothing_wrong_where_they_must_not(
    broker: str, tmp_path: Path, say: Callable[[str], None]
) -> None:
    rows = run_all(CASES, broker, tmp_path, say, JOBS)
    assert [row.case.name for row in rows if row.case.must_be_harmless and row.wrong_changes] == []
    assert [row.case.name for row in rows if not row.case.audit and not row.wrong_changes] == []
    by_laws = [row for row in rows if row.case.audit and row.case.fault in {"floor", "bad-model"}]
    assert all("law_violation" in row.detected_by for row in by_laws)
    assert all(row.wall_seconds is not None and row.wall_seconds < LAW_SECONDS_MAX for row in by_laws)
    of_partial = [row.event_seconds for row in rows if row.case.fault == "partial"]
    assert all(seconds is not None and seconds <= PARTIAL_SECONDS_MAX for seconds in of_partial)
    not_noticed = {row.case.fault for row in rows if not row.detected_by}
    assert not not_noticed & NOTICED


NOTICED = {
    *("stall", "dead-collector", "partial", "half-garbage", "future", "replay-storm", "retract-storm"),
    *("floor", "lost-partition", "bad-model", "mass-fall"),
}
"""Faults that somebody must notice within their seconds; the others are seen by no number."""


def test_a_webhook_takes_what_is_sent_to_it() -> None:
    with Webhook() as webhook:
        answer = httpx.post(webhook.url, json={"a": 1}, headers={"X-Signature": "s"})
        assert answer.status_code == 204
        [delivery] = webhook.deliveries
    assert delivery.body == {"a": 1}
    assert delivery.headers["x-signature"] == "s"
