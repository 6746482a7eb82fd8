"""Cut a script that fails down to a short one that still does."""

import time
from collections.abc import Callable, Iterator

from tests.simulator.script import Script, Step


def shrunk(script: Script, fails: Callable[[Script], bool], seconds: float) -> Script:
    """Leave out whatever can be left out: halves of the steps, then ever smaller parts, then records of reports.

    Gives up the search, not the script, when the time is over.
    """
    end = time.monotonic() + seconds
    size = len(script.steps)
    while size:
        size = min(size // 2, len(script.steps) // 2) if size > 1 else 0
        smaller = True
        while smaller and size and time.monotonic() < end:
            smaller = False
            for steps in _without_parts(script.steps, size):
                if time.monotonic() > end:
                    break
                if fails(script._replace(steps=steps)):
                    script, smaller = script._replace(steps=steps), True
                    break
    return _with_fewer_records(script, fails, end)


def _without_parts(steps: tuple[Step, ...], size: int) -> Iterator[tuple[Step, ...]]:
    # From the end on: what comes after the failure can mostly go.
    for begin in range(max(0, len(steps) - size), -1, -size):
        yield steps[:begin] + steps[begin + size :]


def _with_fewer_records(script: Script, fails: Callable[[Script], bool], end: float) -> Script:
    for at in range(len(script.steps)):
        step = script.steps[at]
        size = len(step.args) // 2 if step.name == "report" else 0
        while size and time.monotonic() < end:
            for begin in range(0, len(step.args), size):
                less = step._replace(args=step.args[:begin] + step.args[begin + size :])
                shorter = script._replace(steps=(*script.steps[:at], less, *script.steps[at + 1 :]))
                if less.args and fails(shorter):
                    script, step = shorter, less
                    break
            else:
                size //= 2
            size = min(size, len(step.args) // 2)
    return script
