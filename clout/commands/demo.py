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
    fault: Annotated[
        str | None, typer.Option(metavar="floor|stall", help="Tell what a fault once did, and what it does here.")
    ] = None,
    gateways: Annotated[int, typer.Option(min=0, max=8, help="How many gateways.")] = 1,
    monitoring: Annotated[bool, typer.Option("--monitoring", help="Prometheus and Alertmanager too.")] = False,
) -> None:
    """Watch scores move: a broker, all roles and a made-up population on three networks, for a minute.

    Two weeks of posts, shares and replies pass in that time and end now. Everything lives in `demo` in the data
    directory, made anew each time; nothing else is touched, and no process is left behind.

    It prints the address of its web pages, which show the scores as they move; on this machine they need no key.

    Each network has four collectors, and each of these says once a second to every partition of the network's topic
    how far it has reported: the networks' clocks wait for all of them. The table at the end has these records under
    `read` and `heartbeat`. `clout inject`, in another terminal, lets something go wrong meanwhile.

    --fault tells one of the two stories for which there are laws and a guard: floor, every score is reset to 1; stall,
    a feed brings nothing. It ends with the story, and the exit code is 1 if that did not go as told.

    Example: clout demo --seconds 30 --seed 7
    """
    from clout.demo.course import demonstrate
    from clout.demo.stories import STORIES

    if fault is not None and fault not in STORIES:
        raise typer.BadParameter(f"{fault!r} is none of {', '.join(STORIES)}", param_hint="--fault")
    raise typer.Exit(demonstrate(settings_of(context), seconds, seed, fault, monitoring=monitoring, gateways=gateways))
