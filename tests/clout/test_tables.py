"""No figure of the conservation table is ever cut off, whatever it is printed to."""

import io
import re

import pytest
from rich.console import Console

from clout.commands.tables import ConservationTable
from clout.terminal import output
from streams.progress import Conservation

TWITTER = Conservation(
    "twitter", 145_237, applied=143_012, self_=1_113, duplicate=700, withheld=300, forgotten=100, heartbeat=12
)
QUIET = Conservation("bluesky", 98_765_432, applied=98_765_432)


def printed(width: int, *sums: Conservation) -> list[str]:
    """What a terminal of this width shows."""
    console = Console(file=io.StringIO(), force_terminal=True, no_color=True, width=width, soft_wrap=True)
    console.print(ConservationTable(sums))
    assert isinstance(console.file, io.StringIO)
    return re.sub(r"\x1b\[[0-9;]*m", "", console.file.getvalue()).splitlines()


def test_where_the_output_is_no_terminal_it_is_as_wide_as_it_needs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    output().print(ConservationTable([TWITTER, QUIET]))
    headings, twitter, bluesky = capsys.readouterr().out.splitlines()
    assert headings.split() == [
        *("network", "read", "applied", "self", "duplicate", "withheld", "forgotten", "dead-lettered", "heartbeat")
    ]
    assert twitter.split() == ["twitter", "145,237", "143,012", "1,113", "700", "300", "100", "0", "12", "adds", "up"]
    assert bluesky.split()[1] == "98,765,432"


def test_on_a_narrow_terminal_columns_that_hold_nothing_are_left_out() -> None:
    assert "dead-lettered" in printed(80, QUIET)[0]
    headings, figures = printed(50, QUIET)
    assert headings.split() == ["network", "read", "applied"]
    assert figures.split() == ["bluesky", "98,765,432", "98,765,432", "adds", "up"]


def test_on_a_terminal_too_narrow_for_a_table_each_network_is_a_line() -> None:
    assert printed(60, TWITTER, QUIET) == [
        (
            "twitter: read 145,237 = applied 143,012 + self 1,113 + duplicate 700 + withheld 300 + forgotten 100 + "
            "heartbeat 12, adds up"
        ),
        "bluesky: read 98,765,432 = applied 98,765,432, adds up",
    ]
