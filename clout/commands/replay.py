"""`clout replay`: a file of interactions, played into a network's topic."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from clout.commands.common import check_network, connected
from clout.config import Settings
from clout.replay import ReplaySummary, TooLarge, check_first_line, events_of, replay
from clout.sender import PAYLOAD_BYTES_MAX, RAW_PRODUCER_OPTIONS
from clout.terminal import literal_console, printable
from schemas.kinds import KINDS
from schemas.limits import RECORD_BYTES_MAX
from streams import clients, topics
from streams.errors import CloutError

PLAIN_PROGRESS_EVERY_SECONDS = 5.0
TOO_LARGE_SHOWN_MAX = 5
INTERRUPTED = 130


class Format(StrEnum):
    """How a line of the file reads."""

    native = "native"
    snap = "snap"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="replay")(command)


def command(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Plain or gzipped, one event a line.")],
    network: Annotated[str, typer.Option(metavar="NAME", help="Network that the events belong to.")],
    file_format: Annotated[
        Format,
        typer.Option("--format", help="native: JSON; snap: `actor target unix_seconds [RT|MT|RE]`."),
    ],
    kind: Annotated[
        str | None, typer.Option(metavar="KIND", help="snap: kind of lines without a fourth column.")
    ] = None,
    speed: Annotated[
        str, typer.Option(metavar="max|FACTOR", help="As fast as can be, or so many times as fast as life.")
    ] = "max",
    id_prefix: Annotated[
        str | None, typer.Option(metavar="PREFIX", help="snap: user ids are PREFIX:id, not NETWORK:id.")
    ] = None,
) -> None:
    """Play a file of interactions into a network's topic, in its order, keyed by the acting user.

    Lines that are no interaction are sent as they are: ingest puts them aside with a reason (`clout dlq list`). Exit
    code 1 when lines were too large to be sent; all others are. Ctrl-C ends it after what was sent has arrived.

    Once a second, and at the end, a heartbeat with the source `replay` goes to every partition of the topic: it says
    that everything up to its time was sent, so that the network's clock waits for no partition. Once the times of the
    file have gone back, only the one at the end is sent.

    Example: clout replay higgs-activity_time.txt.gz --network twitter --format snap
    """
    factor = _factor(speed)
    if kind is not None and (file_format is Format.native or kind not in KINDS):
        what = f"is one of {', '.join(KINDS)}" if file_format is Format.snap else "goes with --format snap alone"
        raise typer.BadParameter(f"a kind {what}", param_hint="--kind")
    if id_prefix is not None and file_format is Format.native:
        raise typer.BadParameter("a prefix goes with --format snap alone", param_hint="--id-prefix")
    check_network(context, network)
    check_first_line(file, file_format, kind=kind)
    settings = connected(context)
    topic = _topic(settings, network)
    producer = clients.producer(settings.kafka, RAW_PRODUCER_OPTIONS)
    reader = events_of(file_format, network, kind=kind, prefix=id_prefix)
    with _progress(file) as on_progress:
        summary = replay(file, reader, producer, topic, factor=factor, on_progress=on_progress)
    # A record of the native format may be an array: how many events that is, only ingest knows.
    typer.echo(_sentence(summary, topic, "records" if file_format is Format.native else "events"))
    if summary.interrupted:
        typer.echo(
            "interrupted: what was sent counts; within the ledger's window it counts once, even if sent again", err=True
        )
        raise typer.Exit(INTERRUPTED)
    if summary.too_large:
        raise _too_large(summary.too_large)


def _too_large(found: list[TooLarge]) -> CloutError:
    shown = [f"line {of.line:,} has {of.size_bytes:,} bytes" for of in found[:TOO_LARGE_SHOWN_MAX]]
    if len(found) > TOO_LARGE_SHOWN_MAX:
        shown.append(f"and {len(found) - TOO_LARGE_SHOWN_MAX:,} more")
    return CloutError(
        f"{len(found):,} lines were not sent: larger than the {PAYLOAD_BYTES_MAX:,} bytes that a record can have",
        detail="; ".join(shown),
        hint=f"split them and play the parts; ingest takes records of at most {RECORD_BYTES_MAX:,} bytes",
    )


def _factor(speed: str) -> float | None:
    if speed == "max":
        return None
    try:
        factor = float(speed)
    except ValueError:
        factor = 0.0
    if not 0 < factor < float("inf"):
        raise typer.BadParameter(f"`max` or a number above 0, not {speed!r}", param_hint="--speed")
    return factor


def _topic(settings: Settings, network: str) -> str:
    """Return the network's topic once it is sure that ingest will read it, and as what it is written."""
    if settings.networks[network].format != "native":
        raise CloutError(
            f"the network {network} is read as {settings.networks[network].format}",
            detail="a replay writes events in the native format",
            hint="play the file into a network whose format is native",
        )
    topic = settings.names.interactions(network)
    specs = topics.specification(settings.names, settings.lanes, {network: settings.networks[network]})
    topics.require(settings.kafka, [spec for spec in specs if spec.name == topic])
    return topic


@contextmanager
def _progress(file: Path) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on a terminal, otherwise a line now and then; both on standard error."""
    console = literal_console(stderr=True)
    size = file.stat().st_size
    if not console.is_terminal:
        yield _PlainProgress(size)
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[events]:,} events"), console=console, transient=True) as bar:
        task = bar.add_task(printable(file.name, kept=""), total=size, events=0)
        yield lambda bytes_read, sent: bar.update(task, completed=bytes_read, events=sent)


class _PlainProgress:
    def __init__(self, size_bytes: int) -> None:
        self._size_bytes = size_bytes
        self._last = time.monotonic()

    def __call__(self, bytes_read: int, sent: int) -> None:
        now = time.monotonic()
        if now - self._last >= PLAIN_PROGRESS_EVERY_SECONDS:
            self._last = now
            share = bytes_read / self._size_bytes if self._size_bytes else 1.0
            print(f"{share:.0%}, {sent:,} events sent", file=sys.stderr, flush=True)  # noqa: T201


def _sentence(summary: ReplaySummary, topic: str, what: str) -> str:
    parts = [f"read {summary.lines:,} lines"]
    if summary.skipped:
        parts.append(f"skipped {summary.skipped:,} empty lines and comments")
    if summary.twins_dropped:
        parts.append(f"dropped {summary.twins_dropped:,} twin mentions")
    if summary.too_large:
        parts.append(f"left out {len(summary.too_large):,} too large")
    heartbeats = f" and {summary.heartbeats:,} heartbeats" if summary.heartbeats else ""
    parts.append(f"sent {summary.sent:,} {what}{heartbeats} to {topic}")
    if summary.malformed:
        parts.append(f"of which {summary.malformed:,} are no interactions and go to dead letters")
    return f"{', '.join(parts)}; {summary.seconds:.1f} s, {summary.records_per_second:,.0f} {what}/s"
