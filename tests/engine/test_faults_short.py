"""The drill of `make chaos` in short: its main faults once, each on a real broker of its own and under load."""

import pytest

from tests.drills import harm
from tests.drills.chaos import Plan, Report, run

pytestmark = pytest.mark.timeout(240)

PLAN = Plan(
    events=60_000,
    seed=1,
    events_per_second=5_000,
    workers=2,
    ingests=1,
    faults=(
        harm.old_state_put_back,
        harm.disk_full,
        harm.broker_killed,
        harm.old_state_put_back,
        harm.files_damaged,
    ),
    more_faults=False,
    nap_seconds=(0.3, 0.8),
    small_disk_mb=128,
    full_seconds=0.5,
    refusals=False,
    settle_seconds=100.0,
)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return run(PLAN, tmp_path_factory.mktemp("chaos"))


def test_nobody_is_wrong_whatever_breaks(report: Report) -> None:
    assert report.wrong() == []
    assert report.verdict.users > 1_000


def test_every_fault_was_done_and_no_partition_stands_still_for_it(report: Report) -> None:
    assert report.faults.total() == len(PLAN.faults)
    assert report.said["full disk met"] > 0
    assert report.said["stopped for good"] == report.said["refused to start"] == 0
