"""`clout incident`: what went wrong, or seems to, and what operators say of it."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Final

import msgspec
import typer
from rich.table import Table

from clout.commands.common import check_network, check_registered, connected, reason_given, text_given
from clout.commands.durations import moment_ms, seconds_of
from clout.config import Settings
from clout.incidents import chosen, following, incidents_as_they_stand
from clout.orders import issue, signed
from clout.terminal import output, printable
from schemas.control import CommandName
from schemas.incident import Evidence, Incident, Span, encode_incident
from schemas.limits import INCIDENT_ID_BYTES_MAX
from schemas.times import format_ms
from schemas.users import is_printable
from streams.errors import CloutError
from streams.guard.cases import RESOLVED, is_of_a_task, slice_name

USERS_SHOWN: Final = 20
VALUES_SHOWN: Final = 5
"""Users of whom a finding shows values; `--json` shows all that there are."""
_SUMS: Final = ("reach", "amplification", "network sum")

group = typer.Typer(
    help="What went wrong, or seems to, and what operators say of it.\n\nExample: clout incident list",
    no_args_is_help=True,
)

Identity = Annotated[str, typer.Argument(metavar="ID", help="The incident's id, or enough of its beginning.")]
Reason = Annotated[str, typer.Option(metavar="TEXT", callback=reason_given, help="Why; it is published.")]
Timeout = Annotated[str, typer.Option(metavar="DURATION", help="Wait for at most 90, 90s, 2m or 1h.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(group, name="incident")


@group.command("list")
def list_incidents(
    context: typer.Context,
    everything: Annotated[bool, typer.Option("--all", help="Those that are resolved too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the incidents that are open, the one opened last first.

    Example: clout incident list --all
    """
    found = incidents_as_they_stand(connected(context))
    shown = [incident for incident in found if everything or incident.status != RESOLVED]
    if as_json:
        typer.echo(msgspec.json.encode({"incidents": shown}))
    elif shown:
        output().print(_table(shown))
    else:
        typer.echo("no incidents" if everything else "no open incidents", err=True)


@group.command()
def show(context: typer.Context, identity: Identity, as_json: AsJson = False) -> None:
    """Show what is known of an incident: what was found, in which records, and whom it touches; of many the first.

    With --json all of it.

    Example: clout incident show feed_stalled/twitter
    """
    incident = chosen(incidents_as_they_stand(connected(context)), identity)
    if as_json:
        typer.echo(encode_incident(incident))
        return
    for line in lines(incident):
        typer.echo(printable(line))


@group.command()
def note(
    context: typer.Context,
    identity: Identity,
    text: Annotated[str, typer.Argument(metavar="TEXT", callback=text_given, help="It is published.")],
    timeout: Timeout = "60s",
) -> None:
    """Say something of an incident, for everyone to read.

    Example: clout incident note feed_stalled/twitter "the collector's machine is down, a new one is on its way"
    """
    settings = connected(context)
    incident = chosen(incidents_as_they_stand(settings), identity)
    _ordered(settings, "note", text, incident.id, timeout, lambda of: any(said.text == text for said in of.notes))
    typer.echo(printable(f"{incident.id} is noted"))


@group.command()
def resolve(context: typer.Context, identity: Identity, reason: Reason, timeout: Timeout = "60s") -> None:
    """End an incident.

    One that a partition opened because it stands still is resolved when that goes on, and not before.

    Example: clout incident resolve feed_stalled/twitter --reason "the collector is back"
    """
    settings = connected(context)
    incident = chosen(incidents_as_they_stand(settings), identity)
    if is_of_a_task(incident):
        raise CloutError(
            f"{incident.id} is resolved by its partition",
            detail="when that goes on beyond the records that the incident names",
            hint="`clout incident show` says which; `clout quarantine` sets one aside",
        )
    if incident.status == RESOLVED:
        raise CloutError(f"{incident.id} is resolved already")
    resolved = _ordered(settings, "resolve", reason, incident.id, timeout, lambda of: of.status == RESOLVED)
    typer.echo(printable(f"{incident.id} is resolved"))
    for network in resolved.frozen:
        typer.echo(f"{network} is frozen still: `clout resume {network} --reason …` lets it go on", err=True)


