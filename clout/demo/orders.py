"""Orders to the demonstration's feeder: small files in its `run` directory, since the one who gives them may be gone.

`clout inject` writes an order, the feeder looks for it several times a second and says in a file of its own what it has
taken and what came of it. An order ends at its time, also when nobody withdraws it.
"""

from pathlib import Path
from typing import Final, TypeVar

import msgspec

ORDER_FILE: Final = "feed-order.json"
REPORT_FILE: Final = "feed-report.json"

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


class Mailbox:
    """The two files; either side writes one and reads the other."""

    def __init__(self, run_directory: Path) -> None:
        """Say where they are."""
        self._order, self._report = run_directory / ORDER_FILE, run_directory / REPORT_FILE

    def place(self, order: Order) -> None:
        """Give an order; it takes the place of the one before."""
        _write(self._order, order)

    def withdraw(self) -> None:
        """End the fault before its time."""
        self._order.unlink(missing_ok=True)

    def order(self) -> Order | None:
        """Return the order there is."""
        return _read(self._order, Order)

    def tell(self, report: Report) -> None:
        """Say what has become of an order."""
        _write(self._report, report)

    def report(self, order: Order) -> Report | None:
        """Return what has become of an order; None as long as nobody has taken it."""
        report = _read(self._report, Report)
        return report if report is not None and report.id == order.id else None

    def clear(self) -> None:
        """Remove what earlier ones have left."""
        self._order.unlink(missing_ok=True)
        self._report.unlink(missing_ok=True)


def _write(path: Path, message: Order | Report) -> None:
    draft = path.with_suffix(".new")
    draft.write_bytes(msgspec.json.encode(message))
    draft.replace(path)


def _read(path: Path, kind: type[_Message]) -> _Message | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
