"""Tables that several commands print."""

from collections.abc import Iterable

from rich.table import Table

from streams.progress import Conservation


def conservation_table(sums: Iterable[Conservation]) -> Table:
    """Make the table of what became of each network's events."""
    table = Table("network", box=None, pad_edge=False)
    for heading in ("read", "applied", "self", "dead-lettered", "heartbeat", "retracting"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for of in sums:
        counts = (of.read, of.applied, of.self_, of.dead_lettered, of.heartbeat, of.retracting)
        verdict = f"{of.missing:,} missing" if of.missing > 0 else "still coming in" if of.missing else "adds up"
        table.add_row(of.network, *(f"{count:,}" for count in counts), verdict)
    return table
