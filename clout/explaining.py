"""Finds what there is to say about a user's score, or about one change of it."""

import math
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Final

from msgspec.structs import replace

from clout.access import private_users
from clout.config import Settings
from clout.incidents import incidents_as_they_stand
from clout.owners import Owners
from clout.population import newest_populations
from clout.user_history import history_of_user, lists_naming, since_forgotten
from schemas.change import ScoreChange
from schemas.explanation import ChangeExplained, Explained, Standing, decode_explanation
from schemas.times import parse_ms
from scorer.decay import decay
from scorer.model import Model
from scorer.published import SCORE_MAX, SCORE_MIN
from scorer.scale import scaled
from scorer.standing import histogram_of, percentile
from streams.errors import CloutError
from streams.incident_facts import facts
from streams.masking import change_without, explanation_without
from streams.touched import touching

CHANGES_SHOWN: Final = 5
_ROUNDED_POINTS: Final = 0.15
"""What rounding hides: both scores are shown in tenths, and a score by decay is published when its tenth is reached."""


def explained(settings: Settings, user: str) -> Explained:
    """Return why a user's score is what it is; raise `CloutError` for a user of whom nothing is known."""
    kafka, names = settings.kafka, settings.names
    # Each topic takes a reader of its own some tenths of a second, most of them waiting.
    with Owners(settings) as owners, ThreadPoolExecutor() as side_by_side:
        reading = side_by_side.submit(history_of_user, kafka, names, user)
        hearing = side_by_side.submit(incidents_as_they_stand, settings)
        listing = side_by_side.submit(lists_naming, kafka, names, user)
        counting = side_by_side.submit(newest_populations, kafka, names)
        private = private_users(settings)
        found = owners.explanation(user)
        history, populations = reading.result(), counting.result()
        theirs = touching(hearing.result(), user, history.forgotten_ms, listing.result())
        life = since_forgotten(history.changes)
        changes = [change_without(change, _hidden(private, owners)) for change in life[-CHANGES_SHOWN:]]
    if found is None:
        raise unknown(user, history.changes)
    # Who was forgotten, the worker has left out.
    explanation = explanation_without(decode_explanation(found), private.__contains__)
    histogram = histogram_of(populations.values())
    standing = None
    if explanation.score is not None and (users := sum(histogram)):
        standing = Standing(users=users, lower=percentile(histogram, explanation.score))
    return Explained(
        explanation=explanation,
        standing=standing,
        changes=changes,
        unexplained=unexplained_among(life[-CHANGES_SHOWN - 1 :], settings.model),
        incidents=[facts(incident) for incident in theirs],
    )


def _hidden(private: Collection[str], owners: Owners) -> Callable[[str], bool]:
    """Return who must not be named: who is private, and who was forgotten."""
    return lambda actor: actor in private or owners.forgotten(actor)


def unknown(user: str, changes: list[ScoreChange]) -> CloutError:
    """Say that nothing is known of a user, and why, as far as the changes tell."""
    if changes and changes[-1].cause == "forget":
        return CloutError(
            f"{user} was forgotten",
            detail=f"by the command {changes[-1].reference}: nothing is known of them any more",
            hint="`clout control log` shows the command; `clout forget --undo` lets them count again, from nothing",
        )
    return CloutError(
        f"{user} has no score",
        detail="nobody has engaged with this user yet, or they were forgotten",
        hint="ids are as in the events, with their prefix and in the same case; `clout wait` if they just came in",
    )


def taken_back(found: Explained) -> CloutError:
    """Say that a user has no score any more, and for which incident, where it was an operator who took all back."""
    told = found.explanation
    last = found.changes[-1] if found.changes else None
    incident = last.reference if last is not None and last.cause == "retraction" and last.score is None else None
    by = f" for incident {incident}: `clout incident show {incident}`" if isinstance(incident, str) else ""
    return CloutError(
        f"{told.user} has no score",
        detail=f"everything that had been counted for this user was taken back{by}",
        hint=f"change {told.sequence:,} says when: `clout explain {told.user} --change {told.sequence}`",
    )


def explained_change(settings: Settings, user: str, sequence: int) -> ChangeExplained:
    """Return what one change was; raise `CloutError` when there is none of that number, or none any more."""
    changes = history_of_user(settings.kafka, settings.names, user).changes
    if not changes or changes[-1].cause == "forget":
        raise unknown(user, changes)
    told = story(changes, user, sequence, settings.model)
    private = private_users(settings)
    with Owners(settings) as owners:
        is_hidden = _hidden(private, owners)
        change = change_without(told.change, is_hidden)
        before = None if told.before is None else change_without(told.before, is_hidden)
    return replace(told, change=change, before=before)


