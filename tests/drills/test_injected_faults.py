"""Every fault that can be injected, and clean data, on real installations: who notices, how soon, and what is wrong."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx
import pytest

from schemas.webhook import delivery_headers
from tests.drills.clean_drill import HiggsFile, ThreeWeeks
from tests.drills.fault_cases import CASES, STALLS
from tests.drills.faults import broker_for_long, everything, run_all
from tests.drills.guarded import HEARTBEAT_SECONDS
from tests.drills.observers import Webhook
from tests.drills.rows import CleanRow, Row, heading

pytestmark = [pytest.mark.drill, pytest.mark.timeout(1_800)]

STALL_SECONDS_MAX = 2 * HEARTBEAT_SECONDS
ALERT_SECONDS_MAX = 30.0
"""For laws and stopped partitions, until Alertmanager has the alert."""
WEBHOOK_SECONDS_MAX = 60.0
PARTIAL_SECONDS_MAX = 1_800.0
"""Of event time."""
FALSE_ALARMS_MAX = 1
STOPS = ("floor", "bad-model", "lost-partition")

Rows = Sequence[Row | CleanRow]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    with broker_for_long(tmp_path_factory.mktemp("kafka")) as broker:
        return run_all(everything(), broker, tmp_path_factory.mktemp("faults"), lambda _line: None)


@pytest.fixture
def faults(rows: Rows) -> list[Row]:
    return [row for row in rows if isinstance(row, Row)]


@pytest.fixture
def clean(rows: Rows) -> list[CleanRow]:
    return [row for row in rows if isinstance(row, CleanRow)]


@pytest.fixture
def noticed(faults: list[Row]) -> list[Row]:
    """Of faults that somebody is to notice."""
    return [row for row in faults if row.case.noticed is not None]


def named(rows: Sequence[Row]) -> list[str]:
    return [row.line() for row in rows]


def above(limit: float, seconds: float | None) -> bool:
    """Whether something took longer, or did not come at all."""
    return seconds is None or seconds >= limit


def test_every_fault_and_clean_run_has_a_row(rows: Rows, say: Callable[[str], None]) -> None:
    say(heading())
    for row in rows:
        say(row.line())
    assert len(rows) == len(everything()) >= len(CASES) + 1


def test_nothing_wrong_is_published_by_what_must_be_harmless(faults: list[Row]) -> None:
    assert named([row for row in faults if row.case.must_be_harmless and row.wrong_changes]) == []


def test_without_the_audit_something_wrong_is_published(faults: list[Row]) -> None:
    assert named([row for row in faults if not row.case.audit and not row.wrong_changes]) == []


def test_an_incident_says_what_is_noticed(noticed: list[Row]) -> None:
    assert named([row for row in noticed if row.incident_seconds is None]) == []


def test_an_alert_is_raised_and_clears_for_whatever_is_noticed(noticed: list[Row]) -> None:
    assert named([row for row in noticed if row.alert is None or row.alert.cleared_seconds is None]) == []


def test_a_signed_webhook_comes_within_a_minute_of_whatever_is_noticed(noticed: list[Row]) -> None:
    assert named([row for row in noticed if above(WEBHOOK_SECONDS_MAX, row.webhook_seconds)]) == []


def test_stalls_alert_within_twice_the_heartbeat(faults: list[Row]) -> None:
    stalls = [row for row in faults if row.case.fault in STALLS]
    assert named([row for row in stalls if row.alert is None or row.alert.after_seconds >= STALL_SECONDS_MAX]) == []


def test_broken_laws_and_stopped_partitions_alert_in_under_half_a_minute(faults: list[Row]) -> None:
    stops = [row for row in faults if row.case.audit and row.case.fault in STOPS]
    assert named([row for row in stops if row.alert is None or row.alert.after_seconds >= ALERT_SECONDS_MAX]) == []


def test_a_partial_feed_is_detected_within_half_an_hour_of_event_time(faults: list[Row]) -> None:
    partial = [row for row in faults if row.case.fault == "partial"]
    late = [row for row in partial if row.detected is None or row.detected.event_seconds > PARTIAL_SECONDS_MAX]
    assert named(late) == []


def test_clean_data_makes_one_false_alarm_at_most(clean: list[CleanRow]) -> None:
    assert sum(row.false_alarms for row in clean) <= FALSE_ALARMS_MAX, [row.line() for row in clean]


def test_the_real_interactions_are_among_the_clean_data(clean: list[CleanRow], higgs_path: Path) -> None:
    assert {row.data for row in clean} == {HiggsFile.name, ThreeWeeks.name}, f"nobody looked at {higgs_path}"


def test_only_what_changes_no_number_is_noticed_by_nobody() -> None:
    assert {case.fault for case in CASES if case.noticed is None} == {"skew", "misattribute", "bot-wave"}


def test_a_webhook_takes_what_is_sent_to_it_and_knows_who_signed_it() -> None:
    body, now_seconds = b'{"a": 1}', int(time.time())
    with Webhook("secret") as webhook:
        for secret in (b"secret", b"another"):
            headers = delivery_headers("inc_1", now_seconds, body, secret)
            assert httpx.post(webhook.url, content=body, headers=headers).status_code == 204
        ours, other = webhook.deliveries
    assert ours.body == other.body == {"a": 1}
    assert ours.headers["webhook-id"] == "inc_1"
    assert (ours.genuine, other.genuine) == (True, False)
