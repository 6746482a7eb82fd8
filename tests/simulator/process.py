"""A process of a run: alive or not, and where it will die."""

from collections.abc import Callable
from dataclasses import dataclass


class CrashError(BaseException):
    """The process is gone; nothing of the code under test may catch this."""


@dataclass(slots=True)
class Process:
    """What can die at a named point."""

    name: str
    hit: Callable[[str], None]
    """Told of every point at which the process died."""
    armed: str = ""
    """The point at which it will die."""
    alive: bool = True
    deaf: bool = False
    """It hears nothing of the group: others may take its partitions over while it goes on."""

    def probe(self, point: str) -> None:
        """Die here, if this is the point."""
        if point == self.armed:
            self.armed = ""
            self.alive = False
            self.hit(point)
            raise CrashError(f"{self.name} died at {point!r}")
