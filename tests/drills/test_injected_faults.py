"""Every fault that can be injected, and data without one, on real installations: who notices, and what is published."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.drills.clean_drill import HIGGS_PATH
from tests.drills.fault_cases import Case
from tests.drills.faults import JOBS, everything, run_all
from tests.drills.guarded import HEARTBEAT_SECONDS
from tests.drills.rows import CleanRow, Row

pytestmark = [pytest.mark.drill, pytest.mark.timeout(1_800)]

ALERT_SECONDS_MAX = 30.0
"""Of wall time, until Alertmanager has that a law was broken or a partition stopped."""
STALL_SECONDS_MAX = 2.0 * HEARTBEAT_SECONDS
WEBHOOK_SECONDS_MAX = 60.0
PARTIAL_SECONDS_MAX = 1_800.0
"""Of event time."""
FALSE_ALARMS_MAX = 1
STOPS = ("floor", "bad-model", "lost-partition")
STALLS = ("stall", "dead-collector")


def names(rows: list[Row], is_so: Callable[[Row], bool]) -> list[str]:
    return [f"{row.case.name} {row.case.network}" for row in rows if is_so(row)]


@pytest.mark.skipif(not HIGGS_PATH.exists(), reason=f"{HIGGS_PATH} is missing")
def test_faults_are_noticed_in_time_and_publish_nothing_wrong_where_they_must_not(
    broker: str, tmp_path: Path, say: Callable[[str], None]
) -> None:
    rows = run_all(everything(), broker, tmp_path, say, JOBS)
    faults = [row for row in rows if isinstance(row, Row)]
    clean = [row for row in rows if isinstance(row, CleanRow)]
    assert names(faults, lambda row: row.case.must_be_harmless and row.wrong_changes > 0) == []
    assert names(faults, lambda row: not row.case.audit and not row.wrong_changes) == [], "a fault that does no harm"

    noticed = [row for row in faults if row.case.noticed is not None]
    assert names(noticed, lambda row: row.detected is None) == []
    assert names(noticed, lambda row: row.alert is None or row.alert.cleared_seconds is None) == []
    assert names(noticed, lambda row: not 0 < (row.webhook_seconds or -1) <= WEBHOOK_SECONDS_MAX) == []

    assert names(_of(faults, STOPS), lambda row: row.alert is None or row.alert.after_seconds > ALERT_SECONDS_MAX) == []
    late = names(_of(faults, STALLS), lambda row: not 0 < (row.seconds_by("feed_stalled") or -1) <= STALL_SECONDS_MAX)
    assert late == []
    partial = [row.detected for row in faults if row.case.fault == "partial"]
    assert all(first is not None and first.event_seconds <= PARTIAL_SECONDS_MAX for first in partial)

    assert len(clean) == len(everything()) - len(faults) == 2
    assert sum(row.false_alarms for row in clean) <= FALSE_ALARMS_MAX, [row.line() for row in clean]


def _of(rows: list[Row], faults: tuple[str, ...]) -> list[Row]:
    """Return the rows of faults with the audit on."""
    return [row for row in rows if row.case.audit and row.case.fault in faults]


def test_what_nobody_notices_is_noticed_by_no_name() -> None:
    unseen = {what.fault for what in everything() if isinstance(what, Case) and what.noticed is None}
    assert unseen == {"skew", "misattribute", "bot-wave"}
