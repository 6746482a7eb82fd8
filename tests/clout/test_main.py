import json
import os
import subprocess
from pathlib import Path

import pytest

from clout import VERSION
from clout.alone import alone
from clout.main import ELSEWHERE, NAMES, Commands, main
from streams.errors import CloutError
from streams.settings import KafkaSettings

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _own_directories(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("CLOUT_") and not name.startswith("CLOUT_TEST_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("CLOUT_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)


def exit_code(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    return int(caught.value.code or 0)


def test_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("--version") == 0
    assert capsys.readouterr().out == f"clout {VERSION}\n"


def test_success_is_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("config", "show", "--json", "--prefix", "a-") == 0
    assert json.loads(capsys.readouterr().out)["kafka.prefix"] == {"value": "a-", "origin": "flag --prefix"}


def test_failure_is_1_with_error_detail_and_hint(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("broker", "status", "--address") == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.partition(":")[0] for line in err.splitlines()] == ["error", "detail", "hint"]


WRONG = [
    ["brokr"],
    ["broker", "status", "--adress"],
    ["config", "show", "--prefix"],
    ["status", "--broker", "nonsense"],
    ["forget", "t:1", "--reason", ""],
    ["quarantine", "--partition", "0", "--offset", "1", "--reason", " "],
    ["clock", "release", "twitter", "--source", "west", "--reason", ""],
]
WRONG += [["replay", "f", "--network", "foo", "--format", "snap"], ["dlq", "list", "--network", "foo"]]
WRONG += [["tail", "--network", "foo"]]


@pytest.mark.parametrize("arguments", WRONG)
def test_wrong_use_is_2(arguments: list[str]) -> None:
    assert exit_code(*arguments) == 2


def test_a_wrong_setting_is_2(capsys: pytest.CaptureFixture[str]) -> None:
    Path("clout.toml").write_text("[lane]\npartitions = 2\n", encoding="utf-8")
    assert exit_code("config", "show") == 2
    assert "the nearest valid one is lanes" in capsys.readouterr().err


def test_interruption_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("clout.commands.config.loaded", interrupted)
    assert exit_code("config", "show") == 130


def test_a_reader_that_leaves_early_is_no_traceback() -> None:
    command = [str(ROOT / ".venv/bin/clout"), "config", "show"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()


def test_topics_are_created_and_checked(kafka_settings: KafkaSettings, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--broker", kafka_settings.broker, "--prefix", kafka_settings.prefix]
    assert exit_code("topics", "check", *where) == 1
    assert exit_code(*where, "topics", "create") == 0
    assert exit_code("topics", *where, "check") == 0
    assert "clout topics create" in capsys.readouterr().err


LANE_READERS = [["status"], ["wait"], ["export"], ["audit"], ["show", "twitter:1"], ["tail", "--limit", "1"]]


def test_commands_refuse_a_partition_count_that_the_topics_do_not_have(
    kafka_settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--broker", kafka_settings.broker, "--prefix", kafka_settings.prefix]
    exit_code("topics", "create", *where)
    monkeypatch.setenv("CLOUT_LANES__PARTITIONS", "8")
    for command in LANE_READERS:
        capsys.readouterr()
        assert exit_code(*command, *where) == 1
        assert "set lanes.partitions to the count that the topics were made with" in capsys.readouterr().err


@pytest.mark.parametrize("role", ["ingest", "score", "guard", "serve"])
def test_a_slot_has_one_role(role: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with alone(tmp_path / "data" / "run" / f"clout.{role}-3.lock", CloutError("nobody else is here")):
        assert exit_code("--broker", "127.0.0.1:1", role, "--slot", "3") == 1
    error = capsys.readouterr().err
    assert f"another `clout {role}` with slot 3 runs on" in error
    assert "give each its own --slot" in error


def test_a_line_that_was_not_sent_is_told_and_the_exit_code_is_1(
    kafka_settings: KafkaSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--broker", kafka_settings.broker, "--prefix", kafka_settings.prefix]
    exit_code("topics", "create", *where)
    Path("events").write_bytes(b"{}\n" + b"x" * 1_200_000 + b"\n{}\n")
    capsys.readouterr()
    assert exit_code("replay", "events", "--network", "twitter", "--format", "native", *where) == 1
    out, err = capsys.readouterr()
    assert "read 3 lines, left out 1 too large, sent 2 records" in out
    assert "line 2 has 1,200,000 bytes" in err


def test_a_second_model_beside_the_first_gets_its_own_topics(
    kafka_settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--broker", kafka_settings.broker, "--prefix", kafka_settings.prefix]
    exit_code("topics", "create", *where)
    capsys.readouterr()
    monkeypatch.setenv("CLOUT_MODEL__NAME", "trial")
    exit_code("topics", "create", *where)
    created = {
        line.split()[1].removeprefix(kafka_settings.prefix) for line in capsys.readouterr().out.splitlines()[:-1]
    }
    assert created == {
        "lanes.targets.trial.v1",
        "scores.state.trial.v1",
        "scores.changes.trial.v1",
        "lanes.dlq.trial.v1",
        "population.trial.v1",
        "scores.canaries.trial.v1",
        "guard.states.trial.v1",
        "guard.incidents.trial.v1",
    }


COMMANDS = ["broker up", "broker down", "broker status", "topics create", "topics check", "config show"]
COMMANDS += ["demo", "up", "ingest", "score", "replay", "wait", "status", "tail", "show", "export", "dlq list"]
COMMANDS += ["dlq show", "dlq replay", "forget", "control log", "audit", "guard", "incident list", "incident show"]
COMMANDS += ["incident note", "incident resolve", "incident declare"]


@pytest.mark.parametrize("group", ["broker", "topics", "dlq", "control", "config", "incident"])
def test_every_group_has_an_example(group: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(group, "--help") == 0
    assert f"Example: clout {group}" in capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(*command.split(), "--help") == 0
    assert f"Example: clout {command}" in capsys.readouterr().out


def test_every_command_that_there_is_is_offered() -> None:
    written = {path.stem for path in (ROOT / "clout" / "commands").glob("*.py") if "def register(" in path.read_text()}
    assert written == {ELSEWHERE.get(name, name) for name in NAMES}
    assert list(Commands()) == [command.name for command in Commands().values()]
