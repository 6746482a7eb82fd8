"""`clout clock`: how far time has come on each network, by which scores fade, and what holds it."""

import time
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Annotated, Final

import msgspec
import typer

from clout.clock_holds import Holder, NetworkClock, network_clocks
from clout.clock_release import outcome, wait_until_released
from clout.commands.common import connected_to_lanes, reason_given
from clout.commands.durations import in_words, seconds_of
from clout.commands.wait import reader_of
from clout.config import Settings
from clout.orders import issue, signed
from clout.population import last_clocks
from clout.terminal import printable
from streams.errors import CloutError
from streams.feed_position import CONTROL
from streams.progress_reader import ProgressReader, asked_tasks, unanswered
from streams.settings import NetworkSettings
from streams.status import TaskStatus

INGEST_TIMEOUT_SECONDS: Final = 2.0
"""A rebalance that takes longer is said to hold the clocks, and so is a process that takes longer to answer."""

group = typer.Typer(
    help="How far time has come on each network, by which scores fade.\n\nExample: clout clock show",
    no_args_is_help=True,
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(group, name="clock")


@group.command()
def show(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show each network's clock, how far it is behind the furthest of its inputs, and what holds it.

    Scores are taken by the least clock of all partitions. It waits for every raw partition, every source that the
    settings name, and every partition of the workers; what is down holds it, so that no score fades meanwhile, and so
    does an order to freeze the network. Where no worker answers, the clock is the one last told on `population.v1`.
    Of a source the time of its last heartbeat is shown, and the raw partition where it is so far behind, if it is not
    in all; of a raw partition also when it was last heard. A source that sends heartbeats to some raw partitions only
    holds the clock: they tell nothing of what lies unread in the others.

    Example: clout clock show --json
    """
    settings = connected_to_lanes(context)
    reader = reader_of(settings)
    clocks = _clocks(reader, settings, *_tasks_and_clocks(settings, reader))
    if as_json:
        typer.echo(msgspec.json.encode({"networks": clocks}))
        return
    _print(clocks)


@group.command()
def release(
    context: typer.Context,
    network: Annotated[str, typer.Argument(metavar="NETWORK", help="As the settings name it.")],
    source: Annotated[str, typer.Option(metavar="NAME", help="The collector, one of networks.NETWORK.sources.")],
    reason: Annotated[str, typer.Option(metavar="TEXT", callback=reason_given, help="Why; it is published.")],
    timeout: Annotated[str, typer.Option(metavar="DURATION", help="Wait for at most 90, 90s, 2m or 1h.")] = "60s",
) -> None:
    """Let the clock of a network go on without a collector that is down, until it is heard again.

    Scores then fade by what the other inputs tell. What the collector still brings later counts with its decayed
    worth. The order is signed with this machine's key (control.key) and recorded for everyone to read: `clout control
    log`.

    Example: clout clock release twitter --source west --reason "its machine is gone for good"
    """
    timeout_seconds = seconds_of(timeout)
    deadline = time.monotonic() + timeout_seconds
    settings = connected_to_lanes(context)
    check_source(settings.networks, network, source)
    reader = reader_of(settings)
    command = signed(settings, "release", reason, network=network, source=source)
    record = issue(settings, command, timeout_seconds)
    typer.echo(f"accepted: command {record.id}, number {record.epoch} of the control topic", err=True)
    left = max(0.0, deadline - time.monotonic())
    [sent] = [feed.position.sent for feed in reader.feeds() if feed.network == CONTROL]
    tasks = wait_until_released(lambda: asked_tasks(reader), sent, left)
    typer.echo(printable(outcome(tasks, network, source)))
    _print(clock for clock in _clocks(reader, settings, tasks) if clock.network == network)


def check_source(networks: Mapping[str, NetworkSettings], network: str, source: str) -> None:
    """Refuse a network or a source that the settings do not name."""
    if network not in networks:
        message = f"{network!r} is none of {', '.join(networks)}, which the settings name"
        raise typer.BadParameter(message, param_hint="NETWORK")
    sources = networks[network].sources
    if source not in sources:
        named = f"{source!r} is none of {', '.join(sources)}" if sources else "there are none"
        message = f"{named}; its clock waits only for those that networks.{network}.sources names, in these settings"
        raise typer.BadParameter(message, param_hint="--source")


def ingest_trouble(reader: ProgressReader) -> str:
    """Return what is wrong with ingest, by which nothing, or not everything, is read in; empty when all is well."""
    try:
        members = reader.ingests(INGEST_TIMEOUT_SECONDS)
    except CloutError as error:
        return error.error
    silent = [of.address for of in unanswered(members, reader.ingest_statuses(members, INGEST_TIMEOUT_SECONDS))]
    return f"{len(silent)} of {len(members)} ingest processes do not answer: {', '.join(silent)}" if silent else ""


def _tasks_and_clocks(
    settings: Settings, reader: ProgressReader
) -> tuple[Mapping[int, TaskStatus], Mapping[int, Mapping[str, int]]]:
    """Return what workers say, and the clocks last told of partitions for which none answers; raise `CloutError`."""
    no_worker: CloutError | None = None
    try:
        tasks = asked_tasks(reader)
    except CloutError as error:
        tasks, no_worker = {}, error
    if len(tasks) == settings.lanes.partitions:
        return tasks, {}
    last_ms = last_clocks(settings.kafka, settings.names)
    if no_worker is not None and not last_ms:
        raise no_worker
    return tasks, last_ms


def _clocks(
    reader: ProgressReader,
    settings: Settings,
    tasks: Mapping[int, TaskStatus],
    last_ms: Mapping[int, Mapping[str, int]] = MappingProxyType({}),
) -> list[NetworkClock]:
    """Return the clocks with all that holds them: what the tasks wait for, ingest that does not run, and orders."""
    trouble = ingest_trouble(reader)
    frozen = {} if trouble else reader.frozen()
    return network_clocks(
        tasks, settings.lanes.partitions, settings.networks, ingest_trouble=trouble, frozen=frozen, last_ms=last_ms
    )


def _print(clocks: Iterable[NetworkClock]) -> None:
    for clock in clocks:
        for line in lines(clock):
            typer.echo(printable(line))


def lines(clock: NetworkClock) -> Iterator[str]:
    r"""Say where a clock is and what holds it.

    >>> silent, late = Holder(name="raw partition 1"), Holder(name="source east", raw_partition=3)
    >>> print(*lines(NetworkClock(network="twitter", held_by=[silent, late], released=["west"])), sep="\n")
    twitter: no clock yet: waiting for raw partition 1, source east
      held by raw partition 1: never heard of
      held by source east: never heard of in raw partition 3
      not waited for, because released: west
    """
    yield f"{clock.network}: {_where(clock)}"
    for holder in clock.held_by:
        yield f"  held by {holder.name}: {_how(holder)}"
    if clock.released:
        yield f"  not waited for, because released: {', '.join(clock.released)}"


def _where(clock: NetworkClock) -> str:
    if clock.all_stand_still:
        return f"{clock.clock or 'no clock yet'}; all partitions stand still"
    if clock.clock is None:
        return f"no clock yet: waiting for {', '.join(holder.name for holder in clock.held_by) or 'the workers'}"
    if clock.behind_seconds is None:
        return clock.clock
    if clock.behind_seconds == 0:
        return f"{clock.clock}, with its furthest input"
    return f"{clock.clock}, {in_words(clock.behind_seconds)} behind its furthest input"


def _how(holder: Holder) -> str:
    where = f" in raw partition {holder.raw_partition}" if holder.raw_partition is not None else ""
    if holder.why:
        return holder.why + (f"; last at {holder.time}{where}" if holder.time is not None else "")
    if holder.time is None:
        silent = f"never heard of{where}"
        return silent if holder.since is None else f"nothing with a time yet, last heard {holder.since}"
    if holder.name.startswith("source "):
        return f"last heartbeat {holder.time}{where}"
    return f"at {holder.time}" + (f", last heard {holder.since}" if holder.since is not None else "")
