"""What a process has used at a moment: CPU by kind of thread, and memory."""

import os
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

_TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
_KINDS: Final = {"rdk": "Kafka client", "rocksdb": "RocksDB"}
"""Kind of a thread by the start of its name; all others run Python."""
_STAT_AFTER_NAME: Final = slice(11, 13)
"""User and system ticks in /proc/PID/task/TID/stat, counted after the name."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used so far."""

    cpu_seconds: float
    """User and system time of all its threads, those that have ended included."""
    system_seconds: float
    """System time among it."""
    threads: dict[int, tuple[str, float]]
    """Kind and CPU seconds of each thread that lives."""
    resident_mb: float
    at_seconds: float
    waited_seconds: float
    """For how long its threads that live could have run, had a core been free."""

    @staticmethod
    def of(pid: int | None = None) -> "Usage":
        """Look now; at this process, if none is named."""
        process = psutil.Process(pid)
        cpu = process.cpu_times()
        return Usage(
            cpu.user + cpu.system,
            cpu.system,
            _threads(process.pid),
            process.memory_info().rss / 1e6,
            time.monotonic(),
            _waited_seconds(process.pid),
        )


def by_kind(before: Usage, after: Usage, count: int) -> str:
    """Return CPU µs of each of `count` by kind of thread, as a note; what is missing was used by threads now gone."""
    seconds: defaultdict[str, float] = defaultdict(float)
    for thread, (kind, used) in after.threads.items():
        seconds[kind] += used - before.threads.get(thread, (kind, 0.0))[1]
    seconds["ended threads"] = after.cpu_seconds - before.cpu_seconds - sum(seconds.values())
    seconds["system time of all"] = after.system_seconds - before.system_seconds
    return ", ".join(f"{kind} {used / count * 1e6:.2f}" for kind, used in seconds.items() if used / count >= 1e-8)


def _threads(pid: int) -> dict[int, tuple[str, float]]:
    threads = {}
    for directory in Path(f"/proc/{pid}/task").glob("*"):
        try:
            text = (directory / "stat").read_text()
        except (FileNotFoundError, ProcessLookupError):  # it ended
            continue
        name, _, rest = text.partition("(")[2].rpartition(")")
        kind = next((kind for start, kind in _KINDS.items() if name.startswith(start)), "Python")
        threads[int(directory.name)] = kind, sum(map(int, rest.split()[_STAT_AFTER_NAME])) / _TICKS_PER_SECOND
    return threads


def _waited_seconds(pid: int) -> float:
    waited_ns = 0
    for file in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with suppress(FileNotFoundError, ProcessLookupError):  # it ended
            waited_ns += int(file.read_text().split()[1])
    return waited_ns / 1e9
