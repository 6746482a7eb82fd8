"""`clout wait`: returns when everything that was read in has been processed."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Annotated

import typer
from rich.console import Console

from clout.commands.common import connected_to_lanes
from clout.commands.durations import seconds_of
from clout.commands.tables import ConservationTable, retraction_lines
from clout.config import Settings
from clout.terminal import beside, literal_console, output, printable
from streams.errors import CloutError
from streams.progress import Behind, Conservation, Reading, behind, conservation
from streams.progress_reader import ProgressReader

POLL_SECONDS = 0.2
PLAIN_PROGRESS_EVERY_SECONDS = 5.0
SHOWN_MAX = 8


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="wait")(command)


def command(
    context: typer.Context,
    timeout: Annotated[str, typer.Option(metavar="DURATION", help="Give up after 90, 90s, 2m or 1h.")] = "60s",
) -> None:
    """Wait until everything that was read in has been processed, and print what became of it.

    Exit code 1, with what is behind and by how much, when that takes longer than the time-out; at once when only what
    waits in a frozen network is left; also when the counts do not add up: read = applied + self + duplicate +
    withheld + forgotten + dead-lettered + heartbeat + retracting, for each network.

    Example: clout wait --timeout 5m
    """
    timeout_seconds = seconds_of(timeout)
    settings = connected_to_lanes(context)
    console = literal_console(stderr=True)
    with console.status("waiting") as status:
        say = beside(status) if console.is_terminal else Plain(console)
        reading = wait_until_processed(reader_of(settings), timeout_seconds, say)
    sums = conservation(reading)
    out = output()
    out.print(ConservationTable(sums))
    for line in retraction_lines(sums):
        out.print(line)
    check_sums(sums)


def reader_of(settings: Settings) -> ProgressReader:
    """Return a reader of the installation's progress."""
    return ProgressReader(settings.kafka, settings.names, settings.networks, settings.lanes.partitions)


def wait_until_processed(reader: ProgressReader, timeout_seconds: float, say: Callable[[str], None]) -> Reading:
    """Return the reading that shows all processed; `say` is told what is behind. Raises `CloutError` after the time."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        left = deadline - time.monotonic()
        try:
            reading = reader.read(timeout_seconds=max(0.0, left))
        except CloutError as error:
            problem = error
            say(error.error)
        else:
            late = behind(reading)
            if not late:
                return reading
            if all(of.frozen for of in late):
                raise _frozen(late)
            problem = CloutError(
                f"not everything was processed within {timeout_seconds:g} seconds",
                detail="; ".join(lines(late)),
                hint="wait longer with --timeout if these numbers fall, else see `clout status` and the roles' logs",
            )
            say(summary(late))
        if deadline - time.monotonic() <= 0:
            raise _with_reason(problem, reader)
        time.sleep(POLL_SECONDS)


def _frozen(late: Sequence[Behind]) -> CloutError:
    """Return what to say where all that is left waits in frozen networks: there is no use to wait for that."""
    networks = list(dict.fromkeys(of.frozen for of in late))
    return CloutError(
        f"all else is processed, but {' and '.join(networks)} {'is' if len(networks) == 1 else 'are'} frozen",
        detail="; ".join(lines(late)),
        hint=f"let it go on with: clout resume {networks[0]} --reason …",
    )


def _with_reason(problem: CloutError, reader: ProgressReader) -> CloutError:
    """Return the problem, or, when ingest does not run at all, that."""
    try:
        reader.ingests()
    except CloutError as absent:
        return CloutError(absent.error, detail=f"{problem.error}: {problem.detail}", hint=absent.hint)
    return problem


def check_sums(sums: list[Conservation]) -> None:
    """Raise if events were read and are nowhere; fewer read than processed only means that more came meanwhile."""
    lost = [f"{of.network}: {of.missing:,} of {of.read:,}" for of in sums if of.missing > 0]
    if lost:
        raise CloutError(
            "events were read and are not accounted for",
            detail="; ".join(lost),
            hint="see the lanes' dead letters and the logs of the roles",
        )


def lines(late: Sequence[Behind]) -> list[str]:
    """Say what is behind, and by how much; of many places the first.

    >>> lines([Behind("ingest", "twitter/0", 1_200), Behind("worker", "partition 2", 0, "no worker has it")])
    ['ingest twitter/0: 1,200 records behind', 'worker partition 2: no worker has it']
    """
    shown = [f"{of.stage} {of.where}: " + (of.note or f"{of.records:,} records behind") for of in late[:SHOWN_MAX]]
    return shown if len(late) <= SHOWN_MAX else [*shown, f"and {len(late) - SHOWN_MAX} more places"]


def summary(late: Sequence[Behind]) -> str:
    """Say in a few words how far all is behind.

    >>> summary([Behind("ingest", "twitter/0", 1_000), Behind("ingest", "twitter/1", 200)])
    'ingest 1,200 records behind'
    """
    records: Counter[str] = Counter()
    for of in late:
        records[of.stage] += of.records
    words = [f"{stage} {count:,} records behind" for stage, count in records.items() if count]
    return ", ".join([*words, *dict.fromkeys(of.note for of in late if of.note)])


class Plain:
    """Says now and then how it stands, where there is no terminal."""

    def __init__(self, console: Console, doing: str = "waiting") -> None:
        """Write to the console what is being done, and how it stands."""
        self._console, self._doing = console, doing
        self._last = time.monotonic()

    def __call__(self, line: str) -> None:
        """Say it, if nothing was said just now."""
        now = time.monotonic()
        if now - self._last >= PLAIN_PROGRESS_EVERY_SECONDS:
            self._last = now
            self._console.print(printable(f"{self._doing}: {line}"), soft_wrap=True)
