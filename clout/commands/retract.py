"""`clout retract`: takes the events of a bad feed back."""

import time
from collections.abc import Iterator
from typing import Annotated

import typer

from clout.commands.common import check_network, check_registered, connected_to_lanes, reason_given
from clout.commands.durations import moment_ms, seconds_of
from clout.commands.wait import Plain, reader_of
from clout.config import Settings
from clout.incidents import chosen, incidents_as_they_stand
from clout.orders import issue, signed
from clout.retracting import Outcome, Retracting, check_reach
from clout.terminal import beside, literal_console, printable
from schemas.times import format_ms
from streams.retract_position import Span


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="retract")(command)


def command(
    context: typer.Context,
    network: Annotated[str, typer.Option(metavar="NAME", help="The network, as the settings name it.")],
    since: Annotated[
        str, typer.Option("--from", metavar="TIME", help="Arrived at 2026-01-31T12:00:00Z or later; 2h: so long ago.")
    ],
    until: Annotated[str, typer.Option("--to", metavar="TIME", help="Arrived before this time.")],
    reason: Annotated[
        str,
        typer.Option(
            metavar="INCIDENT", help="The incident's id, or enough of its beginning; changes will refer to it."
        ),
    ],
    source: Annotated[str, typer.Option(metavar="NAME", help="What this collector brought alone.")] = "",
    text: Annotated[
        str, typer.Option(metavar="TEXT", callback=reason_given, help="Why, in words; it is published.")
    ] = "taken back for the incident",
    instead: Annotated[bool, typer.Option("--instead", help="Leave another order at that, unfinished.")] = False,
    timeout: Annotated[str, typer.Option(metavar="DURATION", help="Wait for at most 90, 90s, 2m or 1h.")] = "60s",
) -> None:
    """Take back what a network, or one of its collectors, brought in a span of time, by arrival.

    Each event loses exactly what it was granted, if it is in the ledger still (24 hours, as the settings say). Where
    another copy of it counted, from another collector or before the span, that stays. Given again after it was
    interrupted, the same order goes on where it ended. The order is signed with this machine's key (control.key) and
    recorded for everyone to read: `clout control log`.

    Example: clout retract --network twitter --from 3h --to 2026-01-31T12:00:00Z --source west --reason INC-7
    """
    check_network(context, network)
    check_registered(context, network, source)
    timeout_seconds = seconds_of(timeout)
    since_ms, until_ms = _moments(since, until)
    settings = connected_to_lanes(context)
    incident = chosen(incidents_as_they_stand(settings), reason).id
    span = Span(network=network, source=source, since_ms=since_ms, until_ms=until_ms, incident=incident)
    console = literal_console(stderr=True)
    with console.status("taking back") as status:
        say = beside(status) if console.is_terminal else Plain(console, "taking back")
        retracting = Retracting(settings, reader_of(settings), span, say)
        short = check_reach(retracting.tasks(), span)
        if short:
            typer.echo(f"warning: {short}", err=True)
        outcome = retracting.run(
            lambda: _ordered(settings, span, text, timeout_seconds), instead=instead, timeout_seconds=timeout_seconds
        )
    for line in lines(outcome):
        typer.echo(printable(line))


def _moments(since: str, until: str) -> tuple[int, int]:
    now_ms = int(time.time() * 1000)
    since_ms, until_ms = moment_ms(since, now_ms, "--from"), moment_ms(until, now_ms, "--to")
    if until_ms > now_ms:
        raise typer.BadParameter("it lies ahead: what comes until then is not known yet", param_hint="--to")
    if since_ms >= until_ms:
        raise typer.BadParameter("it is not before --to", param_hint="--from")
    return since_ms, until_ms


def _ordered(settings: Settings, span: Span, text: str, timeout_seconds: float) -> int:
    """Give the order, and return its number."""
    about = {"source": span.source} if span.source else {}
    command = signed(
        settings,
        "retract",
        text,
        network=span.network,
        incident=span.incident,
        since=format_ms(span.since_ms),
        until=format_ms(span.until_ms),
        **about,
    )
    record = issue(settings, command, timeout_seconds)
    typer.echo(f"accepted: command {record.id}, number {record.epoch} of the control topic", err=True)
    return record.epoch


def lines(outcome: Outcome) -> Iterator[str]:
    r"""Say what became of the events.

    >>> span = Span(network="twitter", source="west", since_ms=0, until_ms=1_000, incident="INC-7")
    >>> print(*lines(Outcome(span, {"events": 9, "chosen": 4, "retractions": 0, "unreadable": 1},
    ...                      {"retracted": 3, "repeated": 0, "elsewhere": 1, "unmatched": 0})), sep="\n")
    twitter, from west: 4 of 9 events that arrived from 1970-01-01T00:00:00.000Z to 1970-01-01T00:00:01.000Z
      3 taken back
      0 not found: the ledger does not hold them any more
      1 stay: another copy had counted, from another collector or before
      1 could not be read, by any collector: they never counted
    """
    span, counters, ordered = outcome.span, outcome.counters, outcome.ordered
    collector = f", from {span.source}" if span.source else ""
    yield (
        f"{span.network}{collector}: {counters['chosen']:,} of {counters['events']:,} events that arrived from "
        f"{format_ms(span.since_ms)} to {format_ms(span.until_ms)}"
    )
    yield f"  {ordered.get('retracted', 0):,} taken back"
    yield f"  {ordered.get('unmatched', 0):,} not found: the ledger does not hold them any more"
    for count, what in (
        (ordered.get("repeated", 0), "had been taken back before, or never counted"),
        (ordered.get("elsewhere", 0), "stay: another copy had counted, from another collector or before"),
        (outcome.set_aside, "are in lane records that were set aside or could not be read: see lanes.dlq"),
        (counters["retractions"], "retractions stay: what they took back is not given again"),
        (counters["unreadable"], "could not be read, by any collector: they never counted"),
    ):
        if count:
            yield f"  {count:,} {what}"