@group.command()
def declare(
    context: typer.Context,
    reason: Reason,
    identity: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="A name of your own, else one is made of network and time.")
    ] = None,
    network: Annotated[str, typer.Option(metavar="NAME", help="The network that it is about, else all.")] = "",
    source: Annotated[str, typer.Option(metavar="NAME", help="The collector that it is about, one of --network.")] = "",
    since: Annotated[
        str,
        typer.Option(
            metavar="TIME",
            help="Results may be touched from this event time on, 2026-01-31T12:00:00Z, or 2h for so long ago; "
            "else from now.",
        ),
    ] = "",
    timeout: Timeout = "60s",
) -> None:
    """Open an incident that nothing found by itself. It stays open until somebody resolves it.

    It lists those whose score on its network moves from now on, or, with --since, moved within the last 24 hours and at
    that time or later.

    Example: clout incident declare --network twitter --reason "their interface returns half of what it should"
    """
    if network:
        check_network(context, network)
        check_registered(context, network, source)
    elif source:
        raise typer.BadParameter("a collector is one of a network: give --network too", param_hint="--source")
    about = {"network": network, "source": source, "since": _declared_since(since)}
    settings = connected(context)
    name = identity or f"declared/{network or 'all'}/{format_ms(int(time.time() * 1000))}"
    _check_new(settings, name)
    incident = _ordered(settings, "declare", reason, name, timeout, lambda _: True, **about)
    typer.echo(printable(f"{incident.id} is open"))


def _declared_since(since: str) -> str:
    """Return since when results may be touched, as it stands in a command; empty if it is not said."""
    if not since:
        return ""
    now_ms = int(time.time() * 1000)
    since_ms = moment_ms(since, now_ms, "--since")
    if since_ms > now_ms:
        raise typer.BadParameter(f"{since!r} is still to come", param_hint="--since")
    return format_ms(since_ms)


def _check_new(settings: Settings, name: str) -> None:
    if not is_printable(name) or len(name.encode()) > INCIDENT_ID_BYTES_MAX:
        what = f"an incident's id has 1 to {INCIDENT_ID_BYTES_MAX} bytes and no control characters"
        raise typer.BadParameter(what, param_hint="ID")
    if any(incident.id == name for incident in incidents_as_they_stand(settings)):
        raise CloutError(f"there is an incident {name!r}", hint="say more of it with `clout incident note`")


def _ordered(
    settings: Settings,
    name: CommandName,
    reason: str,
    identity: str,
    timeout: str,
    is_obeyed: Callable[[Incident], bool],
    **about: str,
) -> Incident:
    """Issue a command about an incident and return the incident when the guard has obeyed."""
    timeout_seconds = seconds_of(timeout)
    deadline = time.monotonic() + timeout_seconds
    with following(settings) as next_incident:
        command = signed(settings, name, reason, incident=identity, **about)
        record = issue(settings, command, timeout_seconds)
        typer.echo(f"accepted: command {record.id}, number {record.epoch} of the control topic", err=True)
        left = max(0.0, deadline - time.monotonic())
        found = next_incident(lambda incident: incident.id == identity and is_obeyed(incident), left)
    if found is None:
        raise CloutError(
            f"the command was accepted, but no guard obeyed within {timeout_seconds:g} seconds",
            detail="it is on record, and the next guard that runs obeys",
            hint="see that `clout guard` runs: clout status",
        )
    return found


def _table(incidents: Iterable[Incident]) -> Table:
    table = Table("severity", "status", "opened", "users", "id", "what", box=None, pad_edge=False)
    for of in incidents:
        cells = (of.severity, of.status, of.opened, f"{of.affected_users:,}", of.id, of.title)
        table.add_row(*(printable(cell) for cell in cells))
    return table


