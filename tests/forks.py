"""Processes of Clout that are forked from one that has imported everything: each starts in a fraction of the time.

They run what `python -m clout ARGUMENTS` runs, in a process of their own with a directory, an environment and files of
their own. What is about the start itself, or about memory, starts a program instead.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

_CONTEXT: Final = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.forks_preload"])

_SAID_CHARACTERS: Final = 4_000

Before = Callable[[], object]
"""A function of a module."""


class Forked:
    """A process that runs a command; it has of `subprocess.Popen` what tests use."""

    def __init__(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        directory: Path,
        output: Path,
        errors: Path,
        before: Before | None = None,
    ) -> None:
        """Start it; what it prints is added to these files, which may be the same one. It calls `before` first."""
        what = tuple(arguments), dict(environment), directory, output, errors, before
        self._process = _CONTEXT.Process(target=_become, args=what, daemon=True)
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit code; negative is the signal that ended it; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """Return the exit code, None while it runs."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code once it has ended. Raise `subprocess.TimeoutExpired` when that takes longer."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout or 0.0)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Send a signal if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it without a warning."""
        self.send_signal(signal.SIGKILL)


def run(
    arguments: Sequence[str], environment: Mapping[str, str], directory: Path, seconds: float
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end. Raise `subprocess.TimeoutExpired` when that takes longer."""
    with tempfile.TemporaryDirectory(prefix="clout-run-") as name:
        output, errors = Path(name) / "output", Path(name) / "errors"
        process = Forked(arguments, environment, directory, output, errors)
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired as late:
            said = errors.read_text(encoding="utf-8") if errors.exists() else "it had not even begun"
            late.add_note(f"clout {' '.join(arguments)}: {said[-_SAID_CHARACTERS:]}")
            raise
        finally:
            process.kill()
        return subprocess.CompletedProcess(
            arguments, code, output.read_text(encoding="utf-8"), errors.read_text(encoding="utf-8")
        )


def _end_with_the_run() -> None:
    """Die with whoever asked for this process: the server that forked it lives as long as any that it forked."""
    run = multiprocessing.parent_process()
    assert run is not None
    run.join()
    os.kill(os.getpid(), signal.SIGKILL)


def _become(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    directory: Path,
    output: Path,
    errors: Path,
    before: Before | None,
) -> None:
    threading.Thread(target=_end_with_the_run, daemon=True).start()
    files = [
        (0, Path(os.devnull), os.O_RDONLY),
        (1, output, os.O_WRONLY | os.O_CREAT | os.O_APPEND),
        (2, errors, os.O_WRONLY | os.O_CREAT | os.O_APPEND),
    ]
    for descriptor, path, how in files:
        opened = os.open(path, how, 0o644)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(directory)
    sys.argv[:] = ["clout", *arguments]
    from clout.main import main  # noqa: PLC0415  whoever starts one need not import all this

    if before is not None:
        before()
    main()
