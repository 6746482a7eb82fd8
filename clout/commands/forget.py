"""`clout forget`: a user leaves, and nothing more is counted about them."""

import time
from collections.abc import Callable
from typing import Annotated, Final

import typer

from clout.access import take_away
from clout.commands.common import connected_to_lanes, reason_given
from clout.commands.durations import seconds_of
from clout.orders import issue, signed
from clout.owners import Owners
from streams.errors import CloutError

RETRY_SECONDS: Final = 0.1


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="forget")(command)


def command(
    context: typer.Context,
    user: Annotated[str, typer.Argument(metavar="USER", help="Its id, for instance twitter:50329.")],
    reason: Annotated[
        str,
        typer.Option(
            metavar="TEXT", callback=reason_given, help="Why; it is published, so it should not name the user."
        ),
    ],
    undo: Annotated[bool, typer.Option("--undo", help="Let the user be counted again, from nothing.")] = False,
    timeout: Annotated[str, typer.Option(metavar="DURATION", help="Wait for at most 90, 90s, 2m or 1h.")] = "60s",
) -> None:
    """Forget a user: their score goes, readers are told, and what comes later is dropped until --undo.

    What their actions gave others stays. The order is signed with this machine's key (control.key) and recorded for
    everyone to read, the user as a hash alone: `clout control log`. docs/privacy.md says when the last copy is gone.

    Example: clout forget twitter:50329 --reason "request 4711"
    """
    timeout_seconds = seconds_of(timeout)
    deadline = time.monotonic() + timeout_seconds
    settings = connected_to_lanes(context)
    record = issue(settings, signed(settings, "unforget" if undo else "forget", reason, user=user), timeout_seconds)
    typer.echo(f"accepted: command {record.id}, number {record.epoch} of the control topic", err=True)
    if undo:
        typer.echo(f"{user} is counted again from now on; what was forgotten does not come back")
        return
    with Owners(settings) as owners:
        wait_until_unknown(owners.user, user, max(0.0, deadline - time.monotonic()))
    # Only now: a private user must not be shown for the moment between.
    take_away(settings, user)
    typer.echo(f"{user} is forgotten: no score, and what credits them is dropped until `clout forget --undo`")


def wait_until_unknown(ask: Callable[[str], bytes | None], user: str, timeout_seconds: float) -> None:
    """Return when `ask`, the user's owner, knows nothing of the user; raise `CloutError` after the time."""
    deadline = time.monotonic() + timeout_seconds
    while ask(user) is not None:
        if time.monotonic() > deadline:
            raise CloutError(
                f"the command was accepted, but the user is still known after {timeout_seconds:.0f} seconds",
                detail="it takes its turn behind what came in before it",
                hint="see `clout wait` and `clout status`; nothing more has to be ordered",
            )
        time.sleep(RETRY_SECONDS)
