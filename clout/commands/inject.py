"""`clout inject`: faults in a running demonstration, to see what stops them."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from clout.commands.common import settings_of

if TYPE_CHECKING:
    from clout.injection import FeedOrder, WorkerFault


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="inject")(command)


def command(
    context: typer.Context,
    fault: Annotated[str, typer.Argument(metavar="FAULT", help="What goes wrong.")],
    network: Annotated[str | None, typer.Option(metavar="N", help="Whose feed, else the first.")] = None,
    share: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, metavar="P", help="Of the events that a feed's fault meets.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.1, max=3_600, metavar="S", help="How long.")] = 15.0,
    partition: Annotated[int, typer.Option(min=0, help="Which one is lost, with lost-partition.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Another seed meets other events.")] = 1,
    audit: Annotated[bool, typer.Option(help="Whether a faulty worker's batches are audited.")] = True,
    i_know: Annotated[bool, typer.Option("--i-know", help="Harm what is no demonstration.")] = False,
) -> None:
    """Let something go wrong in the running demonstration, for a while.

    Feeds: stall, dead-collector, partial, half-garbage, future, skew, replay-storm, retract-storm, misattribute,
    bot-wave. Workers: floor, lost-partition, bad-model, mass-fall; these end when the worker is started again, which
    happens at the end of the time. Ctrl-C or SIGTERM ends any fault early.

    Example: clout inject half-garbage --network mastodon --seconds 20
    """
    from clout import injection
    from clout.demo.faults import FEED_FAULTS

    if fault not in FEED_FAULTS and fault not in injection.WORKER_FAULTS:
        names = ", ".join((*FEED_FAULTS, *injection.WORKER_FAULTS))
        raise typer.BadParameter(f"{fault!r} is none of {names}", param_hint="FAULT")
    if network is not None and fault in injection.WORKER_FAULTS:
        raise typer.BadParameter(f"{fault} is about workers, which score all networks", param_hint="--network")
    settings = settings_of(context)
    directory = injection.run_directory(settings, whatever=i_know)
    with _ended_as_by_ctrl_c():
        if fault in injection.WORKER_FAULTS:
            _harm_workers(injection.WorkerFault(directory, fault, audit=audit, partition=partition), fault, seconds)
            return
        network = network or injection.networks_of(directory)[0]
        _harm_feed(injection.FeedOrder(directory, fault, network, seconds, share=share, seed=seed), seconds)


@contextmanager
def _ended_as_by_ctrl_c() -> Iterator[None]:
    """Let SIGTERM, as of `timeout`, end what goes wrong too."""
    former = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


def _harm_workers(fault: "WorkerFault", name: str, seconds: float) -> None:
    from clout.injection import WORKER_FAULTS

    workers = ", ".join(fault.begin())
    try:
        typer.echo(f"{name}: {WORKER_FAULTS[name]}; in {workers}, for {seconds:g} s")
        time.sleep(seconds)
    finally:
        fault.end()
        typer.echo(f"{name}: over; {workers} was started again without it")


def _harm_feed(fault: "FeedOrder", seconds: float) -> None:
    from clout.demo.faults import FEED_FAULTS

    name, network = fault.order.fault, fault.order.network
    fault.begin()
    try:
        typer.echo(f"{name} on {network}: {FEED_FAULTS[name].what}; for {seconds:g} s")
        time.sleep(seconds)
    finally:
        report = fault.end()
        met = (
            f"{report.events:,} events met it, {report.sent:,} records came of them" if report else "the feeder is gone"
        )
        typer.echo(f"{name} on {network}: over; {met}")
