"""Times on the wire: integer milliseconds UTC inside, RFC 3339 in public JSON.

Reading is by msgspec, which is strict about RFC 3339 (a date, a time and an offset), where the standard library also
takes other forms, and is faster. What is finer than a millisecond is cut off.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Final

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

Moment = Annotated[datetime, msgspec.Meta(tz=True)]

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS

_DAYS: Final = (
    "(19[7-9][0-9]|20[0-9][0-9])-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)"
    "|02-(0[1-9]|1[0-9]|2[0-8]))|(19(72|76|80|84|88|92|96)|20([02468][048]|[13579][26]))-02-29"
)
_CLOCK: Final = r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
MOMENT_PATTERN: Final = f"({_DAYS})T{_CLOCK}"
"""RFC 3339 of the years 1970 to 2099, for documents: `format` alone allows years that nothing takes."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_FRACTIONS: Final = tuple(f".{millisecond:03d}Z" for millisecond in range(1000))


class _Read(Struct, array_like=True, gc=False):
    """A time that is read: what a struct's fields are msgspec works out once, and a bare type at every call."""

    moment: Moment


@lru_cache(maxsize=8192)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def format_ms(time_ms: int) -> str:
    """Write a time in milliseconds since 1970 as RFC 3339 in UTC, always with three decimals.

    >>> format_ms(1_340_000_000_007)
    '2012-06-18T06:13:20.007Z'
    """
    return _second(time_ms // 1000) + _FRACTIONS[time_ms % 1000]


def parse_ms(text: str) -> int:
    """Read an RFC 3339 time as milliseconds since 1970; a ValueError says what is wrong.

    >>> parse_ms("2012-06-18T08:13:20.0079+02:00")
    1340000000007
    """
    since = msgspec.convert((text,), _Read).moment - _EPOCH
    return since.days * DAY_MS + since.seconds * 1000 + since.microseconds // 1000


def parse_many_ms(texts: Sequence[str]) -> NDArray[np.int64]:
    """Read many RFC 3339 times as int64[n] milliseconds; a ValueError if any of them is none.

    >>> parse_many_ms(["1970-01-01T00:00:01Z", "1970-01-01T00:00:00.25Z"]).tolist()
    [1000, 250]
    """
    moments = msgspec.convert(texts, list[Moment])
    seconds = np.fromiter([moment.timestamp() for moment in moments], np.float64, len(moments))
    # Doubles hold whole microseconds exactly until the year 2255, so rounding to them loses nothing.
    return np.rint(seconds * 1e6).astype(np.int64) // 1000
