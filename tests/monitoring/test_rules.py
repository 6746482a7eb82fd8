"""Rules and configurations are valid, every alert fires when it must and not when it must not, and says what to do."""

import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from clout.monitoring import alertmanager_configuration, prometheus_configuration
from clout.runbooks import DIRECTORY as RUNBOOKS
from streams.metrics import LATENCY_BUCKETS
from tests.monitoring.names import (
    OF_PROMETHEUS,
    PROMETHEUS,
    ROOT,
    RULE_FILES,
    alerts,
    exported,
    named,
    recorded,
    rules,
)

TEST_FILES = sorted((PROMETHEUS / "tests").glob("*.yml"))
SEVERITIES = {"critical", "major", "minor", "none"}
TOLD_APART_BY = ("seen_by", "window", "role", "severity")
BASE = '{{ or $externalLabels.runbooks "deploy/runbooks" }}/'
"""Before the name of each runbook: where they are published, else where they lie in the repository."""


def run(*command: str | Path, cwd: Path | None = None) -> None:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr


def runbook(rule: dict[str, Any]) -> str:
    """The file name of an alert's runbook."""
    url: str = rule["annotations"]["runbook_url"]
    assert url.startswith(BASE)
    return url.removeprefix(BASE)


def identity(rule: dict[str, Any]) -> tuple[str, ...]:
    """What tells an alerting rule from others of its name."""
    labels = rule.get("labels", {})
    return (rule["alert"], *(f"{name}={labels[name]}" for name in TOLD_APART_BY if name in labels))


@cache
def cases() -> list[dict[str, Any]]:
    """Every look of every test at an alert."""
    return [
        case
        for path in TEST_FILES
        for test in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]
        for case in test["alert_rule_test"]
    ]


def fires(rule: dict[str, Any], case: dict[str, Any]) -> bool:
    return case["alertname"] == rule["alert"] and any(
        all(expected["exp_labels"].get(name) == value for name, value in rule.get("labels", {}).items())
        for expected in case["exp_alerts"]
    )


def test_prometheus_takes_the_rules() -> None:
    run("promtool", "check", "rules", "--lint=all", "--lint-fatal", *RULE_FILES)


def test_prometheus_takes_the_configuration_as_it_is_filled_in(tmp_path: Path) -> None:
    (tmp_path / "targets.json").write_text("[]")
    file = tmp_path / "prometheus.yml"
    file.write_text(prometheus_configuration("127.0.0.1:9093", tmp_path / "targets.json", "https://example.org/'$x"))
    run("promtool", "check", "config", file)


@pytest.mark.parametrize("path", TEST_FILES, ids=lambda path: path.name)
def test_alerts_fire_when_they_must_and_not_when_they_must_not(path: Path) -> None:
    run("promtool", "test", "rules", path.name, cwd=path.parent)


@pytest.mark.parametrize("rule", alerts(), ids=identity)
def test_every_alert_has_a_case_that_fires_and_one_that_must_not(rule: dict[str, Any]) -> None:
    looks = [case for case in cases() if case["alertname"] == rule["alert"]]
    assert any(fires(rule, case) for case in looks)
    # The dead man's switch must never be silent.
    assert any(not fires(rule, case) for case in looks) or rule["alert"] == "CloutWatchdog"


@pytest.mark.parametrize("rule", alerts(), ids=identity)
def test_every_alert_says_how_bad_it_is_what_happened_how_much_and_what_to_do(rule: dict[str, Any]) -> None:
    severity = rule.get("labels", {}).get("severity")
    its_own = "severity" in rule["expr"] or "clout_guard_firing:max" in rule["expr"]
    assert severity in SEVERITIES if severity is not None else its_own
    assert "for" in rule, "how long it must last, be it no time at all"
    assert "keep_firing_for" in rule or rule["alert"] == "CloutWatchdog"
    assert {"summary", "description", "runbook_url"} <= set(rule["annotations"])
    assert "$value" in rule["annotations"]["description"]
    text = (RUNBOOKS / runbook(rule)).read_text(encoding="utf-8")
    assert text.startswith(f"# {rule['alert']}\n")
    for part in ("What it means.", "What users see.", "First look.", "How to stop it.", "How to undo it."):
        assert f"**{part}**" in text


def test_every_runbook_is_about_an_alert() -> None:
    assert {path.name for path in RUNBOOKS.glob("*.md")} == set(map(runbook, alerts()))


