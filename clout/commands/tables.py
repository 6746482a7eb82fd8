"""Tables that several commands print."""

from collections.abc import Callable, Iterable
from typing import Final

from rich.table import Table

from streams.progress import Conservation

_COLUMNS: Final[dict[str, Callable[[Conservation], int]]] = {
    "read": lambda of: of.read,
    "applied": lambda of: of.applied,
    "self": lambda of: of.self_,
    "duplicate": lambda of: of.duplicate,
    "withheld": lambda of: of.withheld,
    "forgotten": lambda of: of.forgotten,
    "dead-lettered": lambda of: of.dead_lettered,
    "heartbeat": lambda of: of.heartbeat,
    "retracting": lambda of: of.retracting,
}
_ALWAYS: Final = frozenset({"read", "applied", "duplicate", "dead-lettered"})
"""Columns that are there even where they hold nothing; with all of them a terminal would be too narrow."""


def conservation_table(sums: Iterable[Conservation]) -> Table:
    """Make the table of what became of each network's events."""
    table = Table(box=None, pad_edge=False)
    table.add_column("network", no_wrap=True)
    sums = list(sums)
    columns = [
        (heading, count) for heading, count in _COLUMNS.items() if heading in _ALWAYS or any(count(of) for of in sums)
    ]
    for heading, _ in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for of in sums:
        counts = [count(of) for _, count in columns]
        verdict = f"{of.missing:,} missing" if of.missing > 0 else "still coming in" if of.missing else "adds up"
        table.add_row(of.network, *(f"{count:,}" for count in counts), verdict)
    return table


def retraction_lines(sums: Iterable[Conservation]) -> list[str]:
    """Say what became of each network's retractions, where there were any.

    >>> retraction_lines([Conservation("twitter", 9, applied=5, retracting=4, retracted=2, repeated=1, unmatched=1)])
    ['twitter: of 4 retractions 2 took an event back, 1 repeated one before, 1 met no known event']
    """
    return [
        f"{of.network}: of {of.retracting:,} retractions {of.retracted:,} took an event back, "
        f"{of.repeated:,} repeated one before, {of.unmatched:,} met no known event"
        for of in sums
        if of.retracting
    ]
