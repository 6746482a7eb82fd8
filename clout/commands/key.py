"""`clout key`: who may ask the gateway, and for what."""

from typing import Annotated

import msgspec
import typer
from rich.table import Table

from clout.access import keys_as_they_stand, new_key, put, revoked
from clout.commands.common import connected
from clout.terminal import output, printable
from schemas.access import RATE_DEFAULT, RATE_MAX, SCOPES, Scope
from streams.errors import CloutError

group = typer.Typer(
    help="API keys of the gateway: who may ask, and for what.\n\nExample: clout key list", no_args_is_help=True
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(group, name="key")


@group.command()
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What you call it.")],
    scope: Annotated[
        list[str],
        typer.Option(
            "--scope",
            metavar="SCOPE",
            callback=lambda scopes: [_scope(scope) for scope in scopes],
            help=f"What it may do: {', '.join(SCOPES)}; several times for several.",
        ),
    ],
    private: Annotated[bool, typer.Option("--private", help="It is told of private users too.")] = False,
    rate: Annotated[
        int, typer.Option("--rate", min=1, max=RATE_MAX, metavar="N", help="Requests a second that it may make.")
    ] = RATE_DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Make an API key and print it. It is kept nowhere: this is the only time that it is shown.

    Example: clout key create dashboard --scope read --scope stream
    """
    settings = connected(context)
    record, key = new_key(name, [_scope(of) for of in scope], may_see_private=private, rate_per_second=rate)
    put(settings, record)
    if as_json:
        typer.echo(msgspec.json.encode({"key": key, "id": record.id, "name": record.name, "scopes": record.scopes}))
        return
    typer.echo(key)
    typer.echo(
        printable(f"{name} is key {record.id}; it may {', '.join(record.scopes)}. It is not shown again"), err=True
    )


@group.command("list")
def list_keys(context: typer.Context, as_json: AsJson = False) -> None:
    """Show the API keys, without their secrets.

    Example: clout key list --json
    """
    keys = keys_as_they_stand(connected(context))
    if as_json:
        shown = [msgspec.to_builtins(key) for key in keys]
        typer.echo(
            msgspec.json.encode(
                {"keys": [{name: value for name, value in key.items() if name != "hash"} for key in shown]}
            )
        )
        return
    if not keys:
        typer.echo("no keys", err=True)
        return
    table = Table("id", "name", "may", "private", "a second", "created", "revoked", box=None, pad_edge=False)
    for key in keys:
        private = "yes" if key.may_see_private else "no"
        cells = (key.id, key.name, ", ".join(key.scopes), private, f"{key.rate_per_second:,}", key.created)
        table.add_row(*(printable(cell) for cell in (*cells, key.revoked or "")))
    output().print(table)


@group.command()
def revoke(
    context: typer.Context,
    identity: Annotated[str, typer.Argument(metavar="ID", help="The key's id, as `clout key list` shows it.")],
) -> None:
    """Take an API key back: gateways refuse it at once and end its streams.

    Example: clout key revoke 00c0ffee00c0ffee
    """
    settings = connected(context)
    key = next((key for key in keys_as_they_stand(settings) if key.id == identity), None)
    if key is None:
        raise CloutError(f"there is no key {identity!r}", hint="`clout key list` shows what there is")
    if key.revoked is not None:
        raise CloutError(f"{identity} was revoked already", detail=f"at {key.revoked}")
    put(settings, revoked(key))
    typer.echo(printable(f"{key.id}, {key.name}, is revoked"))


def _scope(text: str) -> Scope:
    for scope in SCOPES:
        if scope == text:
            return scope
    raise typer.BadParameter(f"{text!r} is none of {', '.join(SCOPES)}")
