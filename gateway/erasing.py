"""Takes users who were forgotten out of the read model's files: rows that are deleted stay there until RocksDB merges.

It works beside the reader, in a thread of its own. What was not finished when the gateway ended is done at its start.
"""

from collections.abc import Iterable, Sequence
from queue import Empty, SimpleQueue
from threading import Event
from typing import Final

import structlog

from gateway.read_model import ReadModel, Seen

_log = structlog.get_logger(__name__)

_WAIT_SECONDS: Final = 0.5
"""Those who are forgotten within this time are erased together."""


class Eraser:
    """One gateway's; `run` in a thread of its own."""

    def __init__(self, model: ReadModel) -> None:
        """Erase from a read model."""
        self._model = model
        self._forgotten: SimpleQueue[Seen] = SimpleQueue()
        self.erased = 0
        """How many were erased."""

    def on_changes(self, changes: Iterable[Seen]) -> None:
        """Listen to the reader: the read model has these changes."""
        for seen in changes:
            if seen.change.cause == "forget":
                self._forgotten.put(seen)

    def run(self, stop: Event) -> None:
        """Erase until told to stop."""
        if self._model.is_to_be_erased():
            self._model.erase_all()
        while not stop.wait(_WAIT_SECONDS):
            found = self._taken()
            if found:
                self._model.erase(found)
                self.erased += len(found)
                _log.info("users who were forgotten are erased from the read model", users=len(found))

    def _taken(self) -> Sequence[Seen]:
        found: list[Seen] = []
        while True:
            try:
                found.append(self._forgotten.get_nowait())
            except Empty:
                return found
