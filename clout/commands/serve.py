"""`clout serve`: the gateway role."""

from typing import Annotated

import typer

from clout import VERSION
from clout.commands.common import connected_role


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="serve")(command)


def command(
    context: typer.Context,
    slot: Annotated[
        int,
        typer.Option(min=0, max=63, help="Number of this gateway on this machine; each has its own state directory."),
    ] = 0,
) -> None:
    """Serve scores, their history and their changes over HTTP, at gateway.host and gateway.port.

    Several may run side by side; each keeps a read model of its own, which it makes from the change topic.

    Example: clout serve --broker localhost:9092
    """
    from clout.machine import StopSignals
    from gateway.role import Gateway

    settings = connected_role(context, "serve", slot)
    gateway = Gateway(
        kafka=settings.kafka,
        lanes=settings.lanes,
        networks=settings.networks,
        model=settings.model.name,
        settings=settings.gateway,
        visibility=settings.visibility,
        control=settings.control,
        http=settings.http,
        data_dir=settings.data_dir,
        slot=slot,
        version=VERSION,
    )
    with StopSignals(gateway.stop):
        gateway.run()
