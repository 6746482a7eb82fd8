"""`clout dlq`: what could not be taken in, or not be told to a partner, why, and how it is sent again."""

import time
from collections.abc import Iterable, Sequence
from itertools import chain, islice
from typing import Annotated, Final

import msgspec
import typer
from rich.text import Text

from clout.commands.common import check_network, connected
from clout.commands.durations import moment_ms
from clout.config import Settings
from clout.dead_letters import Letter, Place, Selection, UndeliveredLetter, letters, undelivered
from clout.dlq_replay import replay as send_again
from clout.terminal import output, printable
from schemas.dead_letter import REASONS
from schemas.times import format_ms
from schemas.webhook import UNDELIVERED
from streams.errors import CloutError

SHOWN_BYTES: Final = 100

AnyLetter = Letter | UndeliveredLetter

group = typer.Typer(
    help="What could not be taken in, or not be told to a partner.\n\nExample: clout dlq list --limit 10",
    no_args_is_help=True,
)

Places = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PLACE",
        show_default=False,
        help="Where it came from, as `list` prints it: TOPIC/PARTITION@OFFSET, or one element of it: …@OFFSET[INDEX].",
    ),
]
Network = Annotated[str | None, typer.Option(metavar="NAME", help="Of this network alone.")]
Reason = Annotated[str | None, typer.Option(metavar="REASON", help="With this reason alone.")]
Since = Annotated[
    str | None, typer.Option(metavar="TIME", help="Arrived at 2026-01-31T12:00:00Z or later; 2h: within 2 hours.")
]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="Arrived before this time, or longer ago than 2h.")]
Limit = Annotated[int | None, typer.Option(min=1, metavar="N", help="At most so many.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(group, name="dlq")


@group.command(name="list")
def list_(
    context: typer.Context,
    place: Places = None,
    network: Network = None,
    reason: Reason = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = None,
) -> None:
    """List dead letters, topic by topic, in the order they were put aside: reason, place, start of the bytes.

    Without --network also those of the lanes and of commands, and what webhooks could not deliver: webhook, incident,
    last answer. One that was sent again says so.

    Example: clout dlq list --network twitter --reason unknown_kind --since 2h
    """
    settings, selection = _asked(context, network, reason, since, until, place)
    console = output()
    shown = 0
    for shown, letter in enumerate(islice(_chosen(settings, network, selection), limit), 1):  # noqa: B007 - counted
        console.print(lines(letter))
    if not shown:
        typer.echo("no dead letters", err=True)


@group.command()
def show(
    context: typer.Context,
    place: Places = None,
    network: Network = None,
    reason: Reason = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = None,
) -> None:
    """Show dead letters whole: all that is known of them, and all of their bytes; JSON is laid out.

    Example: clout dlq show 'interactions.twitter.v1/3@1017'
    """
    settings, selection = _asked(context, network, reason, since, until, place)
    shown = 0
    for shown, letter in enumerate(islice(_chosen(settings, network, selection), limit), 1):  # noqa: B007 - counted
        typer.echo(described(letter))
    if not shown:
        raise CloutError("no such dead letter", hint="`clout dlq list` says which there are; old ones are deleted")


@group.command()
def replay(
    context: typer.Context,
    place: Places = None,
    network: Network = None,
    reason: Reason = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be sent.")] = False,
) -> None:
    """Send dead letters again, in their original bytes, to where they came from; do that once the cause is gone.

    Each is sent once, however often and by how many at a time this is run. What is put aside again is a new dead
    letter. An element of an array is sent as a record of its own. What webhooks could not deliver is not sent again.

    Example: clout dlq replay --network twitter --reason unknown_kind --dry-run
    """
    settings, selection = _asked(context, network, reason, since, until, place)
    _refuse_others(settings, selection)
    _refuse_undelivered(settings, selection)
    console = output()
    done = send_again(
        settings.kafka,
        settings.names,
        [network] if network else list(settings.networks),
        selection,
        limit=limit,
        dry_run=dry_run,
        on_letter=(lambda letter: console.print(lines(letter))) if dry_run else (lambda _letter: None),
    )
    if selection.places and not done.sent + done.before + done.too_large + done.elsewhere:
        raise CloutError("no such dead letter", hint="`clout dlq list` says which there are; old ones are deleted")
    typer.echo(f"{done.sent:,} {'would be sent' if dry_run else 'sent again'}")
    if done.before:
        typer.echo(f"{done.before:,} were sent again before and are left out")
    if done.too_large:
        typer.echo(f"{done.too_large:,} are too large to be taken in and are left out")
    if done.elsewhere:
        typer.echo(f"{done.elsewhere:,} came from another topic than that of their network and are left out")


def _asked(
    context: typer.Context,
    network: str | None,
    reason: str | None,
    since: str | None,
    until: str | None,
    places: Sequence[str] | None,
) -> tuple[Settings, Selection]:
    """Read what all three commands take."""
    reasons = [*REASONS, *UNDELIVERED]
    if reason is not None and reason not in reasons:
        raise typer.BadParameter(f"one of {', '.join(reasons)}", param_hint="--reason")
    now_ms = int(time.time() * 1000)
    selection = Selection(
        reason,
        None if since is None else moment_ms(since, now_ms),
        None if until is None else moment_ms(until, now_ms),
        frozenset(map(_place, places or ())),
    )
    if network is not None:
        check_network(context, network)
    return connected(context), selection


def _place(text: str) -> Place:
    place = Place.parse(text)
    if place is None:
        raise typer.BadParameter(f"a place reads TOPIC/PARTITION@OFFSET or …@OFFSET[INDEX], not {text!r}")
    return place


def _chosen(settings: Settings, network: str | None, selection: Selection) -> Iterable[AnyLetter]:
    names, group_id = settings.names, f"{settings.names.ingest_group}-dlq"
    topics = [names.dead_letters(of) for of in ([network] if network else settings.networks)]
    found: Iterable[AnyLetter]
    if network is None:
        topics += [names.lane_dead_letters, names.control_dead_letters]
        found = chain(
            letters(settings.kafka, group_id, topics),
            undelivered(settings.kafka, group_id, names.webhook_dead_letters),
        )
    else:
        found = letters(settings.kafka, group_id, topics)
    return filter(selection.takes, found)


def _refuse_others(settings: Settings, selection: Selection) -> None:
    """Say of places in lanes and in the control topic why nothing is sent there."""
    names = settings.names
    topics = {place.topic for place in selection.places}
    if topics & {names.actors_lane, names.targets_lane}:
        raise CloutError(
            "what was put aside from a lane cannot be sent again",
            detail="its number in the lane's sequence was taken when it was put aside: sent again it would be a repeat",
            hint="see why with `clout dlq show`; the interactions may still be in the raw topics",
        )
    if names.control in topics:
        raise CloutError(
            "a command that was put aside cannot be sent again",
            detail="it could not be read, and its time is past",
            hint="issue it anew, for instance with `clout forget`",
        )


def _refuse_undelivered(settings: Settings, selection: Selection) -> None:
    """Say of what webhooks could not deliver what to do instead of sending it again."""
    topic = settings.names.webhook_dead_letters
    if selection.reason in UNDELIVERED or topic in {place.topic for place in selection.places}:
        raise CloutError(
            "what a webhook could not deliver cannot be sent again",
            detail="it says how an incident stood then, which may not be so any more",
            hint="mend the webhook's settings and start the guard again: it delivers every incident that is open, or "
            "was resolved within the last hour; tell the partner of older ones (`clout incident show`)",
        )


def lines(letter: AnyLetter) -> Text:
    """Write a dead letter as two lines."""
    value = letter.value or b""
    start = printable(value[:SHOWN_BYTES].decode(errors="backslashreplace"), kept="\t")
    return Text.assemble(
        (format_ms(letter.time_ms), "dim"),
        "  ",
        (letter.reason, "bold"),
        f"  {letter.place}  {printable(_in_short(letter), kept='')}\n",
        (f"    {start}{'…' if len(value) > SHOWN_BYTES else ''}", "dim"),
    )


def described(letter: AnyLetter) -> str:
    """Write all of a dead letter."""
    facts = _facts(letter) if isinstance(letter, Letter) else _facts_undelivered(letter)
    told = [f"{name + ':':<13} {printable(text)}" for name, text in facts.items()]
    return "\n".join([*told, "", printable(_laid_out(letter.value or b"")), ""])


def _in_short(letter: AnyLetter) -> str:
    if isinstance(letter, Letter):
        return letter.why.detail + ("  sent again" if letter.replayed else "")
    return f"{letter.why.webhook}  {letter.incident}  {letter.why.detail}"


def _facts(letter: Letter) -> dict[str, str]:
    why = letter.why
    facts = {
        "place": str(letter.place),
        "arrived": format_ms(why.source_time),
        "reason": f"{why.reason}: {REASONS[why.reason]}",
        "detail": why.detail,
        "dead letter": f"{letter.topic}/{letter.partition}@{letter.offset}",
        "sent again": "yes" if letter.replayed else "no",
        "bytes": _size(letter.value),
    }
    return facts | {f"header {name}": _text(value) for name, value in letter.headers}


def _facts_undelivered(letter: UndeliveredLetter) -> dict[str, str]:
    why = letter.why
    return {
        "place": str(letter.place),
        "set aside": format_ms(letter.time_ms),
        "webhook": why.webhook,
        "incident": letter.incident,
        "delivery": why.id,
        "reason": f"{why.reason}: {UNDELIVERED[why.reason]}",
        "detail": why.detail,
        "attempts": str(why.attempts),
        "bytes": _size(letter.value),
    }


def _size(value: bytes | None) -> str:
    return "none: the record has no value" if value is None else f"{len(value):,}"


def _text(value: bytes | str | None) -> str:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else value or ""


def _laid_out(value: bytes) -> str:
    try:
        return _text(msgspec.json.format(value))
    except (ValueError, RecursionError):
        return _text(value)
