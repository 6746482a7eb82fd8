"""Faults in a running system: a feed's go as orders to the demonstration's feeder, a worker's over its own HTTP.

Only a demonstration is harmed without being asked twice. Its supervisor holds the lock of its data directory, and it
leaves a mark there: without both, no demonstration runs.
"""

import fcntl
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import httpx

from clout.config import Settings
from clout.demo.orders import Mailbox, Order, Report
from clout.supervisor import LOCK_FILE
from streams.errors import CloutError

DEMO: Final = "demo"
"""The demonstration's directory in the data directory."""
MARK_FILE: Final = "demo.json"
TAKEN_SECONDS_MAX: Final = 5.0
ENDED_SECONDS_MAX: Final = 10.0
NAP_SECONDS: Final = 0.1
WORKER_FAULTS: Final[Mapping[str, str]] = {
    "floor": "every score that is taken is 1",
    "lost-partition": "a partition loses its state, and its restore brings nothing",
    "bad-model": "the fold goes by other parameters than the state was made with",
    "mass-fall": "everyone's sums are a quarter of what they were, as no law of a batch can tell",
}
"""What happens with each fault of `streams.planting`, in words."""
HTTP_SECONDS: Final = 5.0


@contextmanager
def marked(run_directory: Path, networks: Sequence[str]) -> Iterator[None]:
    """Leave the mark of a demonstration on these networks while it goes on, and no orders from before or after."""
    run_directory.mkdir(parents=True, exist_ok=True)
    mailbox, mark = Mailbox(run_directory), run_directory / MARK_FILE
    mailbox.clear()
    mark.write_text(json.dumps({"networks": list(networks)}), encoding="utf-8")
    try:
        yield
    finally:
        mark.unlink(missing_ok=True)
        mailbox.clear()


def run_directory(settings: Settings, *, whatever: bool) -> Path:
    """Return where the running demonstration of this data directory has its run files.

    `whatever` takes the data directory as it is, whoever works in it. Raises `CloutError` when no demonstration runs.
    """
    for directory in (settings.data_dir / DEMO / "run", settings.data_dir / "run"):
        if (directory / MARK_FILE).exists() and _is_held(directory / LOCK_FILE):
            return directory
    if whatever:
        return settings.data_dir / "run"
    raise CloutError(
        "no demonstration runs here",
        detail=f"faults are for `clout demo`, and none runs on {settings.data_dir}",
        hint="start `clout demo --seconds 300` in another terminal; --i-know harms what is no demonstration",
    )


def networks_of(run_directory: Path) -> list[str]:
    """Return the networks of the feed that takes orders there; `CloutError` when none does."""
    mark = _read_json(run_directory / MARK_FILE)
    if mark is None:
        raise CloutError("no feeder takes orders here", detail=f"there is no {MARK_FILE} in {run_directory}")
    return [str(network) for network in mark["networks"]]


def _is_held(lock: Path) -> bool:
    try:
        with lock.open("r") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


class FeedOrder:
    """A fault of a feed, from when it is ordered until the feeder says that it is over."""

    def __init__(
        self,
        run_directory: Path,
        fault: str,
        network: str,
        seconds: float,
        *,
        share: float | None = None,
        seed: int = 1,
    ) -> None:
        """Prepare; nothing is ordered yet. Raises `CloutError` for a network that the feeder does not play."""
        networks = networks_of(run_directory)
        if network not in networks:
            raise CloutError(
                f"{network!r} is none of the demonstration's networks", hint=f"take one of {', '.join(networks)}"
            )
        self._mailbox = Mailbox(run_directory)
        self.order = Order(
            id=uuid4().hex, fault=fault, network=network, until_seconds=time.time() + seconds, share=share, seed=seed
        )

    def begin(self) -> None:
        """Give the order and return when the feeder has taken it; `CloutError` when it does not."""
        self._mailbox.place(self.order)
        if _within(TAKEN_SECONDS_MAX, lambda: self._mailbox.report(self.order)) is None:
            self._mailbox.withdraw()
            raise CloutError(
                "nobody took the order",
                detail="the feeder of a demonstration looks for orders several times a second, and none did here",
                hint="the population may have said all it had to say: start another demonstration",
            )

    def end(self) -> Report | None:
        """End the fault, now if it is not over, and return what the feeder says of it; None if it is gone."""
        self._mailbox.withdraw()

        def ended() -> Report | None:
            report = self._mailbox.report(self.order)
            return report if report is not None and report.ended else None

        report: Report | None = _within(ENDED_SECONDS_MAX, ended)
        return report


class WorkerFault:
    """A fault planted in all workers of a machine, until these end; their supervisor starts them again."""

    def __init__(self, run_directory: Path, fault: str, *, audit: bool, partition: int) -> None:
        """Prepare; nothing is planted yet."""
        self._run_directory = run_directory
        self._plant = {"fault": fault, "audit": audit, "partition": partition}
        self._pids: dict[str, int] = {}

    def begin(self) -> list[str]:
        """Plant it, and return the workers that have it now; `CloutError` when one refuses or none runs."""
        for name, address in worker_addresses(self._run_directory):
            answer = _asked("POST", address, self._plant)
            if not answer.is_success:
                raise CloutError(
                    f"{name} does not let a fault be planted",
                    detail=str(answer.json().get("error", answer.text)),
                    hint="only workers that `clout demo` started do",
                )
            self._pids[name] = answer.json()["pid"]
        if not self._pids:
            raise CloutError("no worker runs here", hint=f"see {self._run_directory}/score-0.json")
        return list(self._pids)

    def end(self) -> None:
        """End the workers that have it, and return when their supervisor has started others."""
        self.ask_to_end()
        _within(ENDED_SECONDS_MAX, self.is_over)

    def ask_to_end(self) -> None:
        """End the workers that have it."""
        for name, address in worker_addresses(self._run_directory):
            if name in self._pids:
                _asked("DELETE", address, None)

    def is_over(self) -> bool:
        """Return whether other processes have taken the place of all that had it."""
        return all(self._is_new(name) for name in self._pids)

    def _is_new(self, name: str) -> bool:
        found = _read_json(self._run_directory / f"{name}.json")
        return found is not None and found["pid"] != self._pids[name]


def end_where_standing(run_directory: Path) -> None:
    """End the workers of a demonstration whose partitions stand still: a fault may be in them that nobody ends."""
    for _, address in worker_addresses(run_directory):
        answer = httpx.get(f"http://{address}/v1/status", timeout=HTTP_SECONDS)
        if any(task["state"] == "stopped" for task in answer.json()["partitions"]):
            _asked("DELETE", address, None)


def worker_addresses(run_directory: Path) -> list[tuple[str, str]]:
    """Return name and address of the workers that a supervisor runs."""
    found = ((path.stem, _read_json(path)) for path in sorted(run_directory.glob("score-*.json")))
    return [(name, str(of["address"])) for name, of in found if of is not None]


def _asked(method: str, address: str, content: object) -> httpx.Response:
    try:
        return httpx.request(method, f"http://{address}/v1/faults", json=content, timeout=HTTP_SECONDS)
    except httpx.HTTPError as error:
        raise CloutError(f"the worker at {address} does not answer", detail=str(error), hint="try again") from error


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return found


def _within(seconds: float, ask: Callable[[], Any]) -> Any:
    """Ask again and again; return the first answer that is one, or None after the time."""
    deadline = time.monotonic() + seconds
    while not (answer := ask()):
        if time.monotonic() > deadline:
            return None
        time.sleep(NAP_SECONDS)
    return answer
