"""What `clout retract` refuses before anything is ordered."""

import time
from collections.abc import Iterable
from pathlib import Path

import pytest
import typer

from clout.commands.retract import _moments, lines
from clout.config import Settings
from clout.main import main
from clout.retracting import Outcome, Retracting, check_reach, check_unfinished, in_words
from streams.discovery import RoleMember
from streams.errors import CloutError
from streams.progress_reader import ProgressReader
from streams.retract_position import SOURCE, RetractPosition, Span
from streams.status import LedgerStatus, TaskStatus, WorkerStatus
from streams.task_state import ACTORS

SPAN = Span(network="twitter", source="west", since_ms=1_000, until_ms=2_000, incident="INC-7")


def tasks(*begins_ms: int | None) -> dict[int, TaskStatus]:
    return {
        partition: TaskStatus(partition=partition, state="running", ledger=LedgerStatus(rows=9, begins_ms=begin))
        for partition, begin in enumerate(begins_ms)
    }


@pytest.mark.parametrize("begins_ms", [(None, None), (1_000, None), (500, 999)])
def test_a_span_that_the_ledgers_hold_is_taken_as_it_is(begins_ms: tuple[int | None, ...]) -> None:
    assert check_reach(tasks(*begins_ms), SPAN) == ""


@pytest.mark.parametrize("begins_ms", [(1_001, None), (500, 5_000), (1_500, 1_500)])
def test_a_span_that_reaches_back_too_far_is_said_to(begins_ms: tuple[int | None, ...]) -> None:
    assert "will not all be found" in check_reach(tasks(*begins_ms), SPAN)


def test_a_span_of_which_nothing_is_held_is_refused() -> None:
    with pytest.raises(CloutError, match="nothing of that can be taken back any more"):
        check_reach(tasks(2_000, 3_000), SPAN)


def test_another_order_is_refused_until_the_one_before_is_done() -> None:
    begun = RetractPosition(sent=[0], span=SPAN, epoch=4)
    other = Span(network="twitter", source="", since_ms=1_000, until_ms=2_000, incident="INC-7")
    with pytest.raises(CloutError, match="was not carried out to its end") as raised:
        check_unfinished(begun, other)
    assert "--source west --reason INC-7" in raised.value.detail
    assert check_unfinished(begun, SPAN)
    begun.done = True
    assert not check_unfinished(begun, other)


class Deserted(ProgressReader):
    """What is asked when the workers have gone after an order was given."""

    def __init__(self) -> None:
        self._asked = 0

    def workers(self, timeout_seconds: float = 0.0) -> list[RoleMember]:  # noqa: ARG002  as the one that it stands for
        self._asked += 1
        if self._asked > 1:
            raise CloutError("no running role was found in the consumer group clout")
        return []

    def worker_statuses(self, workers: Iterable[RoleMember]) -> list[WorkerStatus]:  # noqa: ARG002  nobody answers
        return []


def test_where_no_worker_is_left_the_order_is_said_to_stand_and_with_which_words_it_goes_on() -> None:
    retracting = Retracting(Settings(), Deserted(), SPAN, lambda _line: None)
    retracting._position = RetractPosition(sent=[3], span=SPAN, epoch=4)
    with pytest.raises(CloutError, match="do not take in") as raised:
        retracting._wait_for_tasks(0.0)
    assert raised.value.detail.endswith("; no running role was found in the consumer group clout")
    assert "the order stands" in raised.value.hint
    assert raised.value.hint.endswith(f"waits for its end: clout retract {in_words(SPAN)}")


class Standing(ProgressReader):
    """A worker whose second partition stands still."""

    def __init__(self) -> None:
        pass

    def workers(self, timeout_seconds: float = 0.0) -> list[RoleMember]:  # noqa: ARG002  as the one that it stands for
        return []

    def worker_statuses(self, workers: Iterable[RoleMember]) -> list[WorkerStatus]:  # noqa: ARG002  the same
        running = TaskStatus(partition=0, state="running", seen={ACTORS: {SOURCE: 3}})
        stopped = TaskStatus(partition=1, state="stopped", reason="a law is broken")
        return [WorkerStatus(role="score", pid=1, address="", partitions=[running, stopped])]


