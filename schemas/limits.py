"""How large anything that comes in may be; every limit is stated here and nowhere else.

What an operator may set (rows a batch, rows a record) is in `streams.settings`. `docs/LIMITS.md` lists both, with
what becomes of what is larger.
"""

from typing import Final

__all__ = [
    "ARRAY_EVENTS_MAX",
    "COMMAND_BYTES_MAX",
    "COMMAND_ID_BYTES_MAX",
    "DETAIL_LENGTH_MAX",
    "ID_BYTES_MAX",
    "INCIDENT_ID_BYTES_MAX",
    "KEY_NAME_BYTES_MAX",
    "LANE_RECORD_BYTES_MAX",
    "LANE_RECORD_ROWS_MAX",
    "LANE_SOURCE_BYTES_MAX",
    "NESTING_MAX",
    "NETWORKS_MAX",
    "NETWORK_BYTES_MAX",
    "OBJECT_BYTES_MAX",
    "RAW_PARTITIONS_MAX",
    "REASON_BYTES_MAX",
    "RECIPIENTS_MAX",
    "RECORD_BYTES_MAX",
    "REGISTERED_SOURCES_MAX",
    "REGISTERED_SOURCE_BYTES_MAX",
    "SEQUENCE_MAX",
    "SOURCE_BYTES_MAX",
    "TIME_AHEAD_MS_MAX",
    "TIME_MS_MAX",
    "TIME_MS_MIN",
    "USER_BYTES_MAX",
]

USER_BYTES_MAX: Final = 256
"""UTF-8 bytes of a user id."""

ID_BYTES_MAX: Final = 256
"""UTF-8 bytes of an event's id."""

OBJECT_BYTES_MAX: Final = 1024
"""UTF-8 bytes of the name of what was shared, answered or liked."""

SOURCE_BYTES_MAX: Final = 256
"""UTF-8 bytes of a collector's name; CloudEvents use URIs here."""

INCIDENT_ID_BYTES_MAX: Final = 200
"""UTF-8 bytes of an incident's id, as a command names it."""

ARRAY_EVENTS_MAX: Final = 10_000
"""Events in one record."""

RECIPIENTS_MAX: Final = 16
"""People whom one activity may reply to or mention: a Delete that names only a post takes back as many ids."""

COMMAND_BYTES_MAX: Final = 16_384
"""Bytes of a record that holds a control command."""

COMMAND_ID_BYTES_MAX: Final = 64
"""UTF-8 bytes of a control command's id."""

KEY_NAME_BYTES_MAX: Final = 64
"""UTF-8 bytes of the name of a key that signs control commands, and of the time that a command gives itself."""

REASON_BYTES_MAX: Final = 1000
"""UTF-8 bytes of the reason that a control command gives."""

RECORD_BYTES_MAX: Final = 900_000
"""Bytes of one record; leaves room for a dead letter's headers under Kafka's default of 1 MiB."""

NESTING_MAX: Final = 128
"""Levels of arrays and objects in one JSON text: the outermost is the first. Far below what a parser's stack takes."""

NETWORKS_MAX: Final = 64
"""Networks of an installation, and that a partition can know; their codes are stored in every row."""

NETWORK_BYTES_MAX: Final = 32
"""Characters, all ASCII, of a network's name."""

RAW_PARTITIONS_MAX: Final = 65_535
"""Partitions of an interactions topic: a tick counts them in two bytes."""

REGISTERED_SOURCES_MAX: Final = 16
"""Collectors of a network whose heartbeats hold its clock; ingest has little room to remember them."""

REGISTERED_SOURCE_BYTES_MAX: Final = 64
"""Characters, all ASCII, of the name of such a collector."""

LANE_RECORD_BYTES_MAX: Final = 900_000
"""Bytes of one packed record; a writer splits its rows until each record fits."""

LANE_RECORD_ROWS_MAX: Final = 65_535
"""Rows of one packed record, and entries of each of its lists: an index is two bytes."""

LANE_SOURCE_BYTES_MAX: Final = 256
"""UTF-8 bytes of the name under which a lane record's writer numbers its records."""

SEQUENCE_MAX: Final = 2**64 - 1
"""Largest number that a lane record's key can carry; what MessagePack can store of it."""

TIME_MS_MIN: Final = 0
"""1970-01-01, the earliest event time."""

TIME_MS_MAX: Final = 4_102_444_800_000
"""2100-01-01, the first moment that is not accepted any more."""

TIME_AHEAD_MS_MAX: Final = 300_000
"""How much later than its arrival an event may claim to have happened."""

DETAIL_LENGTH_MAX: Final = 500
"""Characters of the explanation that a dead letter carries."""

FORGOTTEN_USERS_MAX: Final = 20
"""Users about whom a worker is asked at once whether they were forgotten."""
