"""Carry out scripts, and say what came of them."""

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Final, NamedTuple
from unittest.mock import patch

import structlog

from scorer.model import Model
from streams import timers
from streams.errors import CloutError
from streams.metrics import WorkerMetrics
from streams.warm_up import load_stages
from tests.simulator.checks import wrong
from tests.simulator.script import NETWORKS, PARTITIONS_MAX, Script
from tests.simulator.workers import WrongError
from tests.simulator.world import Parts, World

_RANGE_KEYS_MIN: Final = 3
RIGHT = Parts()
"""The code as it is."""


class Outcome(NamedTuple):
    """What came of a run."""

    seed: int
    problems: list[str]
    """What was wrong; nothing, where all was well."""
    events: int
    crashes: int
    hits: Counter[str]
    """How often a process died, by point."""


@contextmanager
def _quiet() -> Iterator[None]:
    """Say nothing meanwhile: the logs would say the same a thousand times."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**before)


@cache
def _prepared() -> tuple[Model, WorkerMetrics]:
    """Load what all runs of this process share."""
    model = Model()
    load_stages(model)
    return model, WorkerMetrics(NETWORKS, PARTITIONS_MAX)


def run(script: Script, parts: Parts = RIGHT) -> Outcome:
    """Carry out a script and check what it leaves."""
    # So few events have few due times at once; these too are deleted as ranges.
    with _quiet(), patch.object(timers, "RANGE_KEYS_MIN", _RANGE_KEYS_MIN):
        return _carried_out(script, parts)


def _carried_out(script: Script, parts: Parts) -> Outcome:
    model, metrics = _prepared()
    world = World(script, parts, metrics, model)
    try:
        world.run()
        problems = wrong(world)
    except (CloutError, WrongError) as error:
        detail = getattr(error, "detail", "")
        problems = [f"{type(error).__name__}: {error}{'; ' if detail else ''}{detail}"]
    except Exception as error:  # noqa: BLE001  whatever the code under test raises is a finding
        problems = [f"{type(error).__name__}: {error}"]
    finally:
        world.close()
    return Outcome(script.seed, problems, sum(raw.read for raw in world.fed), world.crashes, world.hits)


def fails(script: Script, parts: Parts = RIGHT) -> bool:
    """Return whether something goes wrong."""
    return bool(run(script, parts).problems)


def shown(step: Any) -> str:
    """Return a step as a line to read."""
    if step.name != "report":
        return " ".join(map(str, (step.name, *step.args)))
    lines = [f"report {fed.network}/{partition} {fed.value.decode()}" for partition, fed in step.args]
    return "\n".join(lines)
