"""`clout clock`: how far time has come on each network, by which scores fade, and what holds it."""

from collections.abc import Iterator
from typing import Annotated

import msgspec
import typer

from clout.clock_holds import Holder, NetworkClock, network_clocks
from clout.commands.common import connected_to_lanes
from clout.commands.dlq import printable
from clout.commands.durations import in_words
from clout.commands.wait import reader_of
from streams.progress_reader import tasks_by_partition

group = typer.Typer(
    help="How far time has come on each network, by which scores fade.\n\nExample: clout clock show",
    no_args_is_help=True,
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(group, name="clock")


@group.callback()
def _group() -> None:
    """Keep `show` a subcommand, though it is the only one."""


@group.command()
def show(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show each network's clock, how far it is behind the furthest of its inputs, and what holds it.

    Scores are taken by the least clock of all partitions. It waits for every raw partition, every source that the
    settings name, and every partition of the workers; what is down holds it, so that no score fades meanwhile.

    Example: clout clock show --json
    """
    settings = connected_to_lanes(context)
    reader = reader_of(settings)
    tasks = tasks_by_partition(reader.worker_statuses(reader.workers()))
    clocks = network_clocks(tasks, settings.lanes.partitions, settings.networks)
    if as_json:
        typer.echo(msgspec.json.encode({"networks": clocks}))
        return
    for clock in clocks:
        for line in lines(clock):
            typer.echo(printable(line))


def lines(clock: NetworkClock) -> Iterator[str]:
    r"""Say where a clock is and what holds it.

    >>> silent = Holder(name="raw partition 1")
    >>> print(*lines(NetworkClock(network="twitter", held_by=[silent], released=["west"])), sep="\n")
    twitter: no clock yet: waiting for raw partition 1
      held by raw partition 1: never heard of
      not waited for, because released: west
    """
    yield f"{clock.network}: {_where(clock)}"
    for holder in clock.held_by:
        yield f"  held by {holder.name}: {_how(holder)}"
    if clock.released:
        yield f"  not waited for, because released: {', '.join(clock.released)}"


def _where(clock: NetworkClock) -> str:
    if clock.clock is None:
        return f"no clock yet: waiting for {', '.join(holder.name for holder in clock.held_by) or 'the workers'}"
    if clock.behind_seconds is None:
        return clock.clock
    if clock.behind_seconds == 0:
        return f"{clock.clock}, with its furthest input"
    return f"{clock.clock}, {in_words(clock.behind_seconds)} behind its furthest input"


def _how(holder: Holder) -> str:
    if holder.why:
        return holder.why + (f"; last at {holder.time}" if holder.time is not None else "")
    if holder.time is None:
        return "never heard of" if holder.since is None else f"nothing with a time yet, last heard {holder.since}"
    return f"at {holder.time}" + (f", last heard {holder.since}" if holder.since is not None else "")
