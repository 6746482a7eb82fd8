"""`clout audit`: is all that is stored and published right? A verdict a law."""

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Annotated, Any

import msgspec
import typer
from rich.table import Table
from rich.text import Text

from clout.audit.counts import judge_conservation
from clout.audit.findings import BROKEN, HOLDS, Findings, Verdict
from clout.audit.partition import PartitionAudit
from clout.commands.common import connected_to_lanes
from clout.commands.durations import seconds_of
from clout.commands.wait import reader_of
from clout.config import Settings
from clout.owners import Owners
from clout.terminal import beside, literal_console, output, printable
from clout.whole_topic import reading
from streams.errors import CloutError

_GROUP = "clout-audit"
_OF_USERS = (1, 2, 3, 4, 5, 6, 7, 8)
_STYLES = {HOLDS: "green", BROKEN: "red"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="audit")(command)


def command(
    context: typer.Context,
    between: Annotated[
        str, typer.Option("--seconds", metavar="DURATION", help="Time between the two looks at each partition.")
    ] = "5",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Hold all users and all published changes against the laws of the score, and print a verdict a law.

    It reads every user twice, and the whole topic of changes, while the system runs; it computes by the plain formulas,
    and changes nothing. Exit code 0 if all laws hold; 1 if one is broken, or could not be judged everywhere.

    Example: clout audit --seconds 10 --json
    """
    seconds = seconds_of(between)
    settings = connected_to_lanes(context)
    console = literal_console(stderr=True)
    begun = time.monotonic()
    with console.status("looking") as status:
        say = beside(status) if console.is_terminal else lambda _line: None
        findings, standing = audit_all(settings, seconds, say)
    taken = time.monotonic() - begun
    if as_json:
        typer.echo(msgspec.json.encode(_document(findings, standing, settings.lanes.partitions, taken)))
    else:
        out = output()
        out.print(_table(findings.verdicts))
        for line in _lines(findings.verdicts, standing):
            out.print(printable(line))
        out.print(f"{settings.lanes.partitions} partitions in {taken:.1f} s")
    if not findings.all_hold:
        raise typer.Exit(1)


def audit_all(settings: Settings, seconds: float, say: Callable[[str], None]) -> tuple[Findings, dict[int, str]]:
    """Audit all partitions, one after the other; return what was found, and which of them stand still, with why."""
    findings = Findings()
    standing: dict[int, str] = {}
    partitions = settings.lanes.partitions
    with closing(reader_of(settings)) as progress:
        judge_conservation(progress, partitions, findings, say)
    with Owners(settings) as owners, reading(settings.kafka, _GROUP) as reader:
        audit = PartitionAudit(owners, reader, settings.names, settings.model, findings, say)
        for partition in range(partitions):
            try:
                why = audit.run(partition, seconds)
            except CloutError as error:
                findings.leave_open(_OF_USERS, f"{error.error}: {error.detail}" if error.detail else error.error)
            else:
                if why:
                    standing[partition] = why
    return findings, standing


def _table(verdicts: Sequence[Verdict]) -> Table:
    table = Table("law", "verdict", box=None, pad_edge=False)
    for heading in ("users", "changes", "broken"):
        table.add_column(heading, justify="right", no_wrap=True)
    for of in verdicts:
        table.add_row(
            of.law,
            Text(of.verdict, _STYLES.get(of.verdict, "yellow")),
            f"{of.users:,}" if of.users else "-",
            f"{of.changes:,}" if of.changes else "-",
            f"{of.broken:,}",
        )
    return table


def _lines(verdicts: Sequence[Verdict], standing: dict[int, str]) -> list[str]:
    lines = []
    for of in verdicts:
        lines += [f"{of.law}: {offence.who}: {offence.what}" for offence in of.offences]
        if of.broken > len(of.offences):
            lines.append(f"{of.law}: and {of.broken - len(of.offences):,} more")
        lines += [f"{of.law}: could not be judged: {why}" for why in of.unjudged]
        lines += [f"{of.law}: {counted(number, what)}" for what, number in of.counted.items()]
    return lines + [f"partition {partition} stands still: {why}" for partition, why in standing.items()]


def counted(number: int, what: str) -> str:
    """Say how many of something there are; `what` begins with a plural in s.

    >>> counted(1_200, "changes left out"), counted(1, "changes left out")
    ('1,200 changes left out', '1 change left out')
    """
    first, _, rest = what.partition(" ")
    return f"{number:,} {first.removesuffix('s') if number == 1 else first} {rest}"


def _document(findings: Findings, standing: dict[int, str], partitions: int, seconds: float) -> dict[str, Any]:
    return {
        "all_hold": findings.all_hold,
        "partitions": partitions,
        "seconds": round(seconds, 3),
        "standing": [{"partition": partition, "why": why} for partition, why in standing.items()],
        "laws": [of.as_dict() for of in findings.verdicts],
    }
