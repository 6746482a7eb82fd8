"""The pipeline event by event, against the reference that takes the same events one after the other."""

import math
from collections.abc import Sequence

from schemas.change import ScoreChange
from schemas.export import UserState
from schemas.times import parse_ms
from scorer.model import Model
from scorer.reference import Change, Event, Reference
from streams.settings import IngestSettings, LaneSettings, NetworkSettings, WorkerSettings

SETTINGS = {
    "lanes": LaneSettings(partitions=1),
    "networks": {"twitter": NetworkSettings(raw_partitions=1)},
    "ingest": IngestSettings(record_rows_max=1, tick_interval_ms=3_600_000),
    "worker": WorkerSettings(batch_rows_max=1, own_records_in_flight_max=0, commit_interval_ms=1),
}
"""With these, each action counts with the score that the action before it has left."""


def reference_of(events: Sequence[Event]) -> Reference:
    """Return the reference after these events."""
    reference = Reference(Model())
    for event in events:
        reference.apply(event)
    return reference


def wrong_users(users: dict[str, UserState], reference: Reference) -> list[str]:
    """Users whose sums differ from the reference by more than 1e-9, network included."""
    wrong = sorted(users.keys() ^ {user for user, _ in reference.sums})
    for (user, network), should in reference.sums.items():
        have = users[user].networks[network]
        same = all(
            math.isclose(getattr(have, name), getattr(should, name), rel_tol=1e-9)
            for name in ("reach", "amplification", "network")
        )
        if not same or parse_ms(have.time) != should.time or have.events != should.events:
            wrong.append(f"{user}: {have}, not {should}")
    return wrong


def told(change: ScoreChange) -> tuple[object, ...]:
    """What a published change says, in the reference's terms."""
    assert change.score is not None
    assert change.subscores is not None
    parts = change.subscores
    return (
        change.user,
        change.sequence,
        None if change.previous is None else round(change.previous * 10),
        [round(score * 10) for score in (change.score, parts.reach, parts.amplification, parts.network)],
        {name: round(score * 10) for name, score in change.networks.items()},
        parse_ms(change.as_of),
    )


def expected(change: Change) -> tuple[object, ...]:
    """What the reference says of a change."""
    scores = change.scores
    assert scores is not None
    return (
        change.user,
        change.sequence,
        change.previous,
        [scores.score, scores.reach, scores.amplification, scores.network],
        scores.networks,
        change.as_of,
    )
