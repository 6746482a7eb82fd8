"""A correct copy of all scores, in SQLite: what both followers do with the records that they read.

`follow_scores.py` reads with confluent-kafka, `follow_scores_faust.py` with a Faust agent. What is promised to them,
and why each step here is needed, is in docs/consuming.md.

    scores     user, sequence, score (null: has none), parts (JSON: sub-scores and networks), as_of
    positions  partition, the next offset to take
    faults     what broke the contract: gap, repeat, or chain; where, and in words
    source     the topic's id, and the time of the newest record taken

Rows and positions are one transaction, so a reader that is killed goes on where it was.
"""

import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

DAY_MS: Final = 86_400_000
KEPT_MS: Final = 7 * DAY_MS
"""So long the topic keeps every change; of older ones it may have the newest of each user alone."""
AWAY_MS_MAX: Final = 6 * DAY_MS
"""Who was away for longer may have missed that somebody was forgotten, and begins anew; a day is left for clocks."""

_TABLES: Final = """
PRAGMA journal_mode = WAL;
PRAGMA secure_delete = ON;
CREATE TABLE IF NOT EXISTS scores (user TEXT PRIMARY KEY, sequence INTEGER, score REAL, parts TEXT, as_of TEXT);
CREATE TABLE IF NOT EXISTS positions (partition INTEGER PRIMARY KEY, next_offset INTEGER);
CREATE TABLE IF NOT EXISTS faults (partition INTEGER, offset INTEGER, user TEXT, kind TEXT, detail TEXT);
CREATE TABLE IF NOT EXISTS source (topic_id TEXT, newest_ms INTEGER);
"""
_PUT: Final = "INSERT OR REPLACE INTO scores VALUES (?, ?, ?, ?, ?)"


class Record(NamedTuple):
    """A record of the topic; no value is Kafka's tombstone."""

    partition: int
    offset: int
    timestamp_ms: int
    key: bytes
    value: bytes | None


class Fault(NamedTuple):
    """What a change does not fit."""

    kind: str
    detail: str


def judge(known: tuple[int, float | None] | None, change: dict[str, Any], *, is_old: bool) -> Fault | None:
    """Return what is wrong with a change, after the sequence and score that are known of its user; None if it fits.

    `is_old` says that the topic may have dropped changes before it, which is compaction and no loss.
    """
    sequence, previous = change["sequence"], change["previous"]
    if known is None:
        # Who begins has no score before: a new user, or one who was forgotten and whose number goes on.
        if previous is None or is_old:
            return None
        return Fault("gap", f"change {sequence} is the first that came, and says that there was one before")
    before, score = known
    if sequence <= before:
        return Fault("repeat", f"change {sequence} came after change {before}")
    if sequence > before + 1:
        return None if is_old else Fault("gap", f"change {sequence} came after change {before}")
    if previous != score:
        return Fault("chain", f"change {sequence} says {previous} was before, but it was {score}")
    return None


class Copy:
    """The copy in a file; one writer, any number of readers."""

    def __init__(self, path: Path, topic_id: str, now_ms: int) -> None:
        """Open the copy; one of another topic, or one that is too old to go on from, is emptied."""
        self._db = sqlite3.connect(path)
        self._db.executescript(_TABLES)
        self.begun_anew = ""
        """Why the copy was emptied."""
        found = self._db.execute("SELECT topic_id, newest_ms FROM source").fetchone()
        if found is not None and found[0] != topic_id:
            self.begun_anew = "the topic was made anew"
        elif found is not None and now_ms - found[1] > AWAY_MS_MAX:
            self.begun_anew = "the copy has not been kept for too long"
        if found is None or self.begun_anew:
            with self._db:
                for table in ("scores", "positions", "faults", "source"):
                    self._db.execute(f"DELETE FROM {table}")  # noqa: S608 - names of our own
                self._db.execute("INSERT INTO source VALUES (?, ?)", (topic_id, now_ms))
        self.positions: dict[int, int] = dict(self._db.execute("SELECT partition, next_offset FROM positions"))
        """The next offset to take, by partition."""

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def users(self) -> int:
        """Return how many users have a score."""
        return int(self._db.execute("SELECT count(score) FROM scores").fetchone()[0])

    def take(self, records: Sequence[Record], now_ms: int) -> list[str]:
        """Take records in, in the order of their partitions, as one transaction; return what is wrong, a line each."""
        said: list[str] = []
        positions = dict(self.positions)
        with self._db:
            for record in records:
                if record.offset < positions.get(record.partition, 0):
                    continue  # It was read again: it has been taken.
                fault = self._take_one(record, now_ms)
                if fault is not None:
                    said.append(f"{fault.kind} at partition {record.partition}, offset {record.offset}: {fault.detail}")
                positions[record.partition] = record.offset + 1
            self._db.executemany("INSERT OR REPLACE INTO positions VALUES (?, ?)", positions.items())
            newest_ms = max((record.timestamp_ms for record in records), default=0)
            self._db.execute("UPDATE source SET newest_ms = max(newest_ms, ?)", (newest_ms,))
        self.positions = positions
        return said

    def _take_one(self, record: Record, now_ms: int) -> Fault | None:
        user = record.key.decode()
        # Fields and causes that this does not know are none of its business: they may come at any time.
        change = None if record.value is None else json.loads(record.value)
        if change is None or change["cause"] == "forget":
            self._forget(user)
            return None
        known = self._db.execute("SELECT sequence, score FROM scores WHERE user = ?", (user,)).fetchone()
        fault = judge(known, change, is_old=now_ms - record.timestamp_ms > KEPT_MS)
        if fault is not None:
            place = (record.partition, record.offset, user)
            self._db.execute("INSERT INTO faults VALUES (?, ?, ?, ?, ?)", (*place, *fault))
        # A change says all of a score, so the newest one is right, whatever was missed. A repeat is older.
        if fault is None or fault.kind != "repeat":
            parts = json.dumps({"subscores": change["subscores"], "networks": change["networks"]})
            self._db.execute(_PUT, (user, change["sequence"], change["score"], parts, change["as_of"]))
        return fault

    def _forget(self, user: str) -> None:
        """Delete all that is kept of a user, also where it is said what was wrong."""
        self._db.execute("DELETE FROM scores WHERE user = ?", (user,))
        self._db.execute("UPDATE faults SET user = NULL WHERE user = ?", (user,))
