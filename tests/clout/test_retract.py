"""What `clout retract` refuses before anything is ordered."""

import time
from pathlib import Path

import pytest
import typer

from clout.commands.retract import _moments, lines
from clout.main import main
from clout.retracting import Outcome, check_reach, check_unfinished
from streams.errors import CloutError
from streams.retract_position import RetractPosition, Span
from streams.status import LedgerStatus, TaskStatus

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
