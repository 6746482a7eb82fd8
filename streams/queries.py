"""What a worker answers about its users: one of them, or all of a partition."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from typing import Final

from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from schemas.change import Subscores
from schemas.explanation import encode_explanation
from schemas.export import NetworkState, UserState, encode_user
from schemas.limits import FORGOTTEN_USERS_MAX
from schemas.times import format_ms
from schemas.users import is_canary, partition_of, user_hashes
from scorer.model import Parameters
from scorer.scale import tenths
from scorer.target_state import decode_targets
from scorer.targets import score_targets
from scorer.timers import clock_column, evaluation_times
from streams.explanations import explain
from streams.masking import masked
from streams.store import Store
from streams.task import Task
from streams.task_state import TaskState

_PIECE_ROWS: Final = 2_000


def user_states(
    rows: Sequence[tuple[bytes, bytes]], state: TaskState, parameters: Parameters, *, stale: bool = False
) -> Iterator[UserState]:
    """Yield what stored rows say of their users as of the clocks; no score where every credit was taken back.

    They are `stale` while their partition stands still.
    """
    networks = list(state.networks)
    clocks = clock_column(state.clocks, networks)
    heads, entries, _ = decode_targets([row for _, row in rows], len(networks))
    scored = score_targets(heads, entries, evaluation_times(entries, clocks), parameters)
    for at, (user, _), head in zip(count(), rows, heads, strict=False):
        parts = {
            name: NetworkState(
                float(entry["reach"]),
                float(entry["amplification"]),
                float(entry["network"]),
                format_ms(int(entry["time"])),
                int(entry["events"]),
                _rounded(own),
            )
            for name, entry, own in zip(networks, entries[at], scored.networks[at].tolist(), strict=True)
            if entry["events"]
        }
        yield UserState(
            user.decode(),
            _rounded(float(scored.score[at])) if parts else None,
            int(head["sequence"]),
            format_ms(int(scored.as_of[at])),
            Subscores(*(_rounded(float(part[at])) for part in scored[1:4])) if parts else None,
            parts,
            stale or UNSET,
        )


def _rounded(score: float) -> float:
    return tenths(score) / 10


def routes(tasks: Mapping[int, Task], partitions: int) -> list[Route]:
    """Return the routes that answer questions about the users of these tasks."""

    def about(request: Request, answer: Callable[[Task, Store, bytes, bytes], bytes]) -> Response:
        """Answer from what is stored of the user who is asked about."""
        user = request.path_params["user"].encode()
        partition = partition_of(user, partitions)
        if (found := _owned(tasks, partition)) is None:
            return _elsewhere(partition)
        task, store = found
        row = store.target(user)
        if row is None:
            return JSONResponse({"error": f"user {user.decode()!r} is unknown: nobody engaged, or they left"}, 404)
        return Response(answer(task, store, user, row), media_type="application/json")

    def one(request: Request) -> Response:
        return about(request, _state)

    def explanation(request: Request) -> Response:
        return about(request, _explanation)

    def forgotten(request: Request) -> Response:
        return _forgotten(tasks, partitions, [user.encode() for user in request.query_params.getlist("user")])

    def everyone(request: Request) -> Response:
        text = request.query_params.get("partition", "")
        if not text.isdigit() or int(text) >= partitions:
            return JSONResponse({"error": f"partition must be 0 to {partitions - 1}, not {text!r}"}, 400)
        if (found := _owned(tasks, int(text))) is None:
            return _elsewhere(int(text))
        return StreamingResponse(_lines(found[0]), media_type="application/x-ndjson")

    return [
        Route("/v1/users/{user:path}", one),
        Route("/v1/users", everyone),
        Route("/v1/explanations/{user:path}", explanation),
        Route("/v1/forgotten", forgotten),
    ]


def _owned(tasks: Mapping[int, Task], partition: int) -> tuple[Task, Store] | None:
    task = tasks.get(partition)
    return None if task is None or task.store is None else (task, task.store)


def _forgotten(tasks: Mapping[int, Task], partitions: int, users: list[bytes]) -> Response:
    """Say who of them must not be named; somebody of whom nothing is stored may be forgotten too."""
    if not 1 <= len(users) <= FORGOTTEN_USERS_MAX:
        return JSONResponse({"error": f"ask for 1 to {FORGOTTEN_USERS_MAX} users, not {len(users)}"}, 400)
    hidden: list[str] = []
    for user in users:
        partition = partition_of(user, partitions)
        if (found := _owned(tasks, partition)) is None:
            return _elsewhere(partition)
        task, _ = found
        if masked([user], user_hashes([user]), task.forgotten)[0]:
            hidden.append(user.decode())
    return JSONResponse({"forgotten": hidden})


def _state(task: Task, _: Store, user: bytes, row: bytes) -> bytes:
    return encode_user(next(user_states([(user, row)], task.state, task.parameters, stale=bool(task.stopped))))


def _explanation(task: Task, store: Store, user: bytes, row: bytes) -> bytes:
    found = explain(
        user,
        row,
        task.state,
        model=task.shared.model,
        names_of=store.names_of,
        forgotten=task.forgotten,
        stale=bool(task.stopped),
    )
    return encode_explanation(found)


def _lines(task: Task) -> Iterator[bytes]:
    """Yield all users of a partition in pieces, but no synthetic accounts.

    Break off when the partition moves away meanwhile.
    """
    after = b""
    while True:
        store = task.store
        if store is None:
            raise ConnectionAbortedError(f"partition {task.partition} moved to another worker")
        rows = store.scan_targets(after, _PIECE_ROWS)
        if not rows:
            return
        last = rows[-1][0]
        people = [(user, row) for user, row in rows if not is_canary(user)]
        states = user_states(people, task.state, task.parameters, stale=bool(task.stopped))
        yield b"".join(encode_user(state) + b"\n" for state in states)
        after = last


def _elsewhere(partition: int) -> Response:
    return JSONResponse({"error": f"partition {partition} is not restored on this worker"}, 421)
