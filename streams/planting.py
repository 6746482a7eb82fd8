"""Faults planted in a worker, so that what stops them is seen to work: in the demonstration and in tests alone.

A fault takes the place of a function that the fold or the opening of a partition calls, for the whole process: as long
as none is planted nothing is looked at for them. It ends with the process, which has one at a time: a worker that is
started again knows nothing of it and resumes from its last commit. What each leaves behind:

- `floor`: with the audit nothing, the partitions go on from the record at which they stopped. Without it scores of 1
  were published; the sums are whole, and whoever is credited next, or fades, is published rightly again.
- `bad-model`: the same.
- `lost-partition`: nothing, the partition is restored from its changelog.
- `mass-fall`: the sums of whoever was touched are a quarter of what they were, and stay so.
"""

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np
import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

import streams.task
from scorer.model import Parameters
from scorer.target_state import decode_targets, encode_targets
from scorer.targets import Scored, score_targets
from streams import changelog
from streams.changelog import Facts
from streams.intake import Accepted
from streams.process import FAULTS_VARIABLE
from streams.stages import targets as stage
from streams.store import Store
from streams.task import Task, TaskLostError

FALLEN_SHARE: Final = 0.25
"""What a mass fall leaves of everyone's sums."""
HASTE: Final = 0.5
"""How much sooner things fade by the bad model."""
_UNUSABLE: Final = 400
_FORBIDDEN: Final = 403
_NOT_FOUND: Final = 404
_TAKEN: Final = 409

_log = structlog.get_logger(__name__)


class Plant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `POST /v1/faults` is asked to plant."""

    fault: str
    audit: bool = True
    """Whether batches are audited as ever."""
    partition: int = 0
    """Of a fault that is about one."""
    seconds: float | None = None
    """After which the process ends by itself, since whoever planted the fault may be gone; None: never."""
    id: str = ""
    """By which it can be ended, and no other."""
    dry_run: bool = False
    """Whether it is only asked if the fault could be planted."""


Exchange = Callable[[object, str, object], None]
"""Puts something in the place of an attribute: `setattr`, or a test's `monkeypatch.setattr`."""


def scored_otherwise(exchange: Exchange, change: Callable[[Any], Any]) -> None:
    """Let the targets stage take other scores, as a column, than the sums give."""

    def wrong(*args: Any, **kwargs: Any) -> Scored:
        scored = score_targets(*args, **kwargs)
        scored.score[:] = change(scored.score)
        return scored

    exchange(stage, "score_targets", wrong)


def everyone_to_1(exchange: Exchange, _plant: Plant) -> None:
    """Let every score be 1."""
    scored_otherwise(exchange, np.ones_like)


def without_audit(exchange: Exchange) -> None:
    """Let no law be looked at."""

    def nothing(*_: object, **__: object) -> list[Any]:
        return []

    exchange(streams.task, "broken_laws", nothing)


def faded_by_another_model(exchange: Exchange, _plant: Plant) -> None:
    """Let the fold go by other parameters than the state was made with."""
    right = stage.fold

    def wrong(*args: Any, parameters: Parameters, **kwargs: Any) -> stage.TargetsOutcome:
        other = parameters._replace(half_life_ms=parameters.half_life_ms * HASTE)
        return right(*args, parameters=other, **kwargs)

    exchange(stage, "fold", wrong)


def lost(exchange: Exchange, plant: Plant) -> None:
    """Lose the local copy of a partition, and let its restore bring nothing."""
    restore, commit, losing = changelog.restore, Task.commit, threading.Event()

    def nothing(kafka: Any, store: Store, facts: Facts, **options: Any) -> int | None:
        return 0 if facts.partition == plant.partition else restore(kafka, store, facts, **options)

    def torn_away(task: Task, batch: Sequence[Accepted]) -> None:
        if task.partition != plant.partition or losing.is_set() or task.store is None:
            commit(task, batch)
            return
        losing.set()
        task.store.destroy()
        raise TaskLostError("a fault was planted: the local copy is gone")

    exchange(changelog, "restore", nothing)
    exchange(Task, "commit", torn_away)


