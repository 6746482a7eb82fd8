"""Why a user's score is what it is, from the user's stored row."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from schemas.change import Subscores
from schemas.explanation import Anchor, Contributor, Explanation, ModelUsed, NetworkPart, NextDecay, Sums
from schemas.times import HOUR_MS, format_ms
from scorer.arrays import Ints, Records
from scorer.contributors import SPILLED, TAKEN
from scorer.decay import decay
from scorer.model import Model, Parameters
from scorer.scale import combined, tenths
from scorer.target_state import decode_targets
from scorer.targets import score_targets
from scorer.timers import NO_CLOCK, clock_column, evaluation_times, until_shows
from streams.forgotten import Forgotten
from streams.masking import masked
from streams.task_state import TaskState

NamesOf = Callable[[Sequence[int]], Sequence[bytes | None]]
"""The ids that hashes of contributors stand for, None where there is no name any more."""


def explain(
    user: bytes,
    row: bytes,
    state: TaskState,
    *,
    model: Model,
    names_of: NamesOf,
    forgotten: Forgotten,
    stale: bool = False,
) -> Explanation:
    """Explain a user's score as of the clocks of `state`; `row` is what is stored of the user.

    It is `stale` while the user's partition stands still.
    """
    names = list(state.networks)
    clocks = clock_column(state.clocks, names)
    heads, entries, summaries = decode_targets([row], len(names))
    times = evaluation_times(entries, clocks)
    scored = score_targets(heads, entries, times, model.parameters)
    codes = np.flatnonzero(entries[0]["events"]).tolist()
    left = {code: decay(float(times[0, code] - entries[0, code]["time"]), model.half_life_ms) for code in codes}
    sums = {code: _sums(entries[0, code], "", left[code]) for code in codes}
    total = Sums(*(sum(getattr(part, name) for part in sums.values()) for name in Sums.__struct_fields__))
    networks = {}
    for code in codes:
        contributors = _contributors(
            [slots[0, code] for slots in summaries],
            left=left[code],
            total=sums[code].network,
            names_of=names_of,
            forgotten=forgotten,
        )
        networks[names[code]] = _network(
            entries[0, code],
            score=float(scored.networks[0, code]),
            clock_ms=state.clocks.get(names[code]),
            taken_at_ms=int(times[0, code]),
            sums=sums[code],
            total=total,
            contributors=contributors,
            others_most=min(sums[code].network, float(summaries.bounds[0, code, SPILLED]) * left[code]),
        )
    score = float(scored.score[0])
    return Explanation(
        user=user.decode(),
        score=_rounded(score) if codes else None,
        sequence=int(heads[0]["sequence"]),
        as_of=format_ms(int(scored.as_of[0])),
        subscores=Subscores(*(_rounded(float(part[0])) for part in scored[1:4])) if codes else None,
        sums=total,
        strength=combined(total.reach, total.amplification, total.network),
        unrounded=score if codes else None,
        networks=networks,
        model=msgspec.convert(asdict(model), ModelUsed),
        anchor=_anchor(heads[0], clocks, state.population.shift.hour),
        next_decay=_next_decay(heads[0], entries[0], times[0], model.parameters, names) if codes else None,
        stale=stale or UNSET,
    )


def _network(
    entry: np.void,
    *,
    score: float,
    clock_ms: int | None,
    taken_at_ms: int,
    sums: Sums,
    total: Sums,
    contributors: list[Contributor],
    others_most: float,
) -> NetworkPart:
    granted, taken = _sums(entry, "granted_"), _sums(entry, "taken_")
    each = [
        (getattr(granted, name) - getattr(taken, name) - getattr(sums, name), getattr(sums, name), getattr(total, name))
        for name in Sums.__struct_fields__
    ]
    return NetworkPart(
        score=_rounded(score),
        events=int(entry["events"]),
        last_event=format_ms(int(entry["time"])),
        clock=None if clock_ms is None else format_ms(clock_ms),
        taken_at=format_ms(taken_at_ms),
        sums=sums,
        share=Sums(*(part / whole if whole else 0.0 for _, part, whole in each)),
        granted=granted,
        decayed=Sums(*(decayed for decayed, _, _ in each)),
        taken_back=taken,
        contributors=contributors,
        others=max(0.0, sums.network - sum(contributor.weight for contributor in contributors)),
        others_most=others_most,
    )


def _contributors(
    summary: Sequence[np.ndarray[Any, Any]], *, left: float, total: float, names_of: NamesOf, forgotten: Forgotten
) -> list[Contributor]:
    """Return who may have given a network sum of `total` most; `summary` are actors, weights and bounds.

    (`scorer.contributors.Contributors`.) What was taken back is missing from weights that nobody knows: it is spread
    over all of them, so that they are no more than there is.
    """
    actors, weights, bounds = summary
    spilled, taken = float(bounds[SPILLED]) * left, float(bounds[TAKEN]) * left
    counted = float(weights.sum(dtype=np.float64)) * left
    kept = min(1.0, total / counted) if counted else 1.0
    slots = sorted(np.flatnonzero(actors).tolist(), key=lambda slot: -weights[slot])
    shown = _shown(actors[slots], names_of, forgotten)
    found = []
    for actor, slot in zip(shown, slots, strict=True):
        gave = float(weights[slot]) * left
        # What was taken back may have been theirs: they gave no more than there is.
        weight, most = min(gave * kept, total), min(gave + spilled, total)
        least = min(max(0.0, gave - taken), weight)
        share = weight / total if total else 0.0
        found.append(Contributor(actor=actor, weight=weight, least=least, most=most, share=share))
    return found


def _shown(hashes: NDArray[np.uint64], names_of: NamesOf, forgotten: Forgotten) -> list[str | None]:
    """Return who hashes stand for, None for those without a name and for those who must not be named."""
    names = names_of(hashes.tolist())
    hidden = masked([name or b"" for name in names], hashes, forgotten)
    return [None if hide or name is None else name.decode() for name, hide in zip(names, hidden.tolist(), strict=True)]


def _anchor(head: np.void, clocks: Ints, counted_hour: int) -> Anchor | None:
    """Return the score when the hour began: the last one, unless it has changed since.

    Anchors are kept by the hour that users are counted in: until that is the hour of the clocks, there is none.
    """
    latest = int(clocks.max(initial=NO_CLOCK))
    hour = latest // HOUR_MS
    if latest == NO_CLOCK or hour != counted_hour:
        return None
    score_tenths = int(head["anchor_tenths"] if head["anchor_hour"] == hour else head["score_tenths"])
    return Anchor(hour=format_ms(hour * HOUR_MS), score=score_tenths / 10 if score_tenths else None)


def _next_decay(
    head: np.void, entries: Records, times: Ints, parameters: Parameters, names: Sequence[str]
) -> NextDecay | None:
    after_ms = until_shows(head, entries, times, parameters)
    if math.isinf(after_ms):
        return None
    at = {
        names[code]: format_ms(int(times[code]) + int(after_ms)) for code in np.flatnonzero(entries["events"]).tolist()
    }
    return NextDecay(after_seconds=after_ms / 1000, at=at)


def _sums(entry: np.void, prefix: str, left: float = 1.0) -> Sums:
    return Sums(*(float(entry[prefix + name]) * left for name in Sums.__struct_fields__))


def _rounded(score: float) -> float:
    return tenths(score) / 10
