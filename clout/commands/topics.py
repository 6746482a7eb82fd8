"""`clout topics`: create and check the topics of this installation."""

import typer

from clout.commands.common import connected
from clout.config import Settings
from streams import topics

group = typer.Typer(help="The topics of this installation.\n\nExample: clout topics check", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(group, name="topics")


@group.command()
def create(context: typer.Context) -> None:
    """Create the topics that are missing; those that exist stay as they are.

    Example: clout topics create --broker localhost:9092 --prefix acme-
    """
    settings = connected(context)
    specs = specification(settings)
    made = topics.create(settings.kafka, specs)
    for name in made:
        typer.echo(f"created {name}")
    typer.echo(f"{len(made)} created, {len(specs) - len(made)} were there")
    topics.require(settings.kafka, specs)


@group.command()
def check(context: typer.Context) -> None:
    """Check that all topics are as they must be; exit code 1 when one is not.

    Example: clout topics check
    """
    settings = connected(context)
    specs = specification(settings)
    problems = topics.check(settings.kafka, specs)
    if problems:
        for problem in problems[:-1]:
            typer.echo(f"{problem}\n", err=True)
        raise problems[-1]
    typer.echo(f"{len(specs)} topics are as they must be")


def specification(settings: Settings) -> list[topics.TopicSpec]:
    """The topics of these settings."""
    return topics.specification(settings.names, settings.lanes, settings.networks)
