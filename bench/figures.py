"""Figures, what they are to reach, and how they are shown."""

import datetime as dt
import os
import platform
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.table import Table

from bench.load import LABELS

_WIDTH_MIN: Final = 170
RESULTS: Final = Path(__file__).with_name("results")
APART: Final = "three stages, measured apart"
TOGETHER: Final = "three stages, the two processes end to end"
_STREAMS: Final = "2,000 streams of 10 users, 2,100 changes/s"
_ASKING: Final = "16 connections, 0 changes/s"
_ZIPF, _UNIFORM = LABELS["zipf"], LABELS["uniform"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value."""

    measure: str
    load: str
    """Shape of the raw records, where it matters, and users."""
    value: float
    unit: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure is to reach: at most, or at least."""

    bound: float
    at_most: bool = True

    def met(self, value: float) -> bool:
        """Return whether it is reached."""
        return value <= self.bound if self.at_most else value >= self.bound

    def __str__(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {self.bound:,g}"


TARGETS: Final = {
    ("ingest", f"single, {_ZIPF}", "CPU µs/event"): Target(2.5),
    ("ingest", f"arrays, {_ZIPF}", "CPU µs/event"): Target(1.5),
    ("actors stage", _ZIPF, "CPU µs/event"): Target(1.2),
    ("targets stage", _ZIPF, "CPU µs/event"): Target(0.8),
    # With everything on; the bare score was to take 4.5.
    (APART, f"single, {_ZIPF}", "CPU µs/event"): Target(5.5),
    (TOGETHER, f"single, {_ZIPF}", "CPU µs/event"): Target(4.5),
    (APART, f"single, {_UNIFORM}", "CPU µs/event"): Target(10.0),
    (TOGETHER, f"single, {_UNIFORM}", "CPU µs/event"): Target(10.0),
    ("end to end", f"single, {_ZIPF}", "events/s"): Target(150_000, at_most=False),
    ("end to end", f"arrays, {_ZIPF}", "events/s"): Target(300_000, at_most=False),
    ("arrival to change, p99", f"single, {_ZIPF}", "s"): Target(1.0),
    ("timer fired", "500,000 users", "CPU µs/timer"): Target(2.0),
    ("idle worker", "5,000,000 users", "% of a core"): Target(5.0),
    ("idle worker", "5,000,000 users", "MB resident"): Target(1074.0),
    ("gateway, reading in", "300,000 changes at once", "changes/s"): Target(30_000, at_most=False),
    ("gateway, streams", _STREAMS, "deliveries/s"): Target(20_000, at_most=False),
    ("gateway, change to subscriber, p99", _STREAMS, "s"): Target(0.25),
    ("gateway, one score", _ASKING, "requests/s a core"): Target(3_000, at_most=False),
    ("gateway, one score, p99", _ASKING, "s"): Target(0.02),
}
_DECIMALS: Final = {
    "CPU µs/event": 2,
    "CPU µs/timer": 2,
    "CPU µs/credit": 2,
    "CPU µs/change": 2,
    "CPU µs/delivery": 2,
    "CPU µs/request": 2,
    "% of a core": 1,
    "CPU µs/record": 2,
    "ns/turn": 1,
    "s": 3,
    "changes/event": 3,
}


def quantiles_between(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """Return p50 and p99 of what a Prometheus histogram counted in between, interpolated within its buckets.

    >>> before = {'h_bucket{le="0.1"}': 5.0, 'h_bucket{le="0.2"}': 5.0, 'h_bucket{le="+Inf"}': 5.0}
    >>> after = {'h_bucket{le="0.1"}': 55.0, 'h_bucket{le="0.2"}': 105.0, 'h_bucket{le="+Inf"}': 105.0}
    >>> {name: round(value, 3) for name, value in quantiles_between(before, after).items()}
    {'p50': 0.1, 'p99': 0.198}
    """
    found = {name: re.search(r'le="([^"]+)"', name) for name in after}
    counted = sorted((float(le[1]), after[name] - before.get(name, 0.0)) for name, le in found.items() if le)
    total = counted[-1][1]
    quantiles: dict[str, float] = {}
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        low, below = 0.0, 0.0
        for bound, count in counted:
            if count >= share * total:
                within = (share * total - below) / (count - below) if count > below else 0.0
                quantiles[name] = low + (bound - low) * within
                break
            low, below = bound, count
    return quantiles


def target_of(figure: Figure) -> Target | None:
    """Return what a figure is to reach, if that is said."""
    return TARGETS.get((figure.measure, figure.load, figure.unit))


def show(figures: Iterable[Figure]) -> None:
    """Print the table."""
    table = Table("measure", "load", "figure", "", "to reach", "", "note", title="Cost and speed of the pipeline")
    for column in (2, 4):
        table.columns[column].justify = "right"
    for figure in figures:
        target = target_of(figure)
        verdict = "" if target is None else "[green]met" if target.met(figure.value) else "[red]not met"
        table.add_row(figure.measure, figure.load, _shown(figure), figure.unit, str(target or ""), verdict, figure.note)
    console = Console()
    console.width = max(console.width, _WIDTH_MIN)
    console.print(table)


def markdown(figures: Iterable[Figure]) -> str:
    """Return the table as docs/BENCHMARKS.md has it.

    >>> print(markdown([Figure("ingest", LABELS["zipf"], 2.345, "CPU µs/event")]).splitlines()[-1])
    | ingest | Zipf(1.3) of 1 M | 2.35 CPU µs/event | | |
    """
    lines = ["| measure | load | figure | to reach | |", "| --- | --- | ---: | ---: | --- |"]
    for figure in figures:
        target = target_of(figure)
        verdict = ("", "") if target is None else (f"{target} ", "met " if target.met(figure.value) else "not met ")
        cells = (figure.measure, figure.load, f"{_shown(figure)} {figure.unit}")
        lines.append(f"| {' | '.join(cells)} | {verdict[0]}| {verdict[1]}|")
    return "\n".join(lines) + "\n"


def _shown(figure: Figure) -> str:
    return f"{figure.value:,.{_DECIMALS.get(figure.unit, 0)}f}"


def write(figures: Sequence[Figure], options: Mapping[str, Any]) -> Path:
    """Write the figures with what they were measured on, and the table beside them; return the file."""
    RESULTS.mkdir(exist_ok=True)
    now = dt.datetime.now(dt.UTC)
    document = {
        "measured_at": now.isoformat(timespec="seconds"),
        "options": dict(options),
        "machine": machine(),
        "figures": [
            asdict(figure) | ({"target": str(target), "met": target.met(figure.value)} if target is not None else {})
            for figure in figures
            for target in [target_of(figure)]
        ],
    }
    path = RESULTS / f"{now:%Y-%m-%dT%H%M%S}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")
    path.with_suffix(".md").write_text(markdown(figures), encoding="utf-8")
    return path


def machine() -> dict[str, str | int | float]:
    """Return what the figures were measured on."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.processor(),
    )
    command = ["java", "-version"]
    java = subprocess.run(command, capture_output=True, text=True, check=False).stderr.splitlines()  # noqa: S603  fixed
    packages = ("confluent-kafka", "faust-streaming", "msgspec", "numba", "numpy", "rocksdict")
    return {
        "cores": os.cpu_count() or 0,
        "processor": model,
        "load_average_5_minutes": os.getloadavg()[1],
        "python": platform.python_version(),
        "java": java[0] if java else "",
        **{package: version(package) for package in packages},
    }
