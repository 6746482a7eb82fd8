"""Every fault that can be injected, and data without one: who noticed it, how soon, and what was published.

`python -m tests.drills.faults` prints a row a fault and network, and a row of each clean run. Everything is real:
broker, roles, guard, a partner's webhook, Prometheus with our rules, and Alertmanager.
"""

import argparse
import secrets
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Semaphore
from typing import Final

from clout.broker import LocalBroker
from clout.machine import broker_at_hand
from streams.settings import KafkaSettings
from tests.drills.clean_drill import HIGGS_PATH, CleanData, HiggsFile, ThreeWeeks, run_clean
from tests.drills.fault_cases import CASES, Case
from tests.drills.fault_drill import FaultDrill
from tests.drills.rows import CleanRow, Row, heading

PLACES: Final = 7
"""Installations at a time: most of a run is waiting for alerts to clear."""
HISTORY_PLACES: Final = 5
"""Of one whose weeks pass as fast as the machine can: two side by side take much longer than one after the other. What
comes after the weeks takes one place, like everything else."""

Say = Callable[[str], None]


class Places:
    """Room for so many installations at a time."""

    def __init__(self, places: int) -> None:
        self._number = places
        self._free = Semaphore(places)

    def take(self, what: Case | CleanData) -> "Place":
        """Wait until there is room for this, and return it."""
        wanted = HISTORY_PLACES if isinstance(what, Case) and what.has_history else 1
        taken = min(wanted, self._number)
        for _ in range(taken):
            self._free.acquire()
        return Place(self._free, taken)


class Place:
    """Where one installation runs."""

    def __init__(self, free: Semaphore, taken: int) -> None:
        self._free, self._taken = free, taken

    def keep(self, places: int) -> None:
        """Leave all but so many to others."""
        if self._taken > places:
            self._free.release(self._taken - places)
            self._taken = places


def run(what: Case | CleanData, broker: str, directory: Path, say: Say, place: Place) -> Row | CleanRow:
    """Go through one fault, or one clean run, in an installation of its own."""
    kafka = KafkaSettings(broker=broker, prefix=f"d{secrets.token_hex(4)}-")
    try:
        if isinstance(what, Case):
            row: Row | CleanRow = FaultDrill(what, kafka, directory).run(lambda: place.keep(1))
        else:
            row = run_clean(what, kafka, directory)
    finally:
        place.keep(0)
    say(row.line())
    return row


def run_all(
    which: Sequence[Case | CleanData], broker: str, directory: Path, say: Say, places: int = PLACES
) -> list[Row | CleanRow]:
    """Go through all of these, as many at a time as there are places, and say a row of each as it is done."""
    say(heading())
    room = Places(places)
    with ThreadPoolExecutor(places) as pool:
        # In their order: each has its place before the next one asks.
        runs = [
            pool.submit(run, what, broker, directory / str(number), say, room.take(what))
            for number, what in enumerate(which)
        ]
        return [of.result() for of in runs]


def everything() -> list[Case | CleanData]:
    """Return all faults and the clean runs, in their order; the real interactions only where they are."""
    higgs = [HiggsFile(HIGGS_PATH)] if HIGGS_PATH.exists() else []
    histories = [case for case in CASES if case.has_history]
    return [*higgs, *histories, ThreeWeeks(), *(case for case in CASES if not case.has_history)]


@contextmanager
def broker_for_long(directory: Path) -> Iterator[str]:
    """Run a broker that Java compiles fully: over a quarter of an hour that saves more than it costs."""
    with broker_at_hand(KafkaSettings(), LocalBroker(directory, port=None, heap_mb=512)) as kafka:
        yield kafka.broker


def main() -> int:
    """Run as the command line says; end with 1 if something wrong was published that must not be."""
    parser = argparse.ArgumentParser(description="Inject every fault; print who noticed, how soon, and what was wrong.")
    parser.add_argument("names", nargs="*", help="only these, for instance stall floor; none are clean runs")
    parser.add_argument("--network", help="only faults of this network's feed, and of workers")
    parser.add_argument("--places", type=int, default=PLACES, help="installations at a time")
    arguments = parser.parse_args()
    chosen = [what for what in everything() if _is_chosen(what, arguments.names, arguments.network)]
    with tempfile.TemporaryDirectory(prefix="clout-faults-") as name, broker_for_long(Path(name) / "kafka") as broker:
        rows = run_all(chosen, broker, Path(name), _say, arguments.places)
    faults = [row for row in rows if isinstance(row, Row)]
    return 1 if any(row.case.must_be_harmless and row.wrong_changes for row in faults) else 0


def _is_chosen(what: Case | CleanData, names: Sequence[str], network: str | None) -> bool:
    if not isinstance(what, Case):
        return what.name in names or not (names or network)
    return (not names or what.fault in names) and (not network or what.network in {"", network})


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
