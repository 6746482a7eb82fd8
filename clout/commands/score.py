"""`clout score`: the role that scores."""

from typing import Annotated

import typer

from clout import VERSION
from clout.commands.common import connected_role


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(score)


def score(
    context: typer.Context,
    slot: Annotated[
        int,
        typer.Option(min=0, max=63, help="Number of this worker on this machine; each has its own state directory."),
    ] = 0,
) -> None:
    """Score: say what each interaction is worth, fold it, and publish changes.

    Example: clout score --broker localhost:9092 --slot 1
    """
    # Faust and the kernels take a second to import: other commands do without.
    from streams.control_secrets import control_secrets
    from streams.worker import Worker

    settings = connected_role(context, "score", slot)
    Worker(
        kafka=settings.kafka,
        lanes=settings.lanes,
        networks=settings.networks,
        model=settings.model,
        settings=settings.worker,
        hash_key=control_secrets(settings.control, settings.data_dir).hash_key,
        http=settings.http,
        data_dir=settings.data_dir,
        slot=slot,
        version=VERSION,
    ).run()
