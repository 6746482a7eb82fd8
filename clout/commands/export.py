"""`clout export`: every user, one JSON line each."""

import sys

import typer

from clout.commands.common import connected_to_lanes
from clout.owners import Owners


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="export")(command)


def command(context: typer.Context) -> None:
    """Print one JSON line a user: the score, its parts, and each network's sums, unrounded.

    Partitions come one after the other, each from the worker that owns it. Exit code 1 if one cannot be had.

    Example: clout export | jq -c 'select(.score > 50) | [.user, .score]'
    """
    with Owners(connected_to_lanes(context)) as owners:
        for partition in range(owners.partitions):
            for lines in owners.users(partition):
                sys.stdout.buffer.write(lines)
        sys.stdout.buffer.flush()