def story(changes: list[ScoreChange], user: str, sequence: int, model: Model) -> ChangeExplained:
    """Find a change of a user's life (the newest last, not forgotten), and compare it with the one before.

    What decay alone would have made is computed when `model` is the one that the change was made with, and for users
    on one network: `as_of` does not say how far each of several had come.
    """
    life = since_forgotten(changes)
    former = changes[: len(changes) - len(life)]
    if former and sequence <= former[-1].sequence:
        raise _of_a_former_life(user, sequence, former[-1])
    by_sequence = {change.sequence: change for change in life}
    change, before = by_sequence.get(sequence), by_sequence.get(sequence - 1)
    if change is None:
        raise _missing(user, sequence, life)
    moved = None
    if change.score is not None and change.previous is not None:
        moved = round(change.score - change.previous, 1)
    elapsed_ms = None if before is None else parse_ms(change.as_of) - parse_ms(before.as_of)
    return ChangeExplained(
        change=change,
        before=before,
        moved=moved,
        elapsed_seconds=None if elapsed_ms is None else elapsed_ms / 1000,
        by_decay_alone=None if before is None else left_by_decay(before, change, model),
        unexplained=None if before is None else unexplained_points(before, change, model),
    )


def left_by_decay(before: ScoreChange, change: ScoreChange, model: Model) -> float | None:
    """Return the score that decay alone would have left since the change before, not rounded.

    None where that is not known: the score of another model, and users on several networks.
    """
    alone = len(before.networks.keys() | change.networks.keys()) == 1
    if not alone or change.previous is None or model.name != change.model:
        return None
    return decayed(change.previous, parse_ms(change.as_of) - parse_ms(before.as_of), model)


def unexplained_points(before: ScoreChange, change: ScoreChange, model: Model) -> float | None:
    """Return by how many points a change by decay went further than decay does; None where it did not.

    Others only add, so nothing else lowers a score with that cause.
    """
    left = left_by_decay(before, change, model)
    if left is None or change.cause != "decay" or change.score is None:
        return None
    further = left - change.score
    return round(further, 1) if further > _ROUNDED_POINTS else None


def unexplained_among(changes: Sequence[ScoreChange], model: Model) -> dict[int, float]:
    """Return which of these changes, the newest last, went further than decay does, by their numbers."""
    found = {
        change.sequence: unexplained_points(before, change, model)
        for before, change in pairwise(changes)
        if change.sequence == before.sequence + 1
    }
    return {sequence: points for sequence, points in found.items() if points is not None}


def decayed(score: float, elapsed_ms: int, model: Model) -> float:
    """Return what decay leaves of a score after a time, not rounded.

    >>> round(decayed(50.0, 30 * 86_400_000, Model()), 2), decayed(1.0, 1000, Model())
    (45.04, 1.0)
    """
    strength = math.expm1((score - SCORE_MIN) / (SCORE_MAX - SCORE_MIN) * math.log1p(model.score_scale))
    return scaled(strength * decay(elapsed_ms, model.half_life_ms), model.score_scale)


def _of_a_former_life(user: str, sequence: int, forgotten: ScoreChange) -> CloutError:
    return CloutError(
        f"change {sequence:,} of {user} is of a time before the user was forgotten",
        detail=f"change {forgotten.sequence:,} forgot them, by the command {forgotten.reference}",
        hint=f"what came since has higher numbers: see `clout explain {user}`",
    )


def _missing(user: str, sequence: int, changes: list[ScoreChange]) -> CloutError:
    first, last = changes[0].sequence, changes[-1].sequence
    if sequence > last:
        return CloutError(
            f"{user} has no change {sequence:,} yet",
            detail=f"the last one is {last:,}",
            hint=f"see `clout explain {user}` for the last ones",
        )
    return CloutError(
        f"change {sequence:,} of {user} is not in the topic any more",
        detail=f"it has {len(changes):,} of their changes, from {first:,} to {last:,}; older ones were compacted away, "
        "or are of a time before the user was forgotten",
        hint="the topic keeps all changes for 7 days, and the last one of each user",
    )
