"""`clout freeze` and `clout resume`: what a network reports stays in Kafka, unread, until an operator says more."""

import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import typer

from clout.commands.common import check_network, connected_to_lanes, reason_given
from clout.commands.durations import seconds_of
from clout.commands.wait import reader_of
from clout.config import Settings
from clout.freezing import wait_until_frozen_or_resumed
from clout.incidents import chosen, incidents_as_they_stand
from clout.orders import issue, public_record, signed
from clout.terminal import printable
from schemas.control import CommandName
from streams.errors import CloutError
from streams.feed_position import CONTROL
from streams.freezes import FREEZE, RESUME, Orders
from streams.progress import frozen_in_words
from streams.progress_reader import NO_REBALANCE_SECONDS, ProgressReader
from streams.status import FreezeStatus, IngestStatus

ANSWER_SECONDS_MAX: Final = 1.0
"""An ingest process that takes longer is asked again, after the others."""

Network = Annotated[str, typer.Argument(metavar="NETWORK", help="As the settings name it.")]
Reason = Annotated[str, typer.Option(metavar="TEXT", callback=reason_given, help="Why; it is published.")]
Timeout = Annotated[str, typer.Option(metavar="DURATION", help="Wait for at most 90, 90s, 2m or 1h.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(freeze)
    app.command()(resume)


def freeze(
    context: typer.Context,
    network: Network,
    reason: Reason,
    incident: Annotated[
        str, typer.Option(metavar="ID", help="The incident that it is for; enough of the id's beginning.")
    ] = "",
    timeout: Timeout = "60s",
) -> None:
    """Read no more of a network: Kafka keeps what comes, its clock stands, and no score of it changes until `resume`.

    Returns when every ingest process does so, and says how many records wait. The order is signed with this machine's
    key (control.key) and recorded for everyone to read: `clout control log`. Of a network that is frozen already, why
    and since when are replaced, and what they were is said.

    Example: clout freeze twitter --reason "half of it is garbage"
    """
    timeout_seconds, settings = seconds_of(timeout), _settings(context, network)
    about = {"incident": chosen(incidents_as_they_stand(settings), incident).id} if incident else {}
    reader = reader_of(settings)
    before = _frozen_on_record(settings).get(network)
    if before is not None:
        typer.echo(printable(f"until now {network} is {frozen_in_words(before)}"), err=True)
    _order(settings, reader, FREEZE, network, reason, timeout_seconds, about)
    typer.echo(
        f"{network} is frozen: {_waiting(reader, network):,} records wait; nothing of it is read until "
        f"`clout resume {network}`"
    )


def resume(
    context: typer.Context,
    network: Network,
    reason: Reason,
    timeout: Timeout = "60s",
) -> None:
    """Read a network that was frozen again, from where it stopped.

    One that is not frozen is refused. Returns when every ingest process does so, and says how many records had waited.
    The order is signed with this machine's key (control.key) and recorded for everyone to read: `clout control log`.

    Example: clout resume twitter --reason "the collector is repaired"
    """
    timeout_seconds, settings = seconds_of(timeout), _settings(context, network)
    reader = reader_of(settings)
    _check_frozen(settings, reader, network)
    held = _waiting(reader, network)
    _order(settings, reader, RESUME, network, reason, timeout_seconds, {})
    left = _waiting(reader, network)
    typer.echo(f"{network} is read again: {held:,} records had waited, {left:,} are still to be read")


def _settings(context: typer.Context, network: str) -> Settings:
    check_network(context, network, "NETWORK")
    return connected_to_lanes(context)


def _check_frozen(settings: Settings, reader: ProgressReader, network: str) -> None:
    """Refuse a network that is not frozen, unless a command that ingest has not read yet may freeze it."""
    if _waiting(reader, CONTROL):
        return
    if network not in _frozen_on_record(settings):
        raise CloutError(
            f"{network} is not frozen",
            detail="nothing was ordered: no order to freeze it stands on the public record",
            hint="`clout control log` shows who resumed it; `clout status` what waits to be read",
        )


def _frozen_on_record(settings: Settings) -> Mapping[str, FreezeStatus]:
    orders = Orders()
    for record in public_record(settings):
        orders.heed(record)
    return orders.frozen


def _order(
    settings: Settings,
    reader: ProgressReader,
    command: CommandName,
    network: str,
    reason: str,
    timeout_seconds: float,
    about: dict[str, Any],
) -> None:
    """Issue the order and return when it is obeyed."""
    deadline = time.monotonic() + timeout_seconds
    record = issue(settings, signed(settings, command, reason, network=network, **about), timeout_seconds)
    typer.echo(printable(f"accepted: command {record.id}, number {record.epoch} of the control topic"), err=True)

    def ask() -> tuple[int, Sequence[IngestStatus]]:
        members = reader.ingests(NO_REBALANCE_SECONDS)
        return len(members), reader.ingest_statuses(members, ANSWER_SECONDS_MAX)

    wait_until_frozen_or_resumed(ask, network, command, record.epoch, max(0.0, deadline - time.monotonic()))


def _waiting(reader: ProgressReader, network: str) -> int:
    return sum(feed.records_behind for feed in reader.feeds() if feed.network == network)
