"""Every fault that can be injected, on real installations, and what must not be published because of it."""

import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.drills.faults import CASES, Case, Row, run
from tests.drills.observers import Alerts, Webhook
from tests.roles import eventually

pytestmark = [pytest.mark.drill, pytest.mark.timeout(600)]

LAW_SECONDS_MAX = 30.0
RULES = """
groups:
  - name: drill
    rules:
      - {alert: AlwaysThere, expr: vector(1), labels: {severity: minor}}
      - {alert: NeverThere, expr: vector(0) > 1}
"""


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name} {case.network}".strip())
def test_a_fault_is_noticed_and_publishes_nothing_wrong_where_it_must_not(
    broker: str, tmp_path: Path, case: Case, say: Callable[[str], None]
) -> None:
    row = run(case, broker, tmp_path / "installation")
    say(Row.heading())
    say(row.line())
    if case.must_be_harmless:
        assert row.wrong_changes == 0
    if case.audit and case.fault in {"floor", "bad-model"}:
        assert "law_violation" in row.detected_by
        assert row.wall_seconds is not None
        assert row.wall_seconds < LAW_SECONDS_MAX
    if not case.audit:
        assert row.wrong_changes > 0


def test_a_webhook_takes_what_is_sent_to_it() -> None:
    with Webhook() as webhook:
        answer = httpx.post(webhook.url, json={"a": 1}, headers={"X-Signature": "s"})
        assert answer.status_code == 204
        [delivery] = webhook.deliveries
    assert delivery.body == {"a": 1}
    assert delivery.headers["x-signature"] == "s"


def test_alerts_are_those_that_fire_in_a_real_prometheus(tmp_path: Path) -> None:
    program = shutil.which("prometheus")
    assert program, "Prometheus is not installed; `make setup` says how"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    (tmp_path / "rules.yml").write_text(RULES)
    (tmp_path / "prometheus.yml").write_text("global: {evaluation_interval: 1s}\nrule_files: [rules.yml]\n")
    process = subprocess.Popen(
        [program, f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data",
         f"--web.listen-address={address}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip

    def fires() -> bool:
        try:
            return bool(Alerts(address).firing())
        except httpx.HTTPError:  # It does not listen yet.
            return False

    try:
        eventually(fires)
        assert Alerts(address).firing() == {"AlwaysThere": {"alertname": "AlwaysThere", "severity": "minor"}}
    finally:
        process.kill()
        process.wait()