def lines(incident: Incident) -> Iterable[str]:
    r"""Say all that is known of an incident.

    >>> from schemas.incident import Note, Slice
    >>> print(*lines(Incident(id="declared/all/x", kind="declared", slice=Slice(), severity="major", status="resolved",
    ...     title="half of it is missing", opened="2026-01-01T00:00:00Z", updated="2026-01-01T01:00:00Z", evidence=[],
    ...     affected_users=0, notes=[Note(at="2026-01-01T01:00:00Z", key="ops", text="it is back")])), sep="\n")
    declared/all/x: half of it is missing
      major, resolved; about all; it touches 0 users
      opened 2026-01-01T00:00:00Z, updated 2026-01-01T01:00:00Z
      2026-01-01T01:00:00Z ops says: it is back
    """
    yield f"{incident.id}: {incident.title}"
    about = f"about {slice_name(incident.slice)}; it touches {incident.affected_users:,} users"
    yield f"  {incident.severity}, {incident.status}; {about}"
    since = f", results may be touched since {incident.since}" if incident.since is not None else ""
    yield f"  opened {incident.opened}, updated {incident.updated}{since}"
    if incident.frozen:
        yield f"  frozen because of it: {', '.join(incident.frozen)}"
    for found in incident.evidence:
        yield from _found(incident, found)
    if incident.users:
        more = ", …" if incident.affected_users > USERS_SHOWN else ""
        yield f"  users: {', '.join(incident.users[:USERS_SHOWN])}{more}"
    for said in incident.notes:
        yield f"  {said.at} {said.key} says: {said.text}"
    if incident.reference is not None:
        yield f"  mended by command {incident.reference}"


def _found(incident: Incident, found: Evidence) -> Iterator[str]:
    r"""Say what was found, in which records, and what it would have made of users.

    >>> from schemas.incident import Slice, UserValues
    >>> values = UserValues(user="t:8", score=26.4, proposed=1.0, networks={"twitter": [7.1, 5.2, 0.6, 0.0, 0.0, None]})
    >>> evidence = Evidence(finding="a_law", detail="t:8 fell\n1 record was tried", users=[values],
    ...     positions=[Span(lane="targets", first=17, last=21)], suspect=Span(lane="targets", first=20, last=20))
    >>> incident = Incident(id="x", kind="law_violation", slice=Slice(partition=3), severity="critical", title="",
    ...     status="investigating", opened="2026-01-01T00:00:00Z", updated="", evidence=[], affected_users=1)
    >>> print(*_found(incident, evidence), sep="\n")
      2026-01-01T00:00:00Z a_law: t:8 fell
        1 record was tried
        in partition 3 of the targets lane, offsets 17 to 21
        suspect: offset 20 of the targets lane
        to go on without it: clout quarantine --partition 3 --lane targets --offset 20 --reason TEXT
        t:8: score 26.4 → 1
          twitter: reach 7.1 → 0, amplification 5.2 → 0, network sum 0.6 → no number
    """
    numbers = "".join(f" {name}={value:g}" for name, value in found.numbers.items())
    detail = found.detail.replace("\n", "\n    ")
    yield f"  {found.at or incident.opened} {found.finding}: {detail}{numbers}"
    partition = incident.slice.partition
    where = "" if partition is None else f"partition {partition} of "
    for span in found.positions:
        yield f"    in {where}the {span.lane} lane, " + _offsets(span)
    if found.suspect is not None:
        lane, offset = found.suspect.lane, found.suspect.first
        yield f"    suspect: {_offsets(found.suspect)} of the {lane} lane"
        if partition is not None and incident.status != RESOLVED:
            place = f"--partition {partition} --lane {lane} --offset {offset}"
            yield f"    to go on without it: clout quarantine {place} --reason TEXT"
    for values in found.users[:VALUES_SHOWN]:
        yield f"    {values.user}: score {_value(values.score, 'none')} → {_value(values.proposed)}"
        for network, sums in values.networks.items():
            moves = zip(_SUMS, sums, sums[len(_SUMS) :], strict=False)
            told = (f"{name} {_value(before)} → {_value(after)}" for name, before, after in moves)
            yield f"      {network}: {', '.join(told)}"
    if len(found.users) > VALUES_SHOWN:
        yield f"    and {len(found.users) - VALUES_SHOWN} more users: clout incident show {incident.id} --json"


def _offsets(span: Span) -> str:
    return f"offset {span.first}" if span.first == span.last else f"offsets {span.first} to {span.last}"


def _value(value: float | None, otherwise: str = "no number") -> str:
    return otherwise if value is None else f"{value:g}"
