"""`clout show`: one user's score and what it is made of."""

from typing import Annotated

import typer
from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from clout.commands.common import connected_to_lanes
from clout.owners import Owners
from clout.terminal import literal_console, printable
from schemas.export import UserState, decode_user
from streams.errors import CloutError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="show")(command)


def command(
    context: typer.Context,
    user: Annotated[str, typer.Argument(metavar="USER", help="Its id, for instance twitter:50329.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the line of `clout export`.")] = False,
) -> None:
    """Show one user's score, its parts, and what each network adds.

    Exit code 1 when the user has no score; if everything was taken back, --json prints what is left all the same.

    Example: clout show twitter:50329
    """
    with Owners(connected_to_lanes(context)) as owners:
        found = owners.user(user)
    if found is None:
        raise CloutError(
            f"{user} has no score",
            detail="nobody has engaged with this user yet, or they were forgotten",
            hint="ids are as in the events, with their prefix and in the same case; `clout wait` if they just came in",
        )
    state = decode_user(found)
    if as_json:
        typer.echo(found)
    if state.score is None:
        raise CloutError(f"{user} has no score", detail="everything that had been counted for this user was taken back")
    if not as_json:
        literal_console().print(panel(state))


def panel(state: UserState) -> Panel:
    """Make the panel of one user."""
    parts = state.subscores
    summary = Text.assemble((_score(state.score), "bold"), f"   change {state.sequence:,} · as of {state.as_of}")
    if state.stale is True:
        summary.append("\nstale: this user's partition stands still, and this is the last good score", "bold red")
    scores = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("", "score", "reach", "amplification", "network", "events", "last event"):
        scores.add_column(heading, justify="left" if heading in {"", "last event"} else "right")
    if parts is not None:
        of_all = (parts.reach, parts.amplification, parts.network)
        events = sum(network.events for network in state.networks.values())
        scores.add_row("all", _score(state.score), *(f"{score:.1f}" for score in of_all), f"{events:,}", "")
    for name, network in sorted(state.networks.items(), key=lambda item: -item[1].score):
        sums = (network.reach, network.amplification, network.network)
        scores.add_row(
            name,
            f"{network.score:.1f}",
            *(f"{value:,.2f}" for value in sums),
            f"{network.events:,}",
            network.time[:16].replace("T", " "),
        )
    note = Text("all: sub-scores, 1 to 100; networks: the sums behind them, at the time of the last event", "dim")
    return Panel(
        Group(summary, Text(), scores, Text(), note),
        title=Text(printable(state.user)),
        title_align="left",
        expand=False,
    )


def _score(score: float | None) -> str:
    return "no score" if score is None else f"{score:.1f}"
