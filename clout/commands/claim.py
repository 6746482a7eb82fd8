"""`clout claim` and `clout private`: whom the gateway tells of."""

from typing import Annotated

import msgspec
import typer

from clout.access import now, put, take_away, user_as_it_stands
from clout.commands.common import connected
from clout.terminal import printable
from schemas.access import AccessUser
from streams.errors import CloutError

User = Annotated[str, typer.Argument(metavar="USER", help="Its id, for instance twitter:50329.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(claim)
    app.command()(private)


def claim(
    context: typer.Context,
    user: User,
    undo: Annotated[bool, typer.Option("--undo", help="The user is claimed no more.")] = False,
) -> None:
    """Note that a user knows of their score. Where visibility.default is `claimed`, nobody else is shown.

    Example: clout claim twitter:50329
    """
    settings = connected(context)
    known = user_as_it_stands(settings, user)
    if not undo:
        if known is None:
            put(settings, AccessUser(user=user, claimed=now(), private=False))
        typer.echo(printable(f"{user} is claimed{' already' if known is not None else ''}"))
        return
    if known is not None and known.private:
        raise CloutError(
            f"{user} is private",
            detail="who is claimed no more cannot be private, and may be shown to everybody",
            hint=f"run `clout private {user} --undo` first, if that is meant",
        )
    if known is not None:
        take_away(settings, user)
    typer.echo(printable(f"{user} is not claimed"))


def private(
    context: typer.Context,
    user: User,
    undo: Annotated[bool, typer.Option("--undo", help="The user is private no more.")] = False,
) -> None:
    """Show a claimed user only to API keys that may see private users (`clout key create --private`).

    Example: clout private twitter:50329
    """
    settings = connected(context)
    known = user_as_it_stands(settings, user)
    if known is None:
        if undo:
            typer.echo(printable(f"{user} is not private"))
            return
        raise CloutError(f"{user} is not claimed", hint=f"run `clout claim {user}` first")
    if known.private == undo:
        put(settings, msgspec.structs.replace(known, private=not undo))
    typer.echo(printable(f"{user} is {'not private' if undo else 'private'}"))
