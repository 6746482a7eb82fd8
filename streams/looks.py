"""What a worker answers to an audit: all users of a partition as of one commit, as they are stored."""

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from schemas.look import LookHead, LookPiece, encode_frame
from scorer.model import Parameters
from scorer.target_state import decode_targets
from scorer.targets import score_targets
from scorer.timers import clock_column, evaluation_times
from streams.frozen import Frozen, FrozenError
from streams.store import Store
from streams.task import Task
from streams.task_state import TaskState, decode

_PIECE_ROWS: Final = 4_000


def look_routes(tasks: Mapping[int, Task], partitions: int) -> list[Route]:
    """Return the route that lets an audit look at the users of these tasks."""

    def look(request: Request) -> Response:
        text = request.query_params.get("partition", "")
        if not text.isdigit() or int(text) >= partitions:
            return JSONResponse({"error": f"partition must be 0 to {partitions - 1}, not {text!r}"}, 400)
        task = tasks.get(int(text))
        store = task.store if task is not None else None
        if task is None or store is None:
            return JSONResponse({"error": f"partition {text} is not restored on this worker"}, 421)
        due_left = task.has_due
        try:
            frozen = store.freeze()
        except FrozenError as error:
            return JSONResponse({"error": f"partition {text}: {error.error}"}, 503)
        # A commit may come between, so before and after.
        due_left = due_left or task.has_due
        return StreamingResponse(_frames(task, store, frozen, due_left=due_left), media_type="application/octet-stream")

    return [Route("/v1/look", look)]


def _frames(task: Task, store: Store, frozen: Frozen, *, due_left: bool) -> Iterator[bytes]:
    """Yield the frames of a look; break off when the partition closes meanwhile."""
    try:
        state = decode(frozen.meta)
        yield encode_frame(_head(task, state, frozen, due_left=due_left))
        while rows := frozen.next_rows(_PIECE_ROWS):
            yield encode_frame(_piece(rows, state, task.parameters))
        yield encode_frame(LookPiece([], [], b""))
    finally:
        store.thaw(frozen)


def _head(task: Task, state: TaskState, frozen: Frozen, *, due_left: bool) -> LookHead:
    return LookHead(
        partition=task.partition,
        model=state.model,
        model_hash=state.model_hash,
        networks=state.networks,
        clocks_ms=state.clocks,
        counters=state.counters,
        changelog_end=frozen.changelog_end,
        anyone_forgotten=frozen.anyone_forgotten,
        due_left=due_left,
        histograms=state.population.histogram_rows(len(state.networks)).tolist(),
        hour=state.population.shift.hour,
        shift=list(state.population.shift.counts),
        changes=sum(state.population.changes.values()),
        standing=task.stopped,
    )


def _piece(rows: list[tuple[bytes, bytes]], state: TaskState, parameters: Parameters) -> LookPiece:
    clocks = clock_column(state.clocks, state.networks)
    stored = [row for _, row in rows]
    heads, entries, _ = decode_targets(stored, len(state.networks))
    scored = score_targets(heads, entries, evaluation_times(entries, clocks), parameters)
    columns = np.column_stack([scored.score, scored.reach, scored.amplification, scored.network, scored.networks])
    # As `scorer.scale.tenths`: rounded half up.
    tenths = np.nan_to_num(np.floor(columns * 10.0 + 0.5)).astype("<u2")
    return LookPiece([user for user, _ in rows], stored, tenths.tobytes())
