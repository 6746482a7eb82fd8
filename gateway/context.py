"""What the gateway's routes have in common: where they look, and what they answer about any user."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from msgspec import UNSET
from starlette.requests import HTTPConnection

from gateway.access import Access, Caller
from gateway.backlog import Backlog
from gateway.columns import Columns
from gateway.metrics import GatewayMetrics
from gateway.operator import Operator
from gateway.problems import ProblemError
from gateway.read_model import ReadModel
from gateway.reader import Reader
from gateway.sender import Sender
from gateway.standing import World, meaning
from schemas.change import ScoreChange, decode_change
from schemas.gateway import ScoreAnswer
from schemas.times import format_ms
from schemas.users import partition_of
from streams.names import Names
from streams.settings import GatewaySettings, KafkaSettings, NetworkSettings

CALLER: Final = "clout.caller"
"""Where a request's scope has who asks, since `gateway.middleware` let it through."""


def caller_of(request: HTTPConnection) -> Caller:
    """Return who asks."""
    caller: Caller = request.scope[CALLER]
    return caller


@dataclass(frozen=True, slots=True)
class Context:
    """One gateway."""

    kafka: KafkaSettings
    names: Names
    partitions: int
    settings: GatewaySettings
    model: ReadModel
    columns: Columns
    reader: Reader
    world: World
    access: Access
    metrics: GatewayMetrics
    networks: Mapping[str, NetworkSettings]
    sender: Sender
    operator: Operator
    backlog: Backlog

    def visible(self, user: str, caller: Caller) -> bool:
        """Return whether a caller is told of a user; whoever is not visible is unknown, everywhere."""
        return self.access.visible(user, caller)

    def age_seconds(self, partition: int) -> float:
        """Return for how long there may be changes of a partition that are not here."""
        age = self.reader.age_seconds(partition)
        return 0.0 if age is None else age

    def is_stale(self, partition: int) -> bool:
        """Return whether a partition's scores cannot be relied on to be up to date."""
        told_of = partition in self.world.still or self.world.is_silent(partition)
        return told_of or self.age_seconds(partition) > self.settings.stale_seconds

    def newest(self, user: str, caller: Caller, min_sequence: int = 0) -> ScoreChange:
        """Return a user's newest change; raise `ProblemError` for who is unknown, to this caller.

        One that is older than `min_sequence`, which the asker has seen elsewhere, is refused.
        """
        point = self.model.newest(user.encode()) if self.visible(user, caller) else None
        if point is None:
            raise ProblemError(
                "unknown-user",
                f"nobody has engaged with {user!r} yet, or they were forgotten",
                "ids are as in the events, with their prefix and in the same case",
            )
        change = decode_change(point.value)
        if change.sequence < min_sequence:
            raise ProblemError(
                "older-than-seen",
                f"the newest change of {user!r} here is {change.sequence}, you ask for {min_sequence} or later",
                "try again in a moment",
                {"Retry-After": "1"},
            )
        return change

    def age_of_all_seconds(self) -> float:
        """Return for how long there may be changes, of whatever partition, that are not here."""
        return round(max(map(self.age_seconds, range(self.partitions))), 3)

    def is_any_stale(self) -> bool:
        """Return whether any partition's scores cannot be relied on to be up to date."""
        return any(map(self.is_stale, range(self.partitions)))

    def as_of(self) -> str | None:
        """Return the latest moment that any score speaks of."""
        return format_ms(self.model.state.as_of_ms) if self.model.state.as_of_ms else None

    def require_network(self, network: str) -> None:
        """Refuse a network that there is not."""
        if network not in self.networks:
            raise ProblemError(
                "bad-request", f"there is no network {network[:40]!r}", f"there are {', '.join(self.networks)}"
            )

    def answer(self, change: ScoreChange) -> ScoreAnswer:
        """Return what there is to say about a score; raise `ProblemError` where there is none any more."""
        if change.score is None or change.subscores is None:
            raise ProblemError("no-score", f"everything that {change.user!r} had was taken back")
        partition = partition_of(change.user.encode(), self.partitions)
        percentile = self.world.percentile(change.score)
        return ScoreAnswer(
            user=change.user,
            score=change.score,
            sequence=change.sequence,
            previous=change.previous,
            subscores=change.subscores,
            networks=change.networks,
            as_of=change.as_of,
            cause=change.cause,
            model=change.model,
            percentile=percentile,
            meaning=meaning(percentile, self.world.users),
            age_seconds=round(self.age_seconds(partition), 3),
            stale=self.is_stale(partition),
            reference=UNSET if change.reference is None else change.reference,
        )