def test_what_it_waits_for_is_said_while_it_waits() -> None:
    said: list[str] = []
    retracting = Retracting(Settings(), Standing(), SPAN, said.append)
    retracting._position = RetractPosition(sent=[3, 3, 3], span=SPAN, epoch=4)
    with pytest.raises(CloutError) as raised:
        retracting._wait_for_tasks(0.0)
    assert said[0] == "waits for partition 1 (stopped), partition 2 (no worker has it)"
    assert raised.value.detail == "partition 1 (stopped), partition 2 (no worker has it): nothing for 0 seconds"


def test_an_order_in_words_can_be_given_as_it_stands() -> None:
    spaced = Span(network="twitter", source="", since_ms=1_000, until_ms=2_000, incident="half of it")
    assert in_words(spaced).endswith(" --reason 'half of it'")


RETRACT = ("retract", "--from", "2h", "--to", "1h", "--reason", "INC-7")
DECLARE = ("incident", "declare", "--reason", "half of it is missing")
REGISTERED = """
[networks.twitter]
sources = ["east", "west"]
[networks.mastodon]
"""


def error_of(capsys: pytest.CaptureFixture[str], directory: Path, *arguments: str) -> str:
    """What a command says where no Kafka runs."""
    file = directory / "clout.toml"
    file.write_text(REGISTERED, encoding="utf-8")
    with pytest.raises(SystemExit):
        main([*arguments, "--config", str(file), "--data-dir", str(directory)])
    return " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("command", [RETRACT, DECLARE], ids=["retract", "declare"])
def test_a_collector_that_its_network_does_not_register_is_refused(
    command: tuple[str, ...], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    said = error_of(capsys, tmp_path, *command, "--network", "twitter", "--source", "nosuch")
    assert "'nosuch' is none of east, west" in said
    assert "networks.twitter.sources" in said


@pytest.mark.parametrize("command", [RETRACT, DECLARE], ids=["retract", "declare"])
@pytest.mark.parametrize("about", [("twitter", "west"), ("twitter", ""), ("mastodon", "nosuch")])
def test_a_registered_collector_is_taken_and_any_of_a_network_that_registers_none(
    command: tuple[str, ...], about: tuple[str, str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    network, source = about
    said = error_of(capsys, tmp_path, *command, "--network", network, "--source", source)
    assert "no Kafka to connect to" in said


@pytest.mark.parametrize(("since", "until"), [("1h", "2h"), ("1h", "1h")])
def test_a_span_that_ends_before_it_begins_is_refused(since: str, until: str) -> None:
    with pytest.raises(typer.BadParameter, match="not before --to"):
        _moments(since, until)


@pytest.mark.parametrize("option", ["--from", "--to"])
def test_what_is_no_moment_is_refused_by_the_name_of_its_option(
    option: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    said = error_of(capsys, tmp_path, *RETRACT, "--network", "twitter", option, "bla")
    assert f"Invalid value for {option}: a moment reads" in said
    said = error_of(capsys, tmp_path, *RETRACT, "--network", "twitter", option, "99999999h")
    assert f"Invalid value for {option}: '99999999h' is before 1970" in said


def test_a_declared_collector_without_its_network_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    said = error_of(capsys, tmp_path, *DECLARE, "--source", "west")
    assert "Invalid value for --source: a collector is one of a network: give" in said


@pytest.mark.parametrize("since", ["2099-01-01T00:00:00Z", "9999999h", "bla"])
def test_a_declared_time_that_cannot_be_meant_is_refused(
    since: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    said = error_of(capsys, tmp_path, *DECLARE, "--network", "twitter", "--since", since)
    assert "Invalid value for --since: " in said


def test_a_span_that_lies_ahead_is_refused() -> None:
    ahead = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3_600))
    with pytest.raises(typer.BadParameter, match="lies ahead"):
        _moments("1h", ahead)


@pytest.mark.parametrize(
    ("ordered", "said"), [({"retracted": 4}, "  0 not found"), ({"unmatched": 4}, "  4 not found")]
)
def test_how_many_were_not_found_is_said_even_when_none_were(ordered: dict[str, int], said: str) -> None:
    outcome = Outcome(SPAN, {"events": 9, "chosen": 4, "retractions": 0, "unreadable": 0}, ordered)
    assert [line for line in lines(outcome) if line.startswith(said)]
