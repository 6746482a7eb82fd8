"""Faults in a running system: a feed's go as orders to the demonstration's feeder, a worker's over its own HTTP.

Only a demonstration is harmed without being asked twice. Its supervisor holds the lock of its data directory, and it
leaves a mark there: without both, no demonstration runs. Asked twice or not, nothing is harmed that does not take part:
workers refuse unless they were started with `FAULTS_VARIABLE`, and real collectors take no orders.
"""

import fcntl
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import httpx

from clout.config import Settings
from clout.demo import DIRECTORY
from clout.demo.orders import Mailbox, Order, Report
from clout.supervisor import LOCK_FILE
from streams.errors import CloutError
from streams.process import FAULTS_VARIABLE

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
OF_A_PARTITION: Final = "lost-partition"
"""The one that is about a partition."""
HTTP_SECONDS: Final = 5.0
FAULTS_PATH: Final = "/v1/faults"
_NEW_DEMO: Final = "start `clout demo --seconds 300` in another terminal"
_PERMITTING: Final = (
    f"{_NEW_DEMO}; or, where wrong scores hurt nobody, start workers that let faults be planted:"
    f" `{FAULTS_VARIABLE}=1 clout up`, then `clout inject` with --i-know"
)


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


def run_directory(settings: Settings, fault: str, *, whatever: bool) -> Path:
    """Return where the running demonstration of this data directory has its run files.

    `whatever` takes those of the data directory itself where no demonstration runs, whoever works there. Raises
    `CloutError` when no demonstration runs; it hints at `whatever` only if the fault can be had by it.
    """
    own = settings.data_dir / "run"
    for directory in (settings.data_dir / DIRECTORY / "run", own):
        if (directory / MARK_FILE).exists() and _is_held(directory / LOCK_FILE):
            return directory
    if whatever:
        return own
    detail, hint = f"faults are for `clout demo`, and none runs on {settings.data_dir}", _NEW_DEMO
    if _is_held(settings.data_dir / DIRECTORY / "run" / LOCK_FILE):
        detail, hint = f"the one on {settings.data_dir} is starting or ending", "try again when it shows scores"
    elif fault in WORKER_FAULTS and _lets_plant(own, fault):
        hint += "; --i-know harms the workers that run here, which let faults be planted"
    raise CloutError("no demonstration runs here", detail=detail, hint=hint)


def networks_of(run_directory: Path) -> list[str]:
    """Return the networks of the feed that takes orders there; `CloutError` when none does."""
    mark = _read_json(run_directory / MARK_FILE)
    if mark is None:
        raise CloutError(
            "no feeder takes orders here",
            detail="a feed's fault is carried out by the feeder that makes its events up, as that of `clout demo`;"
            f" real collectors take no orders, and there is no {MARK_FILE} in {run_directory}",
            hint=_NEW_DEMO,
        )
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
        try:
            self._wait_until_taken()
        except BaseException:
            # Ctrl-C too: an order that stays is carried out.
            self._mailbox.withdraw(self.order)
            self._mailbox.forget(self.order)
            raise

    def _wait_until_taken(self) -> None:
        report: Report | None = _within(TAKEN_SECONDS_MAX, lambda: self._mailbox.report(self.order))
        if report is None:
            raise CloutError(
                "nobody took the order",
                detail="the feeder of a demonstration looks for orders several times a second, and none did here",
                hint="the population may have said all it had to say: start another demonstration",
            )
        if report.behind is not None:
            other = report.behind
            raise CloutError(
                f"{other.network} has a fault already: {other.fault}",
                detail=f"it goes on for another {max(0.0, other.until_seconds - time.time()):.0f} s,"
                " and a network has one at a time",
                hint="wait until it is over, end its `clout inject` with Ctrl-C, or take another network",
            )

    def end(self) -> Report | None:
        """End the fault, now if it is not over, and return what the feeder says of it; None if it is gone."""
        self._mailbox.withdraw(self.order)

        def ended() -> Report | None:
            report = self._mailbox.report(self.order)
            return report if report is not None and report.ended else None

        report: Report | None = _within(ENDED_SECONDS_MAX, ended)
        self._mailbox.forget(self.order)
        return report


