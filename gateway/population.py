"""The population in numbers over all partitions: now, as it moved, and as it was an hour ago. Pure."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from schemas.change import Cause
from schemas.population import Population, Shift, Steps

MINUTE_MS: Final = 60_000
KEPT_MINUTES: Final = 70
AGO_MINUTES: Final = 60


class Hours:
    """Histograms of the last hour and a little more, one a minute of the time at which they were told."""

    def __init__(self) -> None:
        """Begin with none."""
        self._by_minute: dict[int, list[int]] = {}

    def note(self, written_ms: int, histogram: list[int]) -> None:
        """Take note of the histogram of all users."""
        minute = written_ms // MINUTE_MS
        kept = {at: of for at, of in self._by_minute.items() if at > minute - KEPT_MINUTES}
        self._by_minute = {**kept, minute: histogram}

    def before(self) -> list[int] | None:
        """Return what was an hour before the newest; None where it is not known.

        >>> hours = Hours()
        >>> hours.note(0, [1, 0])
        >>> hours.before()
        >>> hours.note(61 * MINUTE_MS, [0, 1])
        >>> hours.before()
        [1, 0]
        """
        by_minute = self._by_minute
        ago = max(by_minute, default=0) - AGO_MINUTES
        then = max((minute for minute in by_minute if minute <= ago), default=None)
        return None if then is None else by_minute[then]


def shifts(populations: Iterable[Population]) -> tuple[Shift | None, Shift | None]:
    """Return how scores moved in the latest hour that any partition tells of, and in the one told of before it.

    >>> shifts([])
    (None, None)
    """
    told = [shift for of in populations for shift in (of.shift, of.shift_before) if shift is not None]
    hours = sorted({shift.hour for shift in told}, reverse=True)
    latest, before, *_ = [_sum(hour, told) for hour in hours] + [None, None]
    return latest, before


def _sum(hour: str, told: Sequence[Shift]) -> Shift:
    theirs = [shift for shift in told if shift.hour == hour]
    return Shift(
        hour=hour,
        below=_steps(shift.below for shift in theirs),
        above=_steps(shift.above for shift in theirs),
        gone=sum(shift.gone for shift in theirs),
    )


def _steps(steps: Iterable[Steps]) -> Steps:
    each = list(steps)
    return Steps(**{name: sum(getattr(of, name) for of in each) for name in Steps.__struct_fields__})


def changes_by_cause(populations: Iterable[Population]) -> dict[Cause, int]:
    """Return how many changes were published, by cause.

    >>> changes_by_cause([])
    {}
    """
    total: Counter[Cause] = Counter()
    for population in populations:
        total.update(population.changes)
    return dict(total)


def network_clock(populations: Sequence[Population], network: str) -> str | None:
    """Return the moment by which scores on a network are taken: that of the partition furthest behind; None before.

    >>> network_clock([], "twitter")
    """
    clocks = [of.networks[network].clock for of in populations if network in of.networks]
    told = [clock for clock in clocks if clock is not None]
    return min(told) if told and len(told) == len(populations) else None
