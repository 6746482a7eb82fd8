"""How large anything that comes in may be; every limit is stated here and nowhere else."""

from typing import Final

from schemas.users import USER_BYTES_MAX

__all__ = [
    "ARRAY_EVENTS_MAX",
    "DETAIL_LENGTH_MAX",
    "ID_BYTES_MAX",
    "OBJECT_BYTES_MAX",
    "RECORD_BYTES_MAX",
    "SOURCE_BYTES_MAX",
    "TIME_AHEAD_MS_MAX",
    "TIME_MS_MAX",
    "TIME_MS_MIN",
    "USER_BYTES_MAX",
]

ID_BYTES_MAX: Final = 256
"""UTF-8 bytes of an event's id."""

OBJECT_BYTES_MAX: Final = 1024
"""UTF-8 bytes of the name of what was shared, answered or liked."""

SOURCE_BYTES_MAX: Final = 256
"""UTF-8 bytes of a collector's name; CloudEvents use URIs here."""

ARRAY_EVENTS_MAX: Final = 10_000
"""Events in one record."""

RECORD_BYTES_MAX: Final = 900_000
"""Bytes of one record; leaves room for a dead letter's headers under Kafka's default of 1 MiB."""

TIME_MS_MIN: Final = 0
"""1970-01-01, the earliest event time."""

TIME_MS_MAX: Final = 4_102_444_800_000
"""2100-01-01, the first moment that is not accepted any more."""

TIME_AHEAD_MS_MAX: Final = 300_000
"""How much later than its arrival an event may claim to have happened."""

DETAIL_LENGTH_MAX: Final = 500
"""Characters of the explanation that a dead letter carries."""
