"""What comes from outside is printed as it is written, though it reads like a style, a link or an emoji."""

import ast
import re
from pathlib import Path

import pytest
from rich.console import RenderableType

from clout.audit.findings import BROKEN, HOLDS, Offence, Verdict
from clout.commands import audit, incident, replay, show
from clout.config import Settings
from clout.demo import view
from clout.demo.board import Board
from clout.demo.stage import Stage
from clout.explain_view import change_panel
from clout.main import main
from clout.terminal import beside, literal_console, output
from schemas.change import Reason, ScoreChange
from schemas.explanation import ChangeExplained
from schemas.export import NetworkState, UserState
from schemas.incident import Incident, Slice
from streams.settings import KafkaSettings, NetworkSettings
from tests.clout.test_demo_view import MOMENT
from tests.incidents import open_incident

ROOT = Path(__file__).resolve().parents[2]
OUTSIDE = ["y[/b]z", "p:star:", "[red]", "x:smile:y", "[link=http://a]b"]
AT = "2026-01-01T00:00:00.000Z"


def said(shown: RenderableType, capsys: pytest.CaptureFixture[str]) -> str:
    """What a command prints of this."""
    capsys.readouterr()
    output().print(shown)
    return capsys.readouterr().out


def a_change(user: str) -> ScoreChange:
    return ScoreChange(
        user, 1, 5.0, None, None, {user: 5.0}, AT, "interaction", "1", reasons=[Reason(user, user, 1, 1)]
    )


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_user_is_shown_by_the_id_that_they_have(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    part = NetworkState(score=5.0, reach=1.0, amplification=1.0, network=1.0, events=1, time=AT)
    state = UserState(name, 5.0, 1, AT, None, {name: part})
    assert said(show.panel(state), capsys).count(name) == 2
    explained = ChangeExplained(
        change=a_change(name), before=None, moved=None, elapsed_seconds=None, by_decay_alone=None
    )
    assert f"─ {name}, change 1 ─" in said(change_panel(explained), capsys)


@pytest.mark.parametrize("name", OUTSIDE)
def test_an_incident_is_listed_by_the_title_that_it_has(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = Incident(
        id=f"id {name}", kind="declared", slice=Slice(), severity="major", status="investigating",
        title=f"it is {name}", opened=AT, updated=AT, evidence=[], affected_users=0,
    )  # fmt: skip
    listed = said(incident._table([found]), capsys)
    assert f"id {name}" in listed
    assert f"it is {name}" in listed


@pytest.mark.parametrize("name", OUTSIDE)
def test_an_audit_names_offenders_as_they_are_called_and_colours_its_verdicts(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    verdicts = [Verdict("law", broken=1, offences=[Offence(name, f"{name} is wrong")]), Verdict("other")]
    assert f"law: {name}: {name} is wrong" in said("\n".join(audit._lines(verdicts, {})), capsys)
    assert re.findall(rf"{BROKEN}|{HOLDS}", said(audit._table(verdicts), capsys)) == ["broken", "broken", "holds"]
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert f"\x1b[31m{BROKEN}" in said(audit._table(verdicts), capsys)


@pytest.mark.parametrize("name", OUTSIDE)
def test_the_demonstration_tells_names_as_they_are(
    name: str, kafka_settings: KafkaSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    board = Board()
    board.take([a_change(name)])
    told = said(view.one_line(MOMENT, board), capsys)
    assert f"top {name} 5.0, {name} new → 5.0 by interaction on {name}, most from {name}" in told
    assert name in said(view.TopTable(board.top(1), [name]), capsys)
    stage = Stage(Settings(data_dir=tmp_path, kafka=kafka_settings), literal_console())
    stage.say("served", f"{name} has 3")
    stage.check("served", f"{name} has 1", holds=False)
    stage.close()
    assert capsys.readouterr().out.splitlines() == [
        f"      served  {name} has 3",
        f"      served  NOT AS TOLD {name} has 1",
    ]


@pytest.mark.parametrize("name", OUTSIDE)
def test_what_goes_on_is_said_as_it_is(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    with literal_console(stderr=True).status("waiting") as status:
        beside(status)(f"{name} is behind")
        status._live.refresh()
    assert f"{name} is behind" in capsys.readouterr().err
    file = tmp_path / name.replace("/", "|")
    file.write_text("x")
    with replay._progress(file) as on_progress:
        on_progress(1, 1)
    assert file.name in capsys.readouterr().err


def test_commands_print_what_is_called_like_a_style(
    kafka_settings: KafkaSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLOUT_DATA_DIR", str(tmp_path / "data"))
    where = ["--broker", kafka_settings.broker, "--prefix", kafka_settings.prefix]
    for command in (["topics", "create"], ["key", "create", "k[/b]:star:", "--scope", "read"]):
        run([*command, *where])
    settings = Settings(data_dir=tmp_path, kafka=kafka_settings, networks={"twitter": NetworkSettings()})
    open_incident(kafka_settings, settings.names, "i[/b]:smile:", network="twitter", at_ms=0)
    capsys.readouterr()
    run(["key", "list", *where])
    run(["incident", "list", *where])
    told = capsys.readouterr().out
    assert "k[/b]:star:" in told
    assert "i[/b]:smile:" in told


def run(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert not caught.value.code


def test_every_console_is_made_where_markup_is_switched_off() -> None:
    made = {
        str(path.relative_to(ROOT))
        for folder in ("clout", "gateway")
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Console")
    }
    assert made == {"clout/terminal.py"}
