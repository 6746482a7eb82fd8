"""Faults planted in a worker, so that what stops them is seen to work: in the demonstration and in tests alone.

A fault takes the place of a function that the fold or the opening of a partition calls, for the whole process: as long
as none is planted nothing is looked at for them. It ends with the process: a worker that is started again knows nothing
of it and resumes from its last commit. What each leaves behind:

- `floor`: with the audit nothing, the partitions go on from the record at which they stopped. Without it scores of 1
  were published; the sums are whole, and whoever is credited next, or fades, is published rightly again.
- `bad-model`: the same.
- `lost-partition`: nothing, the partition is restored from its changelog.
- `mass-fall`: the sums of whoever was touched are a quarter of what they were, and stay so.
"""

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
_FORBIDDEN: Final = 403
_UNUSABLE: Final = 400

_log = structlog.get_logger(__name__)


class Plant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `POST /v1/faults` is asked to plant."""

    fault: str
    audit: bool = True
    """Whether batches are audited as ever."""
    partition: int = 0
    """Of a fault that is about one."""


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


def fault_routes(environment: Mapping[str, str] = os.environ) -> list[Route]:
    """Return the routes by which faults are planted and ended; where they are not permitted these refuse."""
    permitted = environment.get(FAULTS_VARIABLE) == "1"
    planted: list[Plant] = []

    async def change(request: Request) -> Response:
        if not permitted:
            _log.warning("a fault was to be planted, and is refused: this worker is of no demonstration and no test")
            return JSONResponse({"error": "no faults can be planted here: it is no demonstration"}, _FORBIDDEN)
        if request.method == "DELETE":
            _log.warning("planted faults end, and with them this process", faults=[plant.fault for plant in planted])
            # As the supervisor's: the batch in hand is finished, and the next process knows nothing of it.
            os.kill(os.getpid(), signal.SIGTERM)
            return JSONResponse({"pid": os.getpid()})
        try:
            plant = msgspec.json.decode(await request.body(), type=Plant)
            plant_fault(plant)
        except (msgspec.DecodeError, KeyError) as error:
            return JSONResponse({"error": f"no such fault: {error}"}, _UNUSABLE)
        planted.append(plant)
        _log.warning("a fault was planted", fault=plant.fault, audit=plant.audit, partition=plant.partition)
        return JSONResponse({"pid": os.getpid()})

    return [Route("/v1/faults", change, methods=["POST", "DELETE"])]
