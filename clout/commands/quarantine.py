"""`clout quarantine`: one lane record is set aside, so that its partition goes on."""

import time
from typing import Annotated, Literal

import typer

from clout.commands.common import connected_to_lanes, reason_given
from clout.commands.durations import seconds_of
from clout.commands.wait import reader_of
from clout.orders import issue, signed
from clout.quarantine import (
    RUNNING,
    Place,
    check_ahead,
    check_record,
    ends_of_letters,
    letter_of,
    wait_until_passed,
    wait_until_settled,
)
from clout.terminal import printable
from streams.errors import CloutError, first_line
from streams.progress_reader import asked_tasks


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="quarantine")(command)


def command(
    context: typer.Context,
    partition: Annotated[int, typer.Option(min=0, metavar="P", help="The partition that stands still.")],
    offset: Annotated[int, typer.Option(min=0, metavar="O", help="The record's offset; the incident names a suspect.")],
    reason: Annotated[str, typer.Option(metavar="TEXT", callback=reason_given, help="Why; it is published.")],
    lane: Annotated[Literal["actors", "targets"], typer.Option(help="The lane that the record is in.")] = "targets",
    timeout: Annotated[str, typer.Option(metavar="DURATION", help="Wait for at most 90, 90s, 2m or 1h.")] = "60s",
) -> None:
    """Set one lane record aside, at which a partition stands still, so that the partition goes on.

    The record goes to the lanes' dead letters as it is; its events count as dead-lettered. The order is signed with
    this machine's key (control.key) and recorded for everyone to read: `clout control log`.

    Example: clout quarantine --partition 3 --offset 4711 --reason "INC-7: one bad credit"
    """
    timeout_seconds = seconds_of(timeout)
    deadline = time.monotonic() + timeout_seconds
    settings = connected_to_lanes(context)
    place = Place(partition, lane, offset)
    reader = reader_of(settings)
    check_ahead(place, asked_tasks(reader))
    typer.echo(f"{place}: {check_record(settings, place)}", err=True)
    letters = ends_of_letters(settings)
    order = signed(settings, "quarantine", reason, partition=partition, lane=lane, offset=offset)
    record = issue(settings, order, timeout_seconds)
    typer.echo(f"accepted: command {record.id}, number {record.epoch} of the control topic", err=True)
    passed = wait_until_passed(lambda: asked_tasks(reader), place, max(0.0, deadline - time.monotonic()))
    found = letter_of(settings, letters, record.id)
    if found is None:
        raise CloutError(
            f"{place} was passed before the order was seen: it has no effect",
            detail="the record was taken in as any other",
        )
    typer.echo(printable(f"{place} was set aside: {found}"))
    task = wait_until_settled(lambda: asked_tasks(reader), place, passed)
    if task.state != RUNNING:
        raise CloutError(
            f"the record was set aside, but partition {partition} stands still again",
            detail=first_line(task.reason or task.state),
        )
    typer.echo(f"partition {partition} runs")
