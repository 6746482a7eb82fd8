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
    partition: Annotated[int | None, typer.Option(min=0, help="Which one is lost with lost-partition, else 0.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed meets other events.")] = 1,
    audit: Annotated[
        bool | None, typer.Option("--audit/--no-audit", help="Whether a faulty worker's batches are audited, else yes.")
    ] = None,
    i_know: Annotated[
        bool, typer.Option("--i-know", help="Without a demonstration: harm what runs here and lets itself be harmed.")
    ] = False,
) -> None:
    """Let something go wrong in the running demonstration, for a while.

    Feeds: stall, dead-collector, partial, half-garbage, future, skew, replay-storm, retract-storm, misattribute,
    bot-wave. Workers: floor, lost-partition, bad-model, mass-fall; these end when the worker is started again, which
    happens at the end of the time. Each network has one fault at a time, and so have the workers; a second one is
    refused. Ctrl-C or SIGTERM ends any fault early.

    The guard notices partial only where about two weeks of the feed have been learned, and skew, misattribute and
    bot-wave not at all: no number tells them from true activity. A person who finds them says so with `clout incident
    declare`, and takes them back with `clout retract`.

    With --i-know it acts without a demonstration too, and still on nothing that takes no part: on workers that were
    started with CLOUT_TEST_PLANTED_FAULTS=1 in their environment, and on a feeder that takes orders in `run` in the
    data directory, as tests start one. Real collectors take none.

    Example: clout inject half-garbage --network mastodon --seconds 20
    """
    from clout import injection
    from clout.demo.faults import FEED_FAULTS

    if fault not in FEED_FAULTS and fault not in injection.WORKER_FAULTS:
        names = ", ".join((*FEED_FAULTS, *injection.WORKER_FAULTS))
        raise typer.BadParameter(f"{fault!r} is none of {names}", param_hint="FAULT")
    of_workers = fault in injection.WORKER_FAULTS
    if network is not None and of_workers:
        raise typer.BadParameter(f"{fault} is about workers, which score all networks", param_hint="--network")
    if share is not None and (of_workers or FEED_FAULTS[fault].mute):
        raise typer.BadParameter(f"{fault} meets everything, whatever the share", param_hint="--share")
    if partition is not None and fault != injection.OF_A_PARTITION:
        raise typer.BadParameter(f"{fault} is not about one", param_hint="--partition")
    if audit is not None and not of_workers:
        message = f"{fault} is about a feed, and workers audit what comes of it"
        raise typer.BadParameter(message, param_hint="--audit / --no-audit")
    directory = injection.run_directory(settings_of(context), fault, whatever=i_know)
    with _ended_as_by_ctrl_c():
        if of_workers:
            _harm_workers(
                injection.WorkerFault(
                    directory, fault, audit=audit is not False, partition=partition or 0, seconds=seconds
                ),
                fault,
                seconds,
            )
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
        if fault.end():
            typer.echo(f"{name}: over; started again without it: {workers}")
        else:
            typer.echo(f"{name}: told to end with it, and not all back yet: {workers}; see `clout status`")


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
