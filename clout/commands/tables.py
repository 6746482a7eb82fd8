"""Tables that several commands print."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from clout.terminal import UNLIMITED_COLUMNS
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
_USUAL: Final = frozenset({"read", "applied", "duplicate", "dead-lettered"})
"""Columns that are there even where they hold nothing, if there is room."""
_ALWAYS: Final = frozenset({"read", "applied"})


@dataclass(frozen=True, slots=True)
class ConservationTable:
    """What became of each network's events: a table, or a line a network where there is no room for one."""

    sums: Sequence[Conservation]
    rest: str = "missing"
    """What those are that were read and of which nothing is known yet."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Give up columns that hold nothing first, then the table; no figure is ever cut off."""
        without_limit = options.update(width=UNLIMITED_COLUMNS)
        for always in (_USUAL, _ALWAYS):
            table = _conservation_table(self.sums, always, self.rest)
            if Measurement.get(console, without_limit, table).maximum <= options.max_width:
                yield table
                return
        for of in self.sums:
            yield Text(conservation_line(of, self.rest))


def _conservation_table(sums: Sequence[Conservation], always: frozenset[str], rest: str) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("network", no_wrap=True)
    columns = [
        (heading, count) for heading, count in _COLUMNS.items() if heading in always or any(count(of) for of in sums)
    ]
    for heading, _ in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for of in sums:
        table.add_row(of.network, *(f"{count(of):,}" for _, count in columns), _verdict(of, rest))
    return table


def conservation_line(of: Conservation, rest: str = "missing") -> str:
    """Say what became of a network's events in one line.

    >>> conservation_line(Conservation("twitter", 1_300, applied=1_250, self_=50))
    'twitter: read 1,300 = applied 1,250 + self 50, adds up'
    >>> conservation_line(Conservation("twitter", 1_300, applied=1_250))
    'twitter: read 1,300 ≠ applied 1,250, 50 missing'
    """
    counts = {heading: count(of) for heading, count in _COLUMNS.items() if heading != "read"}
    parts = [f"{heading} {count:,}" for heading, count in counts.items() if count or heading in _ALWAYS]
    return f"{of.network}: read {of.read:,} {'≠' if of.missing else '='} {' + '.join(parts)}, {_verdict(of, rest)}"


def _verdict(of: Conservation, rest: str) -> str:
    return f"{of.missing:,} {rest}" if of.missing > 0 else "still coming in" if of.missing else "adds up"


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
