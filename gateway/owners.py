"""Asks workers about their users: the population record of a partition names the worker that keeps it."""

import time
from collections.abc import Collection
from itertools import groupby
from threading import BoundedSemaphore
from typing import Final
from urllib.parse import quote, urlencode

import httpx
import msgspec

from gateway.problems import ProblemError
from gateway.standing import World
from schemas.explanation import Explanation, decode_explanation
from schemas.limits import FORGOTTEN_USERS_MAX
from schemas.users import partition_of

PATIENCE_SECONDS: Final = 3.0
"""A partition that moves is asked for again so long; whoever waits for it holds a thread."""
AT_A_TIME_MAX: Final = 16
"""Questions under way: so workers that do not answer do not hold up everything else."""
_RETRY_SECONDS: Final = 0.2
_TIMEOUT: Final = httpx.Timeout(1.0, read=2.0)
_MISDIRECTED: Final = 421
_NOT_FOUND: Final = 404
_OK: Final = 200
_RETRY_AFTER: Final = {"Retry-After": "2"}


class Owners:
    """The workers, as the population records name them."""

    def __init__(self, world: World, partitions: int) -> None:
        """Ask nobody yet."""
        self._world, self._partitions = world, partitions
        self._http = httpx.Client(timeout=_TIMEOUT, trust_env=False)
        self._free = BoundedSemaphore(AT_A_TIME_MAX)

    def explanation(self, user: str) -> Explanation | None:
        """Return why a score is what it is; None where its worker knows nobody of that name."""
        partition = self._partition(user)
        answer = self._ask(partition, f"explanations/{quote(user, safe='')}", time.monotonic() + PATIENCE_SECONDS)
        try:
            return None if answer is None else decode_explanation(answer)
        except msgspec.DecodeError as error:
            hint = "the worker is of another version: use the same everywhere"
            raise ProblemError("worker-away", "its answer cannot be read", hint, _RETRY_AFTER) from error

    def forgotten(self, users: Collection[str]) -> set[str]:
        """Return who of them must not be named; where that cannot be told, nobody of that partition may."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        hidden: set[str] = set()
        for partition, theirs in groupby(sorted(users, key=self._partition), self._partition):
            names = list(theirs)
            for at in range(0, len(names), FORGOTTEN_USERS_MAX):
                hidden |= self._forgotten(partition, names[at : at + FORGOTTEN_USERS_MAX], deadline)
        return hidden

    def _forgotten(self, partition: int, users: list[str], deadline: float) -> set[str]:
        try:
            answer = self._ask(partition, f"forgotten?{urlencode({'user': users}, doseq=True)}", deadline)
            return set(users) if answer is None else set(msgspec.json.decode(answer)["forgotten"])
        except (ProblemError, msgspec.DecodeError, LookupError, TypeError):
            return set(users)

    def _partition(self, user: str) -> int:
        return partition_of(user.encode(), self._partitions)

    def _ask(self, partition: int, what: str, deadline: float) -> bytes | None:
        if not self._free.acquire(blocking=False):
            raise ProblemError("busy", "many explanations are under way", "try again in a moment", _RETRY_AFTER)
        try:
            return self._ask_until(deadline, partition, what)
        finally:
            self._free.release()

    def _ask_until(self, deadline: float, partition: int, what: str) -> bytes | None:
        while True:
            why = f"no worker has told of partition {partition} yet"
            told = self._world.populations.get(partition)
            if told is not None:
                try:
                    answer = self._http.get(f"http://{told.worker}/v1/{what}")
                except (httpx.HTTPError, httpx.InvalidURL) as error:
                    why = f"partition {partition}: {type(error).__name__}"
                else:
                    if answer.status_code == _NOT_FOUND:
                        return None
                    if answer.status_code == _OK:
                        return answer.content
                    moved = answer.status_code == _MISDIRECTED
                    why = f"partition {partition} is on its way" if moved else f"it answered {answer.status_code}"
            if time.monotonic() + _RETRY_SECONDS > deadline:
                raise ProblemError("worker-away", why, "try again in a moment", _RETRY_AFTER)
            time.sleep(_RETRY_SECONDS)