def everyone_falls(exchange: Exchange, _plant: Plant) -> None:
    """Let everyone's sums be a part of what they were, from when they are next read: no law of a batch can tell."""
    right, fallen = stage.fold, set[bytes]()

    def wrong(
        records: Any, sources: Any, state: Any, *, read: Callable[[list[bytes]], list[bytes | None]], **options: Any
    ) -> stage.TargetsOutcome:
        def lowered(users: list[bytes]) -> list[bytes | None]:
            rows = read(users)
            fresh = np.array([row is not None and user not in fallen for user, row in zip(users, rows, strict=True)])
            heads, entries, contributors = decode_targets(rows, len(state.networks))
            for name in ("reach", "amplification", "network"):
                entries[name][fresh] *= FALLEN_SHARE
            fallen.update(users)
            encoded = encode_targets(heads, entries, contributors)
            return [new if row is not None else None for new, row in zip(encoded, rows, strict=True)]

        return right(records, sources, state, read=lowered, **options)

    exchange(stage, "fold", wrong)


FAULTS: Final[Mapping[str, Callable[[Exchange, Plant], None]]] = {
    "floor": everyone_to_1,
    "lost-partition": lost,
    "bad-model": faded_by_another_model,
    "mass-fall": everyone_falls,
}
"""Who plants each fault."""


def plant_fault(plant: Plant, exchange: Exchange = setattr) -> None:
    """Plant a fault in this process. Raises `KeyError` when there is none of that name."""
    put = FAULTS[plant.fault]
    if not plant.audit:
        without_audit(exchange)
    put(exchange, plant)


class _Planted:
    """What is planted in this process, if anything is."""

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions
        self._plant: Plant | None = None
        self._ends_at: float | None = None
        """By the event loop's clock (s)."""
        self._is_ending = False

    def refusal(self, plant: Plant) -> Response | None:
        """Return why a fault cannot be planted; None when it can."""
        if plant.fault not in FAULTS:
            return _refused(_UNUSABLE, f"no such fault: {plant.fault!r}", f"give one of {', '.join(FAULTS)}")
        if not 0 <= plant.partition < self._partitions:
            last = self._partitions - 1
            return _refused(
                _UNUSABLE,
                f"there is no partition {plant.partition}: they are 0 to {last}",
                f"give one of 0 to {last} as --partition",
            )
        if self._plant is not None:
            more = "until the worker is started again"
            if self._ends_at is not None:
                more = f"for another {max(0.0, self._ends_at - asyncio.get_running_loop().time()):.0f} s"
            return _refused(
                _TAKEN,
                f"{self._plant.fault} is planted already, {more}",
                "wait until it is over, or end the `clout inject` that planted it with Ctrl-C",
            )
        return None

    def plant(self, plant: Plant) -> None:
        """Plant a fault that is not refused."""
        plant_fault(plant)
        self._plant = plant
        _log.warning("a fault was planted", fault=plant.fault, audit=plant.audit, partition=plant.partition)
        if plant.seconds is not None:
            loop = asyncio.get_running_loop()
            self._ends_at = loop.time() + plant.seconds
            loop.call_later(plant.seconds, self.end)

    def has(self, number: str) -> bool:
        """Return whether it is the fault of this id that is planted."""
        return self._plant is not None and self._plant.id == number

    def end(self) -> None:
        """End the process, as a supervisor does: the batch in hand is finished, and the next knows of no fault."""
        if self._is_ending:
            return
        self._is_ending = True
        fault = self._plant.fault if self._plant is not None else None
        _log.warning("the planted fault ends, and with it this process", fault=fault)
        os.kill(os.getpid(), signal.SIGTERM)


def fault_routes(partitions: int, environment: Mapping[str, str] = os.environ) -> list[Route]:
    """Return the routes by which a fault is planted and ended; where that is not permitted these refuse."""
    permitted = environment.get(FAULTS_VARIABLE) == "1"
    planted = _Planted(partitions)

    async def change(request: Request) -> Response:
        if not permitted:
            _log.warning("a fault was to be planted, and is refused: this worker is of no demonstration and no test")
            return _refused(_FORBIDDEN, f"it was started without {FAULTS_VARIABLE}=1 in its environment")
        if request.method == "DELETE":
            number = request.query_params.get("id")
            if number is not None and not planted.has(number):
                return _refused(_NOT_FOUND, "that fault is not planted here")
            planted.end()
            return JSONResponse({"pid": os.getpid()})
        try:
            plant = msgspec.json.decode(await request.body(), type=Plant)
        except msgspec.DecodeError as error:
            return _refused(_UNUSABLE, f"no such fault: {error}", "give what `streams.planting.Plant` has")
        refusal = planted.refusal(plant)
        if refusal is not None:
            return refusal
        if not plant.dry_run:
            planted.plant(plant)
        return JSONResponse({"pid": os.getpid()})

    return [Route("/v1/faults", change, methods=["POST", "DELETE"])]


def _refused(status: int, error: str, hint: str = "") -> Response:
    return JSONResponse({"error": error, "hint": hint}, status)
