"""A worker's disk that is full for a while: a small file system of its own, or else a limit on what it may write."""

import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

FILE_BYTES_MAX: Final = 1 << 20
"""More than a log file or RocksDB's list of files, less than a table of a worker under load."""
_PIECE: Final = bytes(1 << 16)


@contextmanager
def small_disk(directory: Path, size_mb: int) -> Iterator[bool]:
    """Give `directory` a file system of its own; yield False where this process may not do that."""
    directory.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size_mb}m", "tmpfs", str(directory)]
    tool = shutil.which("mount")
    mounted = tool is not None and subprocess.run(command, check=False, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(directory)], check=True)


@contextmanager
def no_room(directory: Path, *, mounted: bool, pid: int, file_bytes_max: int = FILE_BYTES_MAX) -> Iterator[None]:
    """Leave no room in a directory, or, where it has no file system of its own, let a process write no larger files."""
    if not mounted:
        before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (file_bytes_max, before[1]))
        try:
            yield
        finally:
            # It may have ended of it.
            with suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
        return
    filling = directory / "filling"
    with filling.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(_PIECE):
            pass
    try:
        yield
    finally:
        filling.unlink()
