"""The population in numbers over all partitions: now, as it moved, and as it was an hour ago. Pure."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from schemas.change import Cause
from schemas.population import Population, Shift, Steps
from schemas.times import HOUR_MS

MINUTE_MS: Final = 60_000


class Hours:
    """Histograms of the last hour of event time, one a minute, and the newest one from before it."""

    def __init__(self) -> None:
        """Begin with none."""
        self._at_ms: dict[int, list[int]] = {}

    def note(self, as_of_ms: int, histogram: list[int]) -> None:
        """Take note of the histogram of all users as of a moment of event time; one that goes back is passed over."""
        minute_ms = as_of_ms // MINUTE_MS * MINUTE_MS
        if minute_ms < max(self._at_ms, default=0):
            return
        self._at_ms[minute_ms] = histogram
        then = self._hour_before()
        self._at_ms = {at: of for at, of in self._at_ms.items() if then is None or at >= then}

    def before(self) -> tuple[int, list[int]] | None:
        """Return what was an hour or more before the newest, and when (ms); None where it is not known.

        >>> hours = Hours()
        >>> hours.note(0, [1, 0])
        >>> hours.before()
        >>> hours.note(61 * MINUTE_MS, [0, 1])
        >>> hours.before()
        (0, [1, 0])
        """
        then = self._hour_before()
        return None if then is None else (then, self._at_ms[then])

    def _hour_before(self) -> int | None:
        ago_ms = max(self._at_ms, default=0) - HOUR_MS
        return max((at for at in self._at_ms if at <= ago_ms), default=None)


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


def furthest_clock(populations: Sequence[Population]) -> str | None:
    """Return the moment of the network that has come furthest; None before any has.

    >>> furthest_clock([])
    """
    names = {name for of in populations for name in of.networks}
    return max((clock for name in names if (clock := network_clock(populations, name))), default=None)
