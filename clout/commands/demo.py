"""`clout demo`: everything on this machine with a made-up population, and what comes of it, live."""

from typing import Annotated

import typer

from clout.commands.common import settings_of


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="demo")(command)


def command(
    context: typer.Context,
    seconds: Annotated[float, typer.Option(min=1, metavar="N", help="How long the population acts.")] = 60,
    seed: Annotated[int, typer.Option(min=0, metavar="S", help="Another seed, another population.")] = 1,
) -> None:
    """Watch scores move: a broker, all roles and a made-up population on three networks, for a minute.

    Two weeks of posts, shares and replies pass in that time and end now. Everything lives in `demo` in the data
    directory, made anew each time; nothing else is touched, and no process is left behind.

    Once a second a heartbeat with the source `demo` goes to every partition of each network's topic, so that the
    networks' clocks wait for none. The table at the end has them under `read` and `heartbeat`.

    Example: clout demo --seconds 30 --seed 7
    """
    from clout.demo.course import demonstrate

    raise typer.Exit(demonstrate(settings_of(context), seconds, seed))
