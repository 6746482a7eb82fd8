"""`clout ingest`: the role that takes raw interactions in."""

from typing import Annotated

import typer

from clout import VERSION
from clout.commands.common import connected_role


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(ingest)


def ingest(
    context: typer.Context,
    slot: Annotated[
        int, typer.Option(min=0, max=63, help="Number of this process among the ingest processes of an installation.")
    ] = 0,
) -> None:
    """Take raw interactions in: decode, check, pack; what is not valid goes to dead letters.

    Example: clout ingest --broker localhost:9092 --slot 1
    """
    # The decoders and packing take a while to import: other commands do without.
    from streams.control_secrets import control_secrets
    from streams.ingest import Ingest

    settings = connected_role(context, "ingest", slot)
    Ingest(
        kafka=settings.kafka,
        lanes=settings.lanes,
        networks=settings.networks,
        model=settings.model.name,
        settings=settings.ingest,
        secrets=control_secrets(settings.control, settings.data_dir),
        http=settings.http,
        slot=slot,
        version=VERSION,
    ).run()