class WorkerFault:
    """A fault planted in all workers of a machine, until these end; their supervisor starts them again."""

    def __init__(
        self, run_directory: Path, fault: str, *, audit: bool, partition: int, seconds: float | None = None
    ) -> None:
        """Prepare; nothing is planted yet. After the seconds the workers end by themselves, if nobody has ended it."""
        self._run_directory = run_directory
        self._plant = {"fault": fault, "audit": audit, "partition": partition, "seconds": seconds, "id": uuid4().hex}
        self._pids: dict[str, int] = {}

    def begin(self) -> list[str]:
        """Plant it, and return the workers that have it now; `CloutError` when one refuses or none runs."""
        workers = worker_addresses(self._run_directory)
        if not workers:
            raise CloutError(
                "no worker runs here",
                detail=f"none has said its address in {self._run_directory}",
                hint=f"one that is being started again is back in seconds; else {_PERMITTING}",
            )
        # All are asked before one is harmed.
        self._pids = {worker[0]: self._planted_in(worker, dry_run=True) for worker in workers}
        if self._plant["fault"] == OF_A_PARTITION:
            _require_owner(self._plant["partition"], workers)
        try:
            for worker in workers:
                self._planted_in(worker, dry_run=False)
        except BaseException:
            self.ask_to_end()
            raise
        return list(self._pids)

    def _planted_in(self, worker: tuple[str, str], *, dry_run: bool) -> int:
        """Plant it in a worker, or see that it would let that be; return its process."""
        name, address = worker
        answer = _asked("POST", address, FAULTS_PATH, json={**self._plant, "dry_run": dry_run})
        if not answer.is_success:
            detail, hint = _refusal(answer)
            raise CloutError(f"{name} does not let {self._plant['fault']} be planted", detail=detail, hint=hint)
        return int(answer.json()["pid"])

    def end(self) -> bool:
        """End the workers that have it, and return whether their supervisor was seen to start others."""
        self.ask_to_end()
        return bool(_within(ENDED_SECONDS_MAX, self.is_over))

    def ask_to_end(self) -> None:
        """End the workers that have it, and none that has another's."""
        for name, address in worker_addresses(self._run_directory):
            if name in self._pids:
                # One that does not answer is ending, or does so when the fault's time is over.
                with suppress(CloutError):
                    _asked("DELETE", address, FAULTS_PATH, params={"id": self._plant["id"]})

    def is_over(self) -> bool:
        """Return whether other processes have taken the place of all that had it."""
        return all(self._is_new(name) for name in self._pids)

    def _is_new(self, name: str) -> bool:
        found = _read_json(self._run_directory / f"{name}.json")
        return found is not None and found["pid"] != self._pids[name]


def end_where_standing(run_directory: Path) -> None:
    """End the workers of a demonstration whose partitions stand still: a fault may be in them that nobody ends."""
    for _, address in worker_addresses(run_directory):
        if any(task["state"] == "stopped" for task in _partitions_of(address)):
            _asked("DELETE", address, FAULTS_PATH)


def worker_addresses(run_directory: Path) -> list[tuple[str, str]]:
    """Return name and address of the workers that a supervisor runs."""
    found = ((path.stem, _read_json(path)) for path in sorted(run_directory.glob("score-*.json")))
    return [(name, str(of["address"])) for name, of in found if of is not None]


def _require_owner(partition: object, workers: Sequence[tuple[str, str]]) -> None:
    """Refuse a partition that is none of any worker's right now."""
    owned = {name: [task["partition"] for task in _partitions_of(address)] for name, address in workers}
    if not any(partition in of for of in owned.values()):
        raise CloutError(
            f"no worker has partition {partition} right now",
            detail="; ".join(f"{name} has {', '.join(map(str, of)) or 'none'}" for name, of in owned.items()),
            hint="partitions go from worker to worker when one comes or goes: try again, or take another partition",
        )


def _lets_plant(run_directory: Path, fault: str) -> bool:
    """Return whether workers run there that let a fault be planted, if they have none yet."""
    ask = {"fault": fault, "dry_run": True}
    try:
        answers = [_asked("POST", address, FAULTS_PATH, json=ask) for _, address in worker_addresses(run_directory)]
    except CloutError:
        return False
    return bool(answers) and all(answer.is_success or answer.status_code == httpx.codes.CONFLICT for answer in answers)


def _refusal(answer: httpx.Response) -> tuple[str, str]:
    """Return why a worker refuses, and what to do about it."""
    try:
        said = answer.json()
        return said["error"], said["hint"] or _PERMITTING
    except (ValueError, KeyError, TypeError):
        # Something else has taken the port of a worker that is gone.
        return f"it answers {answer.status_code}", _PERMITTING


def _partitions_of(address: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = _asked("GET", address, "/v1/status").json()["partitions"]
    return found


def _asked(method: str, address: str, path: str, **content: Any) -> httpx.Response:
    try:
        return httpx.request(method, f"http://{address}{path}", timeout=HTTP_SECONDS, **content)
    except httpx.HTTPError as error:
        raise CloutError(
            f"the worker at {address} does not answer",
            detail=str(error),
            hint="it may be starting or ending: see `clout status`, and try again",
        ) from error


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
