"""What the task's record says of the partition's users in numbers, kept up with every batch (`scorer.population`)."""

from collections.abc import Callable, Mapping
from typing import Final

import msgspec
import numpy as np
from msgspec.structs import replace

from schemas.change import Cause
from schemas.population import BINS, TAKEN_BACK_MAX
from schemas.times import HOUR_MS
from schemas.users import people_among
from scorer.arrays import Ints, Records
from scorer.population import SHIFT_COUNTS, STEPS, Counts, add, no_counts, subtract
from scorer.target_state import decode_targets

PIECE_USERS: Final = 10_000
"""Users that are looked at together when a partition is counted for the first time."""

_STORED: Final = "<i4"
_HISTOGRAM_BYTES: Final = 4 * BINS


class HourShift(msgspec.Struct, frozen=True):
    """How scores have moved in an hour, as `scorer.population.Counts.shift` says it."""

    hour: int = 0
    """Of event time, since 1970; 0 before any clock is known."""
    counts: tuple[int, ...] = (0,) * SHIFT_COUNTS
    taken_back: dict[str, tuple[int, int, int, int]] = {}
    """By incident, whom taking back for it brought below their anchor: at all, and by each step."""

    @property
    def fallen(self) -> tuple[int, ...]:
        """Return how many stand so many points below their anchor, by step, without those whom taking back lowered.

        >>> HourShift(7, (5, 2, 0, 0, 0, 0, 0), {"flood": (9, 3, 3, 0)}).fallen
        (2, 0, 0)
        """
        lowered = [sum(of[1 + step] for of in self.taken_back.values()) for step in range(STEPS)]
        return tuple(max(0, count - of) for count, of in zip(self.counts[:STEPS], lowered, strict=True))

    def __post_init__(self) -> None:
        """Refuse what is damaged."""
        if len(self.counts) != SHIFT_COUNTS:
            raise ValueError(f"a shift has {SHIFT_COUNTS} counts, not {len(self.counts)}")


class PopulationState(msgspec.Struct, kw_only=True):
    """The users of a partition who have a score; synthetic accounts are none."""

    counted: bool = False
    """Whether all users are in it: records of before version 4 knew nothing of them."""
    sequence: int = 0
    """Of the last record of `population.v1`."""
    histograms: bytes = b""
    """Users by published score, i4 little-endian, `BINS` over all and then on each network by its code."""
    shift: HourShift = HourShift()
    shift_before: HourShift | None = None
    changes: dict[Cause, int] = {}
    """Changes published, by cause."""

    def __post_init__(self) -> None:
        """Refuse what is damaged."""
        if len(self.histograms) % _HISTOGRAM_BYTES:
            raise ValueError(f"histograms have {_HISTOGRAM_BYTES} bytes each, not {len(self.histograms)} in all")

    @property
    def users(self) -> int:
        """Return how many users have a score."""
        return int(np.frombuffer(self.histograms, _STORED, BINS).sum()) if self.histograms else 0

    @property
    def hour_before(self) -> HourShift:
        """Return how scores moved in the hour just before this one; not at all where nothing was counted in it.

        >>> fell = HourShift(7, (3,) * SHIFT_COUNTS)
        >>> [PopulationState(shift=HourShift(hour), shift_before=fell).hour_before.counts[0] for hour in (8, 9)]
        [3, 0]
        """
        before = self.shift_before
        return before if before is not None and before.hour == self.shift.hour - 1 else HourShift()

    def move_to(self, clocks_ms: Mapping[str, int]) -> None:
        """Begin the hour that the furthest clock is in, if it is a new one; it never goes back, as no clock does."""
        hour = max(clocks_ms.values(), default=0) // HOUR_MS
        if hour > self.shift.hour:
            if self.shift.hour:
                self.shift_before = self.shift
            self.shift = HourShift(hour)

    def follow(
        self,
        networks: int,
        before: tuple[Records, Records] | None,
        after: tuple[Records, Records] | None,
    ) -> None:
        """Count users, heads[n] and entries[n, networks], as they are now instead of as they were; None: not at all."""
        counts = Counts(self.histogram_rows(networks), np.array(self.shift.counts, np.int64))
        if before is not None:
            subtract(counts, *before, self.shift.hour)
        if after is not None:
            add(counts, *after, self.shift.hour)
        self._keep(counts)

    def count_changes(self, cause: Cause, changes: int) -> None:
        """Count changes that are published for a cause."""
        self.changes[cause] = self.changes.get(cause, 0) + changes

    def count_taken_back(self, incident: str, came_below: tuple[int, ...]) -> None:
        """Count whom changes brought below their anchor (`scorer.population.came_below`) that refer to an incident.

        >>> state = PopulationState(shift=HourShift(7))
        >>> for _ in range(2):
        ...     state.count_taken_back("flood", (3, 1, 0, 0))
        >>> state.shift.taken_back
        {'flood': (6, 2, 0, 0)}
        """
        known = self.shift.taken_back
        if any(came_below) and (incident in known or len(known) < TAKEN_BACK_MAX):
            counted = zip(known.get(incident, (0,) * len(came_below)), came_below, strict=True)
            taken_back = {**known, incident: tuple(before + more for before, more in counted)}
            self.shift = replace(self.shift, taken_back=taken_back)

    def histogram_rows(self, networks: int) -> Ints:
        """Return the histograms, [1 + networks, BINS]: over all, then on each network."""
        rows = np.zeros((1 + networks, BINS), np.int64)
        stored = np.frombuffer(self.histograms, _STORED).reshape(-1, BINS)
        rows[: len(stored)] = stored
        return rows

    def count_all(
        self,
        networks: int,
        rows_after: Callable[[bytes, int], list[tuple[bytes, bytes]]],
        stopped: Callable[[], bool],
    ) -> bool:
        """Count all users anew, a piece at a time; return whether nobody `stopped` it meanwhile."""
        counts, last = no_counts(networks), b""
        while piece := rows_after(last, PIECE_USERS):
            if stopped():
                return False
            users = decode_targets([row for _, row in piece], networks)
            for people in people_among([user for user, _ in piece]):
                add(counts, users.heads[people], users.entries[people], self.shift.hour)
            last = piece[-1][0]
        self._keep(counts)
        self.counted = True
        return True

    def _keep(self, counts: Counts) -> None:
        self.histograms = counts.histograms.astype(_STORED).tobytes()
        self.shift = replace(self.shift, counts=tuple(counts.shift.tolist()))
