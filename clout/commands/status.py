"""`clout status`: what runs, where it is, and whether the counts add up."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, Final

import httpx
import msgspec
import typer
from rich.table import Table

from clout.commands.common import connected_to_lanes
from clout.commands.tables import ConservationTable, retraction_lines
from clout.commands.wait import reader_of
from clout.loopback import http
from clout.terminal import output, printable
from streams.discovery import RoleMember
from streams.errors import CloutError, first_line
from streams.progress import Conservation, Reading, behind, conservation, frozen_in_words
from streams.progress_reader import frozen_networks, tasks_by_partition, unanswered
from streams.status import GatewayStatus, GuardStatus, IngestStatus, LedgerStatus, WorkerStatus

_HOUR_SECONDS: Final = 3_600.0
_GUARDS_TIMEOUT_SECONDS: Final = 5.0
"""Guards that rebalance for longer are left out: everything else goes on without them."""

_GATEWAY_TIMEOUT_SECONDS: Final = 2.0


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="status")(command)


def command(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show each role's process, address, partitions, positions and lag, and what became of all events.

    Gateways are those that `clout up` or `clout demo` runs on this data directory.

    Exit code 1 when no role runs.

    Example: clout status --json
    """
    settings = connected_to_lanes(context)
    reader = reader_of(settings)
    feeds = reader.feeds()
    ingests, workers, guards, missing = [], [], [], []
    silent: list[RoleMember] = []
    try:
        known = reader.ingests()
        ingests = reader.ingest_statuses(known)
        silent += unanswered(known, ingests)
    except CloutError as error:
        missing.append(error)
    try:
        known = reader.workers()
        workers = reader.worker_statuses(known)
        silent += unanswered(known, workers)
    except CloutError as error:
        missing.append(error)
    with suppress(CloutError):
        guards = reader.guard_statuses(reader.guards(_GUARDS_TIMEOUT_SECONDS))
    tasks = tasks_by_partition(workers)
    reading = Reading(feeds, tasks, tasks, settings.lanes.partitions)
    sums = conservation(reading)
    gateways = gateways_here(settings.data_dir / "run")
    if as_json:
        roles: list[IngestStatus | WorkerStatus | GuardStatus | GatewayStatus]
        roles = [*ingests, *workers, *guards, *gateways]
        typer.echo(msgspec.json.encode(_document(settings.kafka.broker, roles, silent, sums)))
    else:
        console = output()
        console.print(_table(ingests, workers, guards, gateways))
        for line in (*_silent_lines(silent), *_frozen_lines(ingests), *_standing_lines(workers), *_guard_lines(guards)):
            console.print(printable(line))
        for line in _ledger_lines([task.ledger for task in tasks.values()]):
            console.print(printable(line))
        console.print()
        console.print(ConservationTable(sums, _rest(reading)))
        for line in retraction_lines(sums):
            console.print(printable(line))
    if len(missing) == 1:
        typer.echo(missing[0], err=True)
    if not ingests and not workers and not silent:
        raise CloutError(
            "no role runs",
            detail=f"looked at {settings.kafka.broker} for the groups {settings.names.ingest_group} "
            f"and {settings.names.app_id}",
            hint="start everything on this machine with `clout up`",
        )


def _document(
    broker: str,
    roles: Sequence[IngestStatus | WorkerStatus | GuardStatus | GatewayStatus],
    silent: Sequence[RoleMember],
    sums: list[Conservation],
) -> dict[str, Any]:
    return {
        "broker": broker,
        "roles": roles,
        "unanswered": [{"role": of.role, "address": of.address} for of in silent],
        "conservation": [of.as_dict() for of in sums],
    }


def _silent_lines(members: Iterable[RoleMember]) -> list[str]:
    """Say which roles do not answer, and what they have.

    >>> _silent_lines([RoleMember("score", "here:1", (("lanes.actors.v1", 0), ("lanes.actors.v1", 2)))])
    ['score at here:1 does not answer; it has lanes.actors.v1 0, 2']
    """
    return [f"{of.role} at {of.address} does not answer; it has {_places(of) or 'no partition'}" for of in members]


def _places(member: RoleMember) -> str:
    by_topic = groupby(member.partitions, lambda place: place[0])
    return "; ".join(f"{topic} {', '.join(str(number) for _, number in places)}" for topic, places in by_topic)


def _rest(reading: Reading) -> str:
    """Say of events of which nothing is known yet where they are."""
    if len(reading.targets) < reading.lane_partitions:
        return "with partitions that do not answer"
    return "under way" if behind(reading) else "missing"


def gateways_here(run_directory: Path) -> list[GatewayStatus]:
    """Ask the gateways that a supervisor of this machine runs: they are in no group that could be asked for them."""
    found = []
    for file in sorted(run_directory.glob("gateway-*.json")):
        with suppress(httpx.HTTPError, OSError, msgspec.DecodeError, KeyError):
            address = msgspec.json.decode(file.read_bytes(), type=dict[str, Any])["address"]
            answer = http().get(f"http://{address}/v1/status", timeout=_GATEWAY_TIMEOUT_SECONDS)
            found.append(msgspec.json.decode(answer.raise_for_status().content, type=GatewayStatus))
    return found


