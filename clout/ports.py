"""Ports for programs that must be told where to listen.

A port is only found free; whoever is told takes it a little later. So none is taken from those that systems give to
connections that go out (on Linux from 32768 on): one of them would be gone in that time every now and then.
"""

import random
import socket
from collections.abc import Collection
from typing import Final

from streams.errors import CloutError

LOWEST: Final = 10_000
HIGHEST: Final = 32_767
TRIES_MAX: Final = 1000


def free_port(host: str, taken: Collection[int] = ()) -> int:
    """Return a port at which nobody listens and that is none of `taken`. Raises `CloutError` when none is found."""
    for _ in range(TRIES_MAX):
        port = random.randint(LOWEST, HIGHEST)  # noqa: S311 - it is no secret
        if port not in taken and not is_taken(host, port):
            return port
    raise CloutError("no free port was found", detail=f"on {host}", hint="close some listening programs")


def free_ports(host: str, count: int) -> list[int]:
    """Return so many ports, all different."""
    found: list[int] = []
    for _ in range(count):
        found.append(free_port(host, found))
    return found


def is_taken(host: str, port: int) -> bool:
    """Return whether somebody listens there."""
    try:
        socket.create_server((host, port)).close()
    except OSError:
        return True
    return False
