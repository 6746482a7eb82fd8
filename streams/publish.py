"""Score changes as Kafka records: key, value and CloudEvents headers."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from schemas.change import Cause, Subscores, change_headers, encode_change
from scorer.targets import Published


class Change(NamedTuple):
    """One record of the change topic."""

    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


def changes(
    published: Published,
    users: Sequence[bytes],
    networks: Sequence[str],
    *,
    cause: Cause,
    model: str,
    source: bytes,
) -> Iterator[Change]:
    """Yield the change of every user that `published` names; `users` are those of the batch."""
    columns = zip(
        published.index.tolist(),
        published.sequence.tolist(),
        published.previous_tenths.tolist(),
        published.score.tolist(),
        published.reach.tolist(),
        published.amplification.tolist(),
        published.network.tolist(),
        published.networks.tolist(),
        published.as_of.tolist(),
        strict=True,
    )
    for at, sequence, previous, score, reach, amplification, network, parts, as_of in columns:
        key = users[at]
        user = key.decode()
        value = encode_change(
            user,
            sequence,
            score,
            previous / 10.0 if previous else None,
            Subscores(reach, amplification, network),
            {name: part for name, part in zip(networks, parts, strict=True) if not math.isnan(part)},
            as_of,
            cause,
            model,
        )
        yield Change(key, value, change_headers(user, sequence, source))
