"""`python -m bench`: what the pipeline costs and how fast it is, on a Kafka of its own.

CPU figures are user and system time of the whole process, all client threads included, between two moments at which
it is idle: everything measured is written before, and shown to it at once.
"""

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bench import cases, gateway
from bench.figures import Figure, show, write
from bench.load import Shape, Users
from bench.pace import pace
from bench.site import Site, site


class Case(StrEnum):
    """What can be measured."""

    INGEST = "ingest"
    ACTORS = "actors"
    TARGETS = "targets"
    E2E = "e2e"
    LATENCY = "latency"
    RESTORE = "restore"
    LEDGER = "ledger"
    RETRACT = "retract"
    TIMERS = "timers"
    IDLE = "idle"
    GATEWAY = "gateway"


_USERS: tuple[Users, ...] = ("zipf", "uniform")
_SHAPES: tuple[Shape, ...] = ("single", "arrays")


def main(
    only: Annotated[list[Case] | None, typer.Option(help="Measure this alone; may be given several times.")] = None,
    users: Annotated[Users | None, typer.Option(help="Only these users.")] = None,
    shape: Annotated[Shape | None, typer.Option(help="Only this shape of raw records.")] = None,
    events: Annotated[int, typer.Option(min=10_000, help="Events measured in each case.")] = 2_000_000,
    preload: Annotated[int, typer.Option(min=0, help="Uniform users that have state before; else none has.")] = 0,
    profile: Annotated[
        Path | None,
        typer.Option(help="cProfile's figures of ingest's main thread or of a stage; needs --only and --users."),
    ] = None,
) -> None:
    """Measure, print a table, and write bench/results/DATE.json.

    Example: python -m bench --only ingest --users zipf --events 500000
    """
    console = Console()
    wanted = tuple(only or Case)
    sizes = cases.Sizes(events, preload=preload)
    chosen_users = (users,) if users else _USERS
    chosen_shapes = (shape,) if shape else _SHAPES
    figures = []
    with site() as here:
        for figure in measure(here, wanted, chosen_users, chosen_shapes, sizes, str(profile) if profile else None):
            console.print(
                f"{figure.measure}, {figure.load}: {figure.value:,.3f} {figure.unit}",
                soft_wrap=True,
                highlight=False,
                style="dim",
            )
            figures.append(figure)
    show(figures)
    options = {"only": wanted, "users": chosen_users, "shapes": chosen_shapes, "events": events, "preload": preload}
    console.print(f"written to {write(figures, options)}")


def measure(
    here: Site,
    wanted: tuple[Case, ...],
    users: tuple[Users, ...],
    shapes: tuple[Shape, ...],
    sizes: cases.Sizes,
    profile: str | None,
) -> Iterator[Figure]:
    """Run the cases wanted."""
    by_task = tuple(case for case in wanted if case in {"actors", "targets"})
    together = tuple(case for case in wanted if case in {"e2e", "latency", "restore"})
    yield pace("before")
    yield from _of_time(here, wanted, sizes)
    if Case.GATEWAY in wanted:
        yield from gateway.measure(here, gateway.GatewaySizes())
    for who in users:
        if by_task:
            # The lanes that the stages read are written by ingest: its figure for single events comes with them.
            with_ingest = ("ingest",) if "ingest" in wanted and "single" in shapes else ()
            yield from cases.stages(here, who, sizes, (*with_ingest, *by_task), profile)
        yield from _of_ledger(here, who, wanted, sizes)
        if "ingest" in wanted:
            for shape in shapes:
                if shape == "arrays" or not by_task:
                    yield from cases.ingest(here, who, shape, sizes, profile)
        if together:
            for shape in shapes:
                ask = tuple(case for case in together if case == Case.E2E or _belongs(case, who, shape, users, shapes))
                if ask:
                    yield from cases.end_to_end(here, who, shape, sizes, ask)
    yield pace("after")


def _of_ledger(here: Site, who: Users, wanted: tuple[Case, ...], sizes: cases.Sizes) -> Iterator[Figure]:
    """Run the cases about what the ledger costs, and gives."""
    if Case.LEDGER in wanted:
        yield from cases.ledger(here, who, sizes)
    if Case.RETRACT in wanted:
        yield from cases.retract(here, who, sizes)


def _of_time(here: Site, wanted: tuple[Case, ...], sizes: cases.Sizes) -> Iterator[Figure]:
    """Run the cases in which nothing happens but time."""
    if Case.TIMERS in wanted:
        yield from cases.timers(here, sizes)
    if Case.IDLE in wanted:
        yield from cases.idle(here, sizes)


def _belongs(case: Case, who: Users, shape: Shape, users: tuple[Users, ...], shapes: tuple[Shape, ...]) -> bool:
    """Return whether latency or a restore is measured here: once, where it says most among the loads chosen.

    Uniform users leave the most to restore.
    """
    return shape == shapes[0] and who == (users[-1] if case == Case.RESTORE else users[0])


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
    app.command()(main)
    app()
