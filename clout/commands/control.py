"""`clout control`: what operators ordered."""

from collections import deque
from typing import Annotated, Final

import typer
from rich.text import Text

from clout.commands.common import connected
from clout.orders import public_record
from clout.terminal import output, printable
from schemas.control import CommandRecord, encode_record
from schemas.users import keyed_hash
from streams.control_secrets import control_secrets

SHOWN_RECORDS: Final = 100
SUBJECT_SHOWN: Final = 8

group = typer.Typer(help="What operators ordered.\n\nExample: clout control log", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(group, name="control")


@group.callback()
def _group() -> None:
    """Keep `log` a subcommand, though it is the only one."""


@group.command()
def log(
    context: typer.Context,
    user: Annotated[
        str | None, typer.Option(metavar="USER", help="About this user alone; it takes this installation's hash key.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="The latest so many.")] = SHOWN_RECORDS,
    as_json: Annotated[bool, typer.Option("--json", help="Print the records as they are.")] = False,
) -> None:
    """Show the public record: when, what, about whom or what, accepted or why not, by which key, and the reason.

    A user is there as a hash alone.

    Example: clout control log --user twitter:50329
    """
    settings = connected(context)
    subject = None
    if user is not None:
        subject = keyed_hash(user.encode(), control_secrets(settings.control, settings.data_dir).hash_key).hex()
    records = (record for record in public_record(settings) if subject is None or record.subject == subject)
    found = deque(records, maxlen=limit)
    console = output()
    for record in found:
        if as_json:
            typer.echo(encode_record(record))
        else:
            console.print(line(record))
    if not found:
        typer.echo("no commands", err=True)


def line(record: CommandRecord) -> Text:
    """Write a record as a line.

    >>> print(line(CommandRecord(id="7", command="forget", subject="0f" * 16, key="ops", reason="asked for",
    ...                          issued="2026-01-01T00:00:00Z", received="2026-01-01T00:00:01.000Z", epoch=3,
    ...                          accepted=True)))
    2026-01-01T00:00:01.000Z  forget 0f0f0f0f…  accepted  by ops  asked for
    """
    outcome = ("accepted", "green") if record.accepted else (f"refused: {record.why}", "red")
    return Text.assemble(
        (record.received, "dim"),
        f"  {record.command} {_about(record)}  ",
        outcome,
        f"  by {printable(record.key, kept='')}  ",
        (printable(record.reason, kept=""), "dim"),
    )


def _about(record: CommandRecord) -> str:
    if record.command == "release":
        return printable(f"{record.network} source {record.source}", kept="")
    if record.command == "quarantine":
        return f"partition {record.partition}, {record.lane} lane, offset {record.offset}"
    if record.subject:
        return f"{record.subject[:SUBJECT_SHOWN]}…"
    return printable(" ".join(filter(None, (record.network, record.source, record.incident))), kept="")
