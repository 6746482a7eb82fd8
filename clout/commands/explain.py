"""`clout explain`: why a user's score is what it is, and why it changed."""

from typing import Annotated

import typer

from clout.commands.common import connected_to_lanes
from clout.explain_view import change_panel, panel
from clout.explaining import explained, explained_change, taken_back
from clout.terminal import literal_console
from schemas.explanation import encode_explained


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="explain")(command)


def command(
    context: typer.Context,
    user: Annotated[str, typer.Argument(metavar="USER", help="Its id, for instance twitter:50329.")],
    change: Annotated[
        int | None, typer.Option(min=1, metavar="SEQUENCE", help="Explain this change, by its number.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Explain a user's score, or one change of it, in words and in numbers that add up.

    Exit code 1 when the user has no score; if everything was taken back, --json prints what is known all the same.

    Example: clout explain twitter:50329 --change 16
    """
    settings = connected_to_lanes(context)
    if change is not None:
        story = explained_change(settings, user, change)
        if as_json:
            typer.echo(encode_explained(story))
        else:
            literal_console().print(change_panel(story))
        return
    found = explained(settings, user)
    if as_json:
        typer.echo(encode_explained(found))
    if found.explanation.score is None:
        raise taken_back(found)
    if not as_json:
        literal_console().print(panel(found))
