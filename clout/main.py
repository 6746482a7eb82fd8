"""The command line: global options, subcommands, exit codes.

Exit codes: 0 done, 1 failed, 2 used wrongly, 130 interrupted. Expected errors are printed as error, detail and hint;
only what nobody foresaw comes with a traceback.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from clout import VERSION
from clout.commands.common import GlobalOptions
from streams.errors import CloutError

GLOBAL_FLAGS: Final = ("--broker", "--config", "--data-dir", "--prefix")

NAMES: Final = (
    *("demo", "up", "broker", "topics", "ingest", "score", "guard", "serve", "replay", "wait", "status", "clock"),
    *("tail", "show", "explain", "export", "incident", "audit", "dlq", "freeze", "resume", "forget", "quarantine"),
    *("retract", "control", "key", "claim", "private", "inject", "config"),
)
"""Every subcommand, as help lists them."""
ELSEWHERE: Final[Mapping[str, str]] = {"resume": "freeze", "private": "claim"}
"""Subcommands that are in another's module; every other has one of its name in `clout.commands`."""


class Commands(Mapping[str, Any]):
    """Subcommands by name; each is imported when it is asked for, since all together take a second."""

    def __getitem__(self, name: str) -> Any:
        if name not in NAMES:
            raise KeyError(name)
        alone = typer.Typer()
        import_module(f"clout.commands.{ELSEWHERE.get(name, name)}").register(alone)
        return typer.main.get_group(alone).commands[name]

    def __iter__(self) -> Iterator[str]:
        return iter(NAMES)

    def __len__(self) -> int:
        return len(NAMES)


class _Lazy(TyperGroup):
    """A group whose subcommands are imported when they are asked for."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = Commands()  # type: ignore[assignment]  # nobody adds any

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - Typer's own
        return list(NAMES)


app = typer.Typer(
    cls=_Lazy,
    help="Scores how influential people are, as it happens.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"clout {VERSION}")
        raise typer.Exit


@app.callback()
def _globals(
    context: typer.Context,
    broker_address: Annotated[str | None, typer.Option("--broker", metavar="HOST:PORT", help="Kafka to use.")] = None,
    config_file: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="Settings file, else ./clout.toml.")
    ] = None,
    data_dir: Annotated[str | None, typer.Option(metavar="DIRECTORY", help="Where state and the broker live.")] = None,
    prefix: Annotated[str | None, typer.Option(metavar="TEXT", help="Put before topic and group names.")] = None,
    version: Annotated[  # noqa: ARG001 - done by its callback
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    context.obj = GlobalOptions(config=config_file, broker=broker_address, prefix=prefix, data_dir=data_dir)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and end the process with its exit code."""
    try:
        app(globals_first(sys.argv[1:] if arguments is None else arguments), prog_name="clout")
    except CloutError as error:
        typer.echo(error, err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


def globals_first(arguments: Sequence[str]) -> list[str]:
    """The arguments with the global options in front of the subcommand, wherever they stood.

    >>> globals_first(["topics", "create", "--broker", "localhost:9092", "--", "--prefix"])
    ['--broker', 'localhost:9092', 'topics', 'create', '--', '--prefix']
    """
    first: list[str] = []
    rest: list[str] = []
    left = iter(arguments)
    for argument in left:
        if argument == "--":
            rest += [argument, *left]
        elif argument in GLOBAL_FLAGS:
            first += [argument, *[value for value in [next(left, None)] if value is not None]]
        elif argument.startswith(tuple(f"{flag}=" for flag in GLOBAL_FLAGS)):
            first.append(argument)
        else:
            rest.append(argument)
    return [*first, *rest]
