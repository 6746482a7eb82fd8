"""The documents say what the code says: settings, metrics, and every file and name that they point at."""

import ast
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

import streams.metrics
from clout.config import load
from clout.layers import SHORT_NAMES
from gateway.metrics import GatewayMetrics
from streams.guard.metrics import GuardMetrics
from streams.metrics import IngestMetrics, WorkerMetrics
from streams.settings import NetworkSettings

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
PACKAGES = ("bench", "clout", "deploy", "docs", "gateway", "schemas", "scorer", "scripts", "streams", "tests")

POINTER = re.compile(rf"`((?:{'|'.join(PACKAGES)})/[\w./-]*)(?::([\w.]+))?`")
"""`streams/task.py` or `streams/task.py:Task.commit`."""
LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)")
SETTING_ROW = re.compile(r"^\| `([\w.-]+)` \| (.+?) \| (.+) \|$", re.MULTILINE)
METRIC_ROW = re.compile(r"^\| `(clout_\w+)` \| (\w+) \| (.*?) \| (.+) \|$", re.MULTILINE)


@pytest.fixture
def _no_settings_of_ones_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", "/DATA")
    for name in [*SHORT_NAMES, "CLOUT_CONFIG", "CLOUT_DATA_DIR"]:
        monkeypatch.delenv(name, raising=False)


def settings() -> dict[str, str]:
    """Name and default of every setting; one network stands for all."""
    found = {}
    for name, value, _ in load({}).rows():
        shown = str(value) if isinstance(value, Path) else value
        found[re.sub(r"^networks\.\w+\.", "networks.NAME.", name)] = json.dumps(shown)
    return found


@pytest.mark.usefixtures("_no_settings_of_ones_own")
def test_the_configuration_page_lists_exactly_the_settings_with_their_defaults() -> None:
    page = (ROOT / "docs" / "CONFIGURATION.md").read_text(encoding="utf-8")
    told = {name: default.strip("`") for name, default, _ in SETTING_ROW.findall(page)}
    assert told == settings() | {"data_dir": '"~/.local/share/clout"'}


@pytest.mark.usefixtures("_no_settings_of_ones_own")
def test_the_example_of_a_settings_file_shows_every_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    example = (ROOT / "clout.toml.example").read_text(encoding="utf-8")
    full = re.sub(r"^#(?=\[|\w+ = )", "", example, flags=re.MULTILINE)
    file = tmp_path / "all.toml"
    file.write_text(full, encoding="utf-8")
    monkeypatch.setenv("HOME", "/HOME")
    monkeypatch.delenv("XDG_DATA_HOME")
    loaded = load({}, file)
    assert {name: value for name, value, _ in loaded.rows()} == {name: value for name, value, _ in load({}).rows()}
    assert not [name for name, _, origin in loaded.rows() if origin == "default"]


def metrics() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Name as it is scraped, type and labels of every metric of all roles."""
    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    guard = GuardMetrics({"twitter": NetworkSettings()}, ["partner"])
    ingest, worker, gateway = IngestMetrics(["twitter"]), WorkerMetrics(["twitter"], 1), GatewayMetrics()
    for registry in (ingest.registry, worker.registry, guard.registry, gateway.registry):
        for family in registry.collect():
            name = f"{family.name}_total" if family.type == "counter" else family.name
            found[name] = (family.type, _labels(registry, family.name))
    return found


def _labels(registry: CollectorRegistry, name: str) -> tuple[str, ...]:
    collector: Any = registry._names_to_collectors.get(name)
    return tuple(getattr(collector, "_labelnames", ()))


def test_the_metrics_page_lists_exactly_the_metrics_with_type_and_labels() -> None:
    page = (ROOT / "docs" / "METRICS.md").read_text(encoding="utf-8")
    rows = METRIC_ROW.findall(page)
    told = {name: (kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels, _ in rows}
    assert told == metrics()
    assert len(rows) == len(told), "a metric is listed twice"


def test_the_metrics_page_is_the_one_that_the_module_names() -> None:
    assert "docs/METRICS.md" in (streams.metrics.__doc__ or "")


def names_in(path: Path) -> set[str]:
    """Functions, classes, their members and constants of a module, dotted."""
    return set(_defined(ast.parse(path.read_text(encoding="utf-8")).body, ""))


def _defined(body: Iterable[ast.stmt], prefix: str) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield prefix + node.name
            if isinstance(node, ast.ClassDef):
                yield from _defined(node.body, f"{prefix}{node.name}.")
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield prefix + node.target.id
        elif isinstance(node, ast.Assign):
            yield from (prefix + target.id for target in node.targets if isinstance(target, ast.Name))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_and_name_that_a_page_points_at_exists(page: Path) -> None:
    wrong = []
    for path, name in POINTER.findall(page.read_text(encoding="utf-8")):
        file = ROOT / path
        if not file.exists() or (name and name not in names_in(file)):
            wrong.append(f"{path}:{name}" if name else path)
    assert not wrong


def anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    wrong = []
    for path, place in LINK.findall(page.read_text(encoding="utf-8")):
        file = page.parent / path if path else page
        if not file.exists():
            wrong.append(path)
        elif place:
            headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
            if place not in map(anchor, headings):
                wrong.append(f"{path}#{place}")
    assert not wrong


def test_decisions_are_numbered_without_gap() -> None:
    pages = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
