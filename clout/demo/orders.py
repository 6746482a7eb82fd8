"""Orders to the demonstration's feeder: small files in its `run` directory, since the one who gives them may be gone.

`clout inject` writes an order, the feeder looks for orders several times a second and says of each what has become of
it. Each has files of its own, so that nobody ends another's. An order ends at its time, also when nobody withdraws it.
"""

import time
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from streams.errors import CloutError

ORDERS_MAX: Final = 8
"""Orders at a time: the feeder opens each ten times a second."""
ORDER_PREFIX: Final = "feed-order-"
REPORT_PREFIX: Final = "feed-report-"

_Message = TypeVar("_Message")


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A fault of a feed that is to be carried out."""

    id: str
    fault: str
    network: str
    until_seconds: float
    """When it ends, by the wall clock (s)."""
    share: float | None = None
    """Of the events that it meets; None: as the fault has it."""
    seed: int = 1


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What the feeder has done with an order."""

    id: str
    events: int = 0
    """Events of the network whose turn came while the fault went on."""
    sent: int = 0
    """Records that were sent instead, what was held back among them."""
    ended: bool = False
    behind: Order | None = None
    """The order that the network had already, and for which this one was refused."""


class Mailbox:
    """A file an order, and one for its report; either side writes one and reads the other."""

    def __init__(self, run_directory: Path) -> None:
        """Say where they are."""
        self._directory = run_directory

    def place(self, order: Order) -> None:
        """Give an order; `CloutError` when there are too many."""
        others = [of for of in self.orders() if of.until_seconds > time.time()]
        if len(others) >= ORDERS_MAX:
            raise CloutError(
                f"{len(others)} faults of feeds are ordered already, and more are not taken",
                detail=", ".join(f"{of.fault} on {of.network}" for of in others),
                hint="wait until one is over, or end its `clout inject` with Ctrl-C",
            )
        _write(self._order(order.id), order)

    def withdraw(self, order: Order) -> None:
        """End the fault before its time; others stay."""
        self._order(order.id).unlink(missing_ok=True)

    def orders(self) -> list[Order]:
        """Return the orders there are."""
        found = (_read(path, Order) for path in sorted(self._directory.glob(f"{ORDER_PREFIX}*.json")))
        return [order for order in found if order is not None]

    def tell(self, report: Report) -> None:
        """Say what has become of an order."""
        _write(self._report(report.id), report)

    def report(self, order: Order) -> Report | None:
        """Return what has become of an order; None as long as nobody has taken it."""
        return _read(self._report(order.id), Report)

    def forget(self, order: Order) -> None:
        """Remove what was said of an order."""
        self._report(order.id).unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove what earlier ones have left."""
        for prefix in (ORDER_PREFIX, REPORT_PREFIX):
            for path in self._directory.glob(f"{prefix}*"):
                path.unlink(missing_ok=True)

    def _order(self, number: str) -> Path:
        return self._directory / f"{ORDER_PREFIX}{number}.json"

    def _report(self, number: str) -> Path:
        return self._directory / f"{REPORT_PREFIX}{number}.json"


def _write(path: Path, message: Order | Report) -> None:
    draft = path.with_suffix(".new")
    draft.write_bytes(msgspec.json.encode(message))
    draft.replace(path)


def _read(path: Path, kind: type[_Message]) -> _Message | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
