"""`clout config`: what is set, and where it was set."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from clout.commands.common import loaded

group = typer.Typer(help="The settings.\n\nExample: clout config show", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(group, name="config")


@group.command()
def show(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List each setting, its value and where it came from: flag, environment, file or default.

    Example: clout config show --config production.toml
    """
    rows = list(loaded(context).rows())
    if as_json:
        typer.echo(json.dumps({name: {"value": _plain(value), "origin": origin} for name, value, origin in rows}))
        return
    shown = [(name, json.dumps(_plain(value), ensure_ascii=False), origin) for name, value, origin in rows]
    name_width, value_width = (max(len(row[column]) for row in shown) for column in (0, 1))
    for name, text, origin in shown:
        typer.echo(f"{name:{name_width}}  {text:{value_width}}  {origin}")


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value
