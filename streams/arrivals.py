"""When raw records came to Kafka, which costs much to ask of each of them.

The topics' times are the broker's, one a record batch, and they do not go back along a partition. So of records of one
partition that lie together, those between two of one time have that time too, and most need not be asked. (A broker
whose clock is set back, and has come to the same millisecond again a few records later, would be misread.)
"""

from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Final

import numpy as np
from confluent_kafka import Message
from numpy.typing import NDArray

_TIME: Final = itemgetter(1)
"""Of a message's timestamp, which is its type and the time."""
_STEP: Final = 16
"""Records from one that is asked to the next."""


def arrivals(messages: Sequence[Message], partition: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return when each of some records came, in ms, int64[n]; `partition`[n] is that of each, and n is not 0."""
    asked = np.append(np.arange(0, len(messages) - 1, _STEP), len(messages) - 1)
    times = _told(messages[at] for at in asked.tolist())
    if len(asked) == 1:
        return times
    stretch = np.cumsum(np.diff(partition, prepend=partition[0]) != 0).take(asked)
    lengths = np.diff(asked)
    arrived = np.append(np.repeat(times[:-1], lengths), times[-1])
    mixed = np.flatnonzero(np.repeat((np.diff(times) != 0) | (np.diff(stretch) != 0), lengths))
    if len(mixed):
        arrived[mixed] = _told(messages[at] for at in mixed.tolist())
    return arrived


def _told(messages: Iterable[Message]) -> NDArray[np.int64]:
    return np.fromiter(map(_TIME, map(Message.timestamp, messages)), np.int64)