def _table(
    ingests: list[IngestStatus], workers: list[WorkerStatus], guards: list[GuardStatus], gateways: list[GatewayStatus]
) -> Table:
    table = Table("role", "pid", "address", "partition", "state", box=None, pad_edge=False)
    table.add_column("position", justify="right", no_wrap=True)
    table.add_column("lag", justify="right", no_wrap=True)
    for ingest in ingests:
        head = (ingest.role, str(ingest.pid), ingest.address)
        for feed in ingest.partitions:
            place, state = f"{feed.network}/{feed.partition}", "frozen" if feed.frozen else "running"
            table.add_row(*head, place, state, f"{feed.position:,}", f"{feed.lag_records:,}")
            head = ("", "", "")
        if not ingest.partitions:
            table.add_row(*head, "-", "idle", "", "")
    for worker in workers:
        head = (worker.role, str(worker.pid), worker.address)
        for task in worker.partitions:
            state = task.state
            table.add_row(*head, str(task.partition), state, _lanes(task.positions), _lanes(task.lag_records))
            head = ("", "", "")
        if not worker.partitions:
            table.add_row(*head, "-", "idle", "", "")
    for guard in guards:
        table.add_row(guard.role, str(guard.pid), guard.address, "-", _guard_state(guard), "", "")
    for gateway in gateways:
        state = "ready" if gateway.ready else "catches up"
        table.add_row(gateway.role, str(gateway.pid), gateway.public_address, "-", state, _read(gateway), "")
    return table


def _read(gateway: GatewayStatus) -> str:
    return f"{sum(gateway.positions.values()):,}"


def _guard_state(guard: GuardStatus) -> str:
    if not guard.active:
        return "stands by"
    return "reads" if guard.reading else "watches"


def _guard_lines(guards: Iterable[GuardStatus]) -> list[str]:
    """Say what the guard has found.

    >>> from streams.status import OpenIncident
    >>> found = OpenIncident(id="canary/twitter/x", severity="major", status="monitoring", title="", opened="")
    >>> _guard_lines([GuardStatus(role="guard", pid=1, address="", active=True, incidents=[found])])
    ['1 open incident: canary/twitter/x (major, monitoring); `clout incident list` says more']
    """
    found = [incident for guard in guards for incident in guard.incidents]
    if not found:
        return []
    named = ", ".join(f"{of.id} ({of.severity}, {of.status})" for of in found)
    return [f"{len(found)} open incident{'s'[: len(found) != 1]}: {named}; `clout incident list` says more"]


def _lanes(numbers: dict[str, int]) -> str:
    """Write what is known of the two lanes, as `actors / targets`.

    >>> _lanes({"actors": 1_045, "targets": -1})
    '1,045 / -'
    """
    known = [numbers[lane] for lane in ("actors", "targets") if lane in numbers]
    return " / ".join("-" if number < 0 else f"{number:,}" for number in known)


def _frozen_lines(ingests: Sequence[IngestStatus]) -> list[str]:
    """Say which networks are not read.

    >>> from streams.status import FreezeStatus
    >>> frozen = {"twitter": FreezeStatus(since="2026-01-01T00:00:00.000Z", reason="garbage", incident="x/1")}
    >>> _frozen_lines([IngestStatus(role="ingest", pid=1, address="", frozen=frozen)])
    ['twitter is frozen since 2026-01-01T00:00:00.000Z by incident x/1: garbage']
    """
    frozen = frozen_networks(ingests)
    return [f"{network} is {printable(frozen_in_words(freeze))}" for network, freeze in sorted(frozen.items())]


def _standing_lines(workers: Sequence[WorkerStatus]) -> list[str]:
    r"""Say which partitions stand still, and why.

    >>> from streams.status import TaskStatus
    >>> task = TaskStatus(partition=3, state="stopped", reason="error: a law is broken\nhint: see the log")
    >>> _standing_lines([WorkerStatus(role="score", pid=1, address="", partitions=[task])])
    ['partition 3 stands still, its scores are stale: a law is broken']
    """
    tasks = [task for worker in workers for task in worker.partitions]
    return [
        f"partition {task.partition} stands still, its scores are stale: {first_line(task.reason)}"
        for task in tasks
        if task.reason
    ]


def _ledger_lines(ledgers: Sequence[LedgerStatus]) -> list[str]:
    """Say how much the partitions recognise when it comes again, and over which time.

    >>> _ledger_lines([LedgerStatus(rows=12_000, window_seconds=5_400.0), LedgerStatus()])
    ['ledger: 12,000 events and retractions; effective window 1.50 h']
    >>> _ledger_lines([LedgerStatus(rows=12_000, window_seconds=5_400.0), LedgerStatus(rows=1)])
    ['ledger: 12,001 events and retractions; effective window 0.00 to 1.50 h, by partition']
    """
    seconds = [ledger.window_seconds for ledger in ledgers if ledger.rows]
    if not seconds:
        return []
    least, most = f"{min(seconds) / _HOUR_SECONDS:.2f}", f"{max(seconds) / _HOUR_SECONDS:.2f}"
    window = f"{most} h" if least == most else f"{least} to {most} h, by partition"
    return [f"ledger: {sum(of.rows for of in ledgers):,} events and retractions; effective window {window}"]