def test_alerts_of_one_name_are_told_apart() -> None:
    identities = [identity(rule) for rule in alerts()]
    assert len(identities) == len(set(identities))


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.get("record") or "/".join(identity(rule)))
def test_a_rule_names_only_what_is_exported_or_recorded(rule: dict[str, Any]) -> None:
    assert named(rule["expr"]) - exported() - recorded() - OF_PROMETHEUS == set()


def test_recorded_names_say_level_metric_and_operation() -> None:
    assert not [name for name in recorded() if not re.fullmatch(r"[a-z]+:(clout|up)_[a-z_]+:[a-z0-9_]+", name)]


def test_the_objective_of_latency_is_a_bucket_of_the_histogram() -> None:
    bounds = {
        bound
        for rule in rules()
        for bound in re.findall(r'arrival_to_change_seconds_bucket\{le="([^"]+)"', rule["expr"])
    }
    assert bounds == {"2.5"}
    assert bounds < set(map(str, LATENCY_BUCKETS))


def test_what_ends_with_its_fault_is_seen_by_its_absence() -> None:
    absences = {name for rule in alerts() if "absent(" in rule["expr"] for name in named(rule["expr"])}
    assert absences == {"up", "clout_guard_active"}
    # Each role: when it is gone so is all that it counts.
    roles = {role for rule in alerts() for role in re.findall(r'absent\(up\{job="clout", role="(\w+)"', rule["expr"])}
    assert roles == {"ingest", "score", "guard"}


def routed(file: Path, **labels: str) -> set[str]:
    command = ["amtool", "config", "routes", "test", f"--config.file={file}"]
    done = subprocess.run(
        [*command, *(f"{name}={value}" for name, value in labels.items())], capture_output=True, text=True, check=True
    )
    return set(done.stdout.strip().split(","))


@pytest.fixture(scope="module")
def alertmanager_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("alertmanager") / "alertmanager.yml"
    environment = {
        "ALERTMANAGER_PAGER_URL": "https://pager.example/1",
        "ALERTMANAGER_WATCHDOG_URL": "https://w.example",
    }
    file.write_text(alertmanager_configuration(["127.0.0.1:81", "127.0.0.1:82"], environment))
    return file


def test_alertmanager_takes_the_configuration_with_and_without_anybody_to_tell(
    alertmanager_file: Path, tmp_path: Path
) -> None:
    nobody = tmp_path / "nobody.yml"
    nobody.write_text(alertmanager_configuration([], {}))
    run("amtool", "check-config", alertmanager_file, nobody)


@pytest.mark.parametrize(
    ("labels", "receivers"),
    [
        ({"alertname": "CloutWatchdog", "severity": "none"}, {"watchdog"}),
        ({"alertname": "CloutLawViolation", "severity": "critical"}, {"status", "pager"}),
        ({"alertname": "CloutPopulationFall", "severity": "critical", "network": "twitter"}, {"status", "pager"}),
        ({"alertname": "CloutFeedStalled", "severity": "major", "network": "twitter"}, {"status", "feeds"}),
        ({"alertname": "CloutDuplicateSurge", "severity": "minor", "network": "bluesky"}, {"status", "feeds"}),
        ({"alertname": "CloutTargetDown", "severity": "major"}, {"status", "operators"}),
        ({"alertname": "CloutIncidentOpen", "severity": "minor"}, {"status", "operators"}),
    ],
    ids=lambda value: value.get("alertname") if isinstance(value, dict) else None,
)
def test_alerts_go_where_severity_and_network_say(
    alertmanager_file: Path, labels: dict[str, str], receivers: set[str]
) -> None:
    assert routed(alertmanager_file, **labels) == receivers


def test_every_alert_that_silences_or_is_silenced_exists(alertmanager_file: Path) -> None:
    text = alertmanager_file.read_text()
    assert set(re.findall(r"Clout\w+", text)) <= {rule["alert"] for rule in alerts()}


def test_the_metrics_page_lists_what_is_recorded() -> None:
    page = (ROOT / "docs" / "METRICS.md").read_text(encoding="utf-8")
    told = set(re.findall(r"^\| `(\w+:\w+:\w+)` \|", page, flags=re.MULTILINE))
    windows = re.compile(r"(30m|1h|6h|3d)$")
    assert told == {name for name in recorded() if not windows.search(name)}
