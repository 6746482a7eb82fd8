"""`clout broker`: the local Apache Kafka."""

from typing import Annotated

import typer

from clout.broker import local
from clout.commands.common import settings_of
from streams.errors import CloutError

group = typer.Typer(
    help="The local Apache Kafka, for those who have no cluster.\n\nExample: clout broker up", no_args_is_help=True
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(group, name="broker")


@group.command()
def up(context: typer.Context) -> None:
    """Start the local broker, unless it runs, and print its address.

    Example: clout broker up
    """
    typer.echo(local(settings_of(context).data_dir).up().address)


@group.command()
def down(context: typer.Context) -> None:
    """Stop the local broker; its data stays.

    Example: clout broker down
    """
    stopped = local(settings_of(context).data_dir).down()
    typer.echo("stopped" if stopped else "no local broker was running")


@group.command()
def status(
    context: typer.Context,
    address: Annotated[bool, typer.Option("--address", help="Print the address alone.")] = False,
) -> None:
    """Say whether the local broker runs, and where; exit code 1 when it does not.

    Example: clout broker status --address
    """
    broker = local(settings_of(context).data_dir)
    running = broker.running()
    if running is None:
        raise CloutError(
            "no local broker runs", detail=f"data directory {broker.directory}", hint="run `clout broker up`"
        )
    if address:
        typer.echo(running.address)
    else:
        typer.echo(f"running at {running.address}, process {running.pid}, data in {broker.directory}")
