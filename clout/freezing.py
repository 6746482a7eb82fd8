"""Waits until an order to freeze or resume a network is obeyed: every ingest process says so."""

from collections.abc import Callable, Sequence

from clout.obedience import wait_until_obeyed
from streams.errors import CloutError
from streams.freezes import FREEZE
from streams.status import IngestStatus


def obeys(ingest: IngestStatus, network: str, command: str, epoch: int) -> bool:
    """Return whether an ingest process has heard of an order, or of a later one, and does as it says.

    >>> from streams.status import FreezeStatus
    >>> ingest = IngestStatus(role="ingest", pid=1, address="", frozen={"twitter": FreezeStatus(since="", epoch=7)})
    >>> [obeys(ingest, "twitter", "freeze", epoch) for epoch in (7, 8)], obeys(ingest, "twitter", "resume", 8)
    ([True, False], False)
    """
    freeze = ingest.frozen.get(network)
    if command != FREEZE:
        return freeze is None or freeze.epoch > epoch
    held = all(feed.frozen for feed in ingest.partitions if feed.network == network)
    return freeze is not None and freeze.epoch >= epoch and held


def wait_until_frozen_or_resumed(
    ask: Callable[[], tuple[int, Sequence[IngestStatus]]],
    network: str,
    command: str,
    epoch: int,
    timeout_seconds: float,
) -> None:
    """Return once all do as they were told; `ask` says how many processes there are, and what those say that answer.

    Raise `CloutError` after the time.
    """

    def look() -> tuple[None, str]:
        try:
            count, answers = ask()
        except CloutError as error:
            return None, error.error
        left = count - sum(obeys(ingest, network, command, epoch) for ingest in answers)
        return None, f"{left} of {count} ingest processes have not said that they did it" if left else ""

    hint = (
        "every ingest process reads it by itself, also one that starts later: nothing more has to be ordered; "
        "`clout status` tells what each of them does"
    )
    wait_until_obeyed(look, timeout_seconds, hint)
