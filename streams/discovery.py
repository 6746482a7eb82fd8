"""Finds the running roles and what each owns, through the coordinator of their consumer group.

A role's consumers carry its HTTP address in their client id, so that nothing else has to be kept up to date.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from confluent_kafka import ConsumerGroupState, KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from streams.errors import CloutError

CLIENT_PREFIX: Final = "clout-"
RETRY_SECONDS: Final = 0.25
REQUEST_TIMEOUT_SECONDS: Final = 10.0
SETTLED: Final = frozenset({ConsumerGroupState.STABLE, ConsumerGroupState.EMPTY, ConsumerGroupState.DEAD})


@dataclass(frozen=True, slots=True)
class RoleMember:
    """A running role."""

    role: str
    address: str
    """HOST:PORT of its HTTP server."""
    partitions: tuple[tuple[str, int], ...]
    """Topic and partition of all that the group gave it."""


def client_id(role: str, address: str) -> str:
    """Return the client id that a role's consumers carry.

    >>> client_id("score", "127.0.0.1:8080")
    'clout-score@127.0.0.1:8080'
    """
    return f"{CLIENT_PREFIX}{role}@{address}"


def role_and_address(client: str) -> tuple[str, str] | None:
    """Read a client id; None if it is not one of ours.

    >>> role_and_address("clout-score@127.0.0.1:8080"), role_and_address("rdkafka")
    (('score', '127.0.0.1:8080'), None)
    """
    role, at, address = client.removeprefix(CLIENT_PREFIX).partition("@")
    return (role, address) if client.startswith(CLIENT_PREFIX) and at and address else None


def members(
    admin: AdminClient, group: str, *, timeout_seconds: float = 30.0, clock: Callable[[], float] = time.monotonic
) -> list[RoleMember]:
    """List the roles in a consumer group, the lowest partition first; waits out a rebalance.

    Raises `CloutError` if none runs, or if the group still rebalances after `timeout_seconds`.
    """
    deadline = clock() + timeout_seconds
    while True:
        state, found = _describe(admin, group)
        if state in SETTLED or clock() > deadline:
            break
        time.sleep(RETRY_SECONDS)
    if state not in SETTLED:
        raise CloutError(
            f"the consumer group {group} is still sharing out its partitions",
            detail=f"its state was {state.name.lower()} for {timeout_seconds:.0f} seconds",
            hint="look at the logs of the roles; try again with a longer --timeout",
        )
    if not found:
        raise CloutError(
            f"no running role was found in the consumer group {group}",
            detail="the group has no member",
            hint="start everything on this machine with `clout up`, or the role alone with `clout score` "
            "or `clout ingest`; check --broker and the prefix",
        )
    return sorted(found, key=lambda member: (member.partitions[:1], member.address))


def _describe(admin: AdminClient, group: str) -> tuple[ConsumerGroupState, list[RoleMember]]:
    try:
        described = admin.describe_consumer_groups([group], request_timeout=REQUEST_TIMEOUT_SECONDS)[group].result()
    except KafkaException as error:
        if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
            return ConsumerGroupState.DEAD, []
        raise CloutError(
            f"the broker did not describe the consumer group {group}",
            detail=error.args[0].str(),
            hint="see that the broker is up: clout broker status",
        ) from error
    found = []
    for member in described.members:
        named = role_and_address(member.client_id)
        if named is not None:
            owned = member.assignment.topic_partitions if member.assignment else None
            partitions = tuple(sorted((place.topic, place.partition) for place in owned or ()))
            found.append(RoleMember(*named, partitions))
    return described.state, found
