"""A real Prometheus and a real Alertmanager watch roles that export our metrics: what is planted arrives as alerts."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from prometheus_client import CollectorRegistry, Gauge
from starlette.routing import Route

from clout.monitoring import Monitoring, check_wanted
from clout.supervisor import RoleState
from streams.errors import CloutError
from streams.guard.alert_hook import FiringAlerts, alert_routes
from streams.http import RoleServer
from streams.metrics import IngestMetrics, WorkerMetrics
from streams.settings import HttpSettings
from tests.monitoring.test_dashboards import DASHBOARDS, expressions
from tests.roles import eventually

ALERT_SECONDS_MAX = 30.0
"""What is promised of violations and stopped partitions."""
USERS = 1_000


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@dataclass
class Site:
    """Roles that only export, and who watches them."""

    monitoring: Monitoring
    worker: WorkerMetrics = field(default_factory=lambda: WorkerMetrics(["twitter"], 2))
    ingest: IngestMetrics = field(default_factory=lambda: IngestMetrics(["twitter"]))
    guard: CollectorRegistry = field(default_factory=CollectorRegistry)
    firing: FiringAlerts = field(default_factory=FiringAlerts)
    servers: dict[str, RoleServer] = field(default_factory=dict)
    client: httpx.Client = field(default_factory=httpx.Client)

    def serve(self) -> None:
        Gauge("clout_guard_active", "Whether it watches.", registry=self.guard).set(1)
        Gauge("clout_guard_moment_seconds", "Its last look.", registry=self.guard).set_function(time.time)
        for partition in range(2):
            self.worker.set_partition_state(partition, "running")
            self.worker.population._users.labels(str(partition)).set(USERS / 2)
        for role, registry in (
            ("score", self.worker.registry),
            ("ingest", self.ingest.registry),
            ("guard", self.guard),
        ):
            routes: list[Route] = alert_routes(self.firing) if role == "guard" else []
            self.servers[role] = RoleServer(HttpSettings(), role)
            self.servers[role].start(registry, dict, lambda: None, routes)

    def states(self) -> list[RoleState]:
        return [RoleState(f"{role}-0", role, 1, server.address, 0) for role, server in self.servers.items()]

    def alerts(self) -> list[dict[str, Any]]:
        """The alerts that the guard was told of, asked over HTTP."""
        answer = self.client.get(f"http://{self.servers['guard'].address}/v1/alerts").raise_for_status().json()
        found: list[dict[str, Any]] = answer["alerts"]
        return found

    def told(self) -> set[tuple[str, str]]:
        """Name and origin of those alerts."""
        return {(alert["labels"]["alertname"], alert["labels"].get("seen_by", "")) for alert in self.alerts()}

    def query(self, expression: str) -> list[dict[str, Any]]:
        answer = self.client.get(f"{self.monitoring.prometheus}/api/v1/query", params={"query": expression})
        assert answer.json()["status"] == "success", (expression, answer.text)
        found: list[dict[str, Any]] = answer.json()["data"]["result"]
        return found

    def wait_for(self, alert: str, seen_by: str = "", seconds: float = ALERT_SECONDS_MAX) -> float:
        began = time.monotonic()
        eventually(lambda: (alert, seen_by) in self.told(), seconds=seconds, otherwise=self.told)
        return time.monotonic() - began


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("site")
    site = Site(Monitoring(directory, environment={}))
    site.serve()
    run = directory / "run"
    run.mkdir()
    targets = [
        {"targets": [state.address], "labels": {"role": state.role, "instance_name": state.name}}
        for state in site.states()
    ]
    (run / "prometheus-targets.json").write_text(json.dumps(targets))
    site.monitoring.start()
    try:
        site.monitoring.tick(site.states())
        eventually(lambda: len(site.query("up == 1")) == 3, otherwise=lambda: site.query("up"))
        yield site
    finally:
        site.monitoring.stop()
        for server in site.servers.values():
            server.stop()
        site.client.close()


def test_faults_arrive_at_the_guard_within_half_a_minute(site: Site, say: Any) -> None:
    site.wait_for("CloutWatchdog")
    assert site.told() == {("CloutWatchdog", "")}, "a system that is well raises nothing else"
    # The audit finds a broken law, another partition stops, and scores fall although nothing audits them.
    site.worker.law_violations.labels("rows_conserved").inc()
    site.worker.set_partition_state(1, "stopped")
    site.worker.population._fallen.labels("0", "5", "this").set(USERS / 4)
    seconds = {
        alert: site.wait_for(alert, "workers")
        for alert in ("CloutLawViolation", "CloutPartitionStopped", "CloutPopulationFall")
    }
    say(f"alerts arrived after {max(seconds.values()):.1f} s")
    site.worker.set_partition_state(1, "running")
    eventually(lambda: site.query("partition:clout_partition_running:max == 1"))


def test_an_alert_links_to_its_runbook(site: Site) -> None:
    site.wait_for("CloutWatchdog")
    [watchdog] = [alert for alert in site.alerts() if alert["labels"]["alertname"] == "CloutWatchdog"]
    assert "runbooks" not in watchdog["labels"]
    page = site.client.get(watchdog["annotations"]["runbook_url"])
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "<h1>CloutWatchdog</h1>" in page.text
    index = site.client.get(page.url.join("/"))
    assert '<a href="watchdog.md">CloutWatchdog</a>' in index.text
    assert site.client.get(page.url.join("/../pyproject.toml")).status_code == 404


def test_runbooks_may_be_elsewhere(tmp_path: Path) -> None:
    monitoring = Monitoring(tmp_path, environment={"PROMETHEUS_RUNBOOKS_URL": "https://git.example.org/runbooks/"})
    monitoring.start()
    try:
        answer = httpx.get(f"{monitoring.prometheus}/api/v1/status/config", timeout=5).json()
        assert "runbooks: https://git.example.org/runbooks\n" in answer["data"]["yaml"]
    finally:
        monitoring.stop()


@pytest.mark.parametrize("url", ["deploy/runbooks", "ftp://example.org/runbooks", "https://", "https://a/{{ b }}"])
def test_an_address_of_runbooks_that_is_none_is_refused_before_anything_starts(url: str) -> None:
    with pytest.raises(CloutError, match="PROMETHEUS_RUNBOOKS_URL is no address of pages"):
        check_wanted({"PROMETHEUS_RUNBOOKS_URL": url})


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.name)
def test_every_expression_of_a_dashboard_runs(site: Site, path: Path) -> None:
    for text in expressions(path):
        site.query(text)


def test_series_go_on_under_the_name_of_the_role(site: Site) -> None:
    [series] = site.query('up{role="score"}')
    assert series["metric"]["instance"] == series["metric"]["instance_name"] == "score-0"


@pytest.mark.parametrize(
    ("louder", "other", "silenced"),
    [
        # A critical incident is said, whatever the alert about its kind is.
        ("CloutRetractionSurge major kind=retraction_surge", "CloutIncidentOpen critical kind=retraction_surge", False),
        ("CloutRetractionSurge major kind=retraction_surge", "CloutIncidentOpen major kind=retraction_surge", True),
        # One dead worker of several does not hide that changes are slow.
        ("CloutTargetDown major role=score", "CloutChangesSlow critical", False),
        # Nor that others do not take over what it did; where nobody is left they cannot.
        ("CloutTargetDown major role=score", "CloutLaneLag major", False),
        ("CloutRoleGone critical role=score", "CloutLaneLag major", True),
        ("CloutTargetDown major role=ingest", "CloutFeedStalled major", False),
        ("CloutRoleGone critical role=ingest", "CloutFeedStalled major", True),
        # A canary whose change does not come is no second page; one that is wrong is another fault.
        ("CloutPartitionStopped critical", "CloutCanaryLate major", True),
        ("CloutPartitionStopped critical", "CloutCanaryWrong critical", False),
    ],
)
def test_what_says_less_is_silenced_and_what_is_graver_is_not(
    site: Site, louder: str, other: str, silenced: bool
) -> None:
    case = f"case-{abs(hash((louder, other)))}"
    alerts = []
    for text in (louder, other):
        name, severity, *more = text.split()
        labels = {"alertname": name, "severity": severity, "network": "twitter", "case": case}
        alerts.append({"labels": labels | dict(pair.split("=") for pair in more)})
    api = f"{site.monitoring.alertmanager}/api/v2/alerts"
    site.client.post(api, json=alerts).raise_for_status()

    def silences() -> bool | None:
        """Whether the first silences the second, which others may too; None until both are there."""
        found = site.client.get(api, params={"filter": f"case={case}"}).raise_for_status().json()
        by_name = {of["labels"]["alertname"]: of for of in found}
        if len(by_name) < len(alerts):
            return None
        first, second = (by_name[alert["labels"]["alertname"]] for alert in alerts)
        return first["fingerprint"] in second["status"]["inhibitedBy"]

    eventually(lambda: silences() is silenced, seconds=10, otherwise=silences)
    ended = [alert | {"endsAt": "2020-01-01T00:00:01Z", "startsAt": "2020-01-01T00:00:00Z"} for alert in alerts]
    site.client.post(api, json=ended).raise_for_status()


def test_one_that_died_is_started_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clout.monitoring.RESTART_SECONDS", 0.0)
    former = site.monitoring.processes()
    os.kill(former[1], signal.SIGKILL)
    eventually(lambda: gone(former[1]))

    def is_started_again() -> bool:
        site.monitoring.tick(site.states())
        return site.monitoring.processes()[1] != former[1]

    eventually(is_started_again)
    assert site.monitoring.processes()[0] == former[0]


def test_both_die_with_whoever_started_them(tmp_path: Path) -> None:
    script = (
        "import time; from pathlib import Path; from clout.monitoring import Monitoring\n"
        f"m = Monitoring(Path({str(tmp_path)!r})); m.start(); print(*m.processes(), flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        pids = [int(pid) for pid in starter.stdout.readline().split()]
        assert len(pids) == 2
        assert not any(map(gone, pids))
        starter.kill()
    eventually(lambda: all(map(gone, pids)), seconds=5)


def test_where_they_are_not_installed_an_error_names_the_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CloutError, match="Prometheus was not found") as raised:
        Monitoring(tmp_path).start()
    assert "prometheus-alertmanager" in raised.value.hint


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"version":"3","alerts":[]}', b"\xff", b"{" * 1000])
def test_what_is_no_notification_is_refused_and_changes_nothing(site: Site, body: bytes) -> None:
    before = site.told()
    answer = httpx.post(f"http://{site.servers['guard'].address}/v1/alerts", content=body, timeout=5)
    assert answer.status_code == 400
    assert site.told() == before


def test_a_notification_that_is_too_large_is_refused(site: Site) -> None:
    answer = httpx.post(f"http://{site.servers['guard'].address}/v1/alerts", content=b" " * (2 << 20), timeout=5)
    assert answer.status_code == 413
