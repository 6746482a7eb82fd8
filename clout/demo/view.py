"""How the demonstration looks: one screen on a terminal, one line a second elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.layout import Layout
from rich.measure import Measurement
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from clout.demo.board import Board, Reason, Standing
from clout.demo.health import Health
from schemas.times import format_ms

FRAME_LINES = 7
"""Lines of a screen that are neither rows of its two lists nor text above and below them."""
WIDE_COLUMNS = 130
"""From this width on, the text above and below the lists takes one line each, else two."""
UNLIMITED_COLUMNS = 1_000
ROWS_MIN = 5


@dataclass(frozen=True, slots=True)
class Moment:
    """Everything that one look at the demonstration shows."""

    elapsed_seconds: float
    lasts_seconds: float
    time_ms: int
    """Event time."""
    sent: int
    sent_per_second: float
    applied_per_second: float
    changes_per_second: float
    partitions: int
    health: Health


def screen(moment: Moment, board: Board, networks: Sequence[str], width: int, height: int) -> Layout:
    """Lay out the whole screen."""
    text_lines = 1 if width >= WIDE_COLUMNS else 2
    rows = max(ROWS_MIN, height - FRAME_LINES - 2 * text_lines)
    layout = Layout()
    layout.split_column(
        Layout(_heading(moment, board), size=2 + text_lines),
        Layout(name="lists"),
        Layout(_machinery(moment), size=2 + text_lines),
    )
    layout["lists"].split_row(
        Layout(Panel(TopTable(board.top(rows), networks), title="most influential", box=box.ROUNDED), ratio=5),
        Layout(Panel(_reasons(list(board.recent)[:rows]), title="what moved", box=box.ROUNDED), ratio=4),
    )
    return layout


@dataclass(frozen=True, slots=True)
class TopTable:
    """The table of the top users, with the scores of as many networks as there is room for."""

    standings: Sequence[Standing]
    networks: Sequence[str]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Give up the last networks first; rank, user, score and movement always stay."""
        without_limit = options.update(width=UNLIMITED_COLUMNS)
        for count in range(len(self.networks), -1, -1):
            table = _top_table(self.standings, self.networks[:count])
            if count == 0 or Measurement.get(console, without_limit, table).maximum <= options.max_width:
                table.expand = True
                yield table
                return


def _top_table(standings: Sequence[Standing], networks: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("", justify="right", style="dim", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("user", overflow="ellipsis", no_wrap=True, ratio=1)
    table.add_column("score", justify="right", style="bold", no_wrap=True)
    table.add_column("", justify="right", no_wrap=True)
    for network in networks:
        table.add_column(network, justify="right", style="dim", no_wrap=True)
    for of in standings:
        parts = (f"{of.networks[name]:.1f}" if name in of.networks else "-" for name in networks)
        table.add_row(str(of.rank), _arrow(of), of.user, f"{of.score:.1f}", _moved(of.moved), *parts)
    return table


def one_line(moment: Moment, board: Board) -> str:
    """Say it all in one line."""
    best = board.top(1)
    leader = f"{best[0].user} {best[0].score:.1f}" if best else "nobody yet"
    why = f", {sentence(board.recent[0])}" if board.recent else ""
    return (
        f"{moment.elapsed_seconds:4.0f} s  {format_ms(moment.time_ms)[:16]}  in {moment.sent:,}"
        f"  applied {moment.health.applied:,} ({moment.applied_per_second:,.0f}/s)  {_lag(moment.health)}"
        f"  changes {board.changes:,}  users {board.users:,}  top {leader}{why}{trouble(moment.health)}"
    )


def _lag(health: Health) -> str:
    return "lag not known" if health.lag_records is None else f"lag {health.lag_records:,}"


def trouble(health: Health) -> str:
    """Say how many incidents are open and what is frozen; nothing where there is none.

    >>> trouble(Health(9, 8, 1, 0, 3, 4, (), open=frozenset({"i"}), frozen=("twitter",)))
    '  incidents open 1  frozen twitter'
    >>> trouble(Health(9, 8, 1, 0, 3, 4, ()))
    ''
    """
    incidents = f"  incidents open {len(health.open)}" if health.open else ""
    return incidents + (f"  frozen {', '.join(health.frozen)}" if health.frozen else "")


def sentence(reason: Reason) -> str:
    """Say what changed and why.

    >>> from schemas.change import Reason as Added, ScoreChange
    >>> added = [Added("tom-7", "bluesky", 1, 0.3)]
    >>> change = ScoreChange("ada-1", 2, 12.5, 11.0, None, {"bluesky": 9.0}, "", "interaction", "1", reasons=added)
    >>> sentence(Reason(change, ("bluesky",)))
    'ada-1 11.0 → 12.5 by interaction on bluesky, most from tom-7'
    """
    change = reason.change
    where = f" on {', '.join(reason.networks)}" if reason.networks else ""
    before = "new" if change.previous is None else f"{change.previous:.1f}"
    most = change.reasons[0].actor if change.reasons else None
    whose = f", most from {most}" if most else ""
    return f"{change.user} {before} → {change.score or 0.0:.1f} by {change.cause}{where}{whose}"


def _heading(moment: Moment, board: Board) -> RenderableType:
    text = Text.assemble(
        (format_ms(moment.time_ms)[:16].replace("T", " "), "bold"),
        f"   in {moment.sent:,} ({moment.sent_per_second:,.0f}/s)   applied {moment.health.applied:,}"
        f" ({moment.applied_per_second:,.0f}/s)   changes {board.changes:,} ({moment.changes_per_second:,.0f}/s)"
        f"   users {board.users:,}",
    )
    left = max(0.0, moment.lasts_seconds - moment.elapsed_seconds)
    pages = "".join(f"http://{role.public_address}/, " for role in moment.health.roles if role.public_address)
    return Panel(text, title="clout demo", subtitle=Text(f"{pages}{left:.0f} s left, Ctrl-C ends"), box=box.ROUNDED)


def _machinery(moment: Moment) -> RenderableType:
    health = moment.health
    text = Text()
    for role in health.roles:
        text.append("● ", "green" if role.address else "red")
        text.append(
            f"{role.name} {role.pid or '-'}" + (f" ({role.restarts} restarts)" if role.restarts else "") + "   "
        )
    text.append(f"partitions {health.partitions_running}/{moment.partitions} running   {_lag(health)}")
    text.append(f"   self {health.self_:,}   dead letters {health.dead_lettered:,}{trouble(health)}")
    return Panel(text, box=box.ROUNDED)


def _reasons(reasons: Sequence[Reason]) -> RenderableType:
    lines = Table.grid(padding=(0, 1))
    for reason in reasons:
        change = reason.change
        rose = change.previous is None or (change.score or 0.0) >= change.previous
        lines.add_row("▲" if rose else "▼", sentence(reason), style="green" if rose else "red")
    return lines


def _arrow(of: Standing) -> Text:
    if of.is_new:
        return Text("★", "yellow")
    if of.climbed == 0:
        return Text("·", "dim")
    return Text("▲", "green") if of.climbed > 0 else Text("▼", "red")


def _moved(moved: float) -> Text:
    tenths = round(moved, 1)
    return Text(f"{tenths:+.1f}" if tenths else "", "green" if tenths > 0 else "red")
