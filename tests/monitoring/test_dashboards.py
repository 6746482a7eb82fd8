"""The dashboards are valid, explain themselves, and name only metrics that there are."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.monitoring.names import OF_PROMETHEUS, ROOT, exported, named, recorded

DASHBOARDS: Final = sorted((ROOT / "deploy" / "grafana").glob("*.json"))


def panels(path: Path) -> list[dict[str, Any]]:
    """Panels with something to show."""
    return [panel for panel in json.loads(path.read_bytes())["panels"] if panel["type"] != "row"]


def expressions(path: Path) -> list[str]:
    """Every expression of a dashboard, with a network in place of the variable."""
    dashboard = json.loads(path.read_bytes())
    texts = [target["expr"] for panel in panels(path) for target in panel["targets"]]
    texts += [note["expr"] for note in dashboard["annotations"]["list"]]
    return [text.replace("$network", "twitter") for text in texts]


def test_there_is_one_of_health_and_one_of_the_population() -> None:
    assert [path.name for path in DASHBOARDS] == ["overview.json", "population.json"]


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.name)
def test_grafana_can_place_every_panel_and_asks_which_prometheus(path: Path) -> None:
    dashboard = json.loads(path.read_bytes())
    assert dashboard["schemaVersion"] == 39
    assert dashboard["templating"]["list"][0]["type"] == "datasource"
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, f"{panel['title']} lies over another panel"
        assert max(x for x, _ in cells) < 24
        taken |= cells


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.name)
def test_every_panel_says_what_it_shows_in_which_unit_from_which_source(path: Path) -> None:
    for panel in panels(path):
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["targets"]


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.name)
def test_prometheus_can_read_every_expression(path: Path, tmp_path: Path) -> None:
    texts = expressions(path)
    rules = [{"record": f"panel:{number}:shown", "expr": text} for number, text in enumerate(texts)]
    file = tmp_path / "panels.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": path.stem, "rules": rules}]}))
    done = subprocess.run(["promtool", "check", "rules", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.name)
def test_every_expression_names_only_what_is_exported_or_recorded(path: Path) -> None:
    for text in expressions(path):
        assert named(text), text
        assert named(text) - exported() - recorded() - OF_PROMETHEUS == set()
        assert not re.search(r"\$\w", text), "a variable that is not known"
