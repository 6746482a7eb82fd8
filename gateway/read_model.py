"""What the gateway keeps of the change topic: current scores, their history, and the order in which changes came.

Rows and positions are one write batch, so a gateway that died goes on where it was. How rows lie: `gateway/tables.py`.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import structlog
from msgspec import Struct
from rocksdict import Cache, Rdict, WriteBatch

from gateway import tables
from gateway.tables import (
    DAY,
    ERASED_KEY,
    FAMILIES,
    FORGOTTEN_KEY,
    HERE,
    OFFSET,
    PERIOD,
    PLACE,
    REBORN,
    STATE_KEY,
    THERE,
    Point,
    day_number,
    period_number,
    point_of,
    user_of,
)
from schemas.change import ScoreChange, decode_change
from schemas.times import parse_ms
from streams.damage import check_lists_of_tables
from streams.store import rewriting
from streams.topics import DAY_MS

_log = structlog.get_logger(__name__)

LOG_CHANGES_MAX: Final = 1_000_000
"""Changes of a partition from which a dropped stream can go on."""
_VERSION: Final = 1
_RANGES_MAX: Final = 64
"""Ranges of keys that are rewritten one by one; of more, the whole table is."""
_LOG_STEP: Final = 10_000
"""Offsets after which old ones are let go of."""


class Seen(NamedTuple):
    """A change as it stands in the topic."""

    partition: int
    offset: int
    user: bytes
    value: bytes
    """The change as it was published: JSON."""
    change: ScoreChange
    at_ms: int
    """The moment that it speaks of."""
    written_ms: int = 0
    """When it was written, as the topic says."""


class LostError(Exception):
    """Changes that somebody asks for are not kept any more."""


class ModelState(Struct):
    """How far the read model is, and of which topic."""

    topic_id: str
    positions: dict[int, int]
    """Next offset to read, by partition."""
    as_of_ms: int = 0
    """The latest moment that any change speaks of: what is old is counted from it."""
    period_first: int = 0
    """The oldest period that is kept."""
    whole_from: dict[int, int] = {}
    """Offset from which on every change of a partition was read; before it the topic may have kept only last ones."""
    version: int = _VERSION


class ReadModel:
    """One gateway's tables; one writer, any number of readers."""

    def __init__(self, path: Path, topic_id: str, cache: Cache) -> None:
        """Open the tables at `path`; those of another topic, another version, or damaged ones are made anew."""
        self.path = path
        self._cache = cache
        state = self._open(topic_id)
        if state is None:
            self.close()
            shutil.rmtree(path)
            state = self._open(topic_id)
        self.state = state or ModelState(topic_id, {})

    def _open(self, topic_id: str) -> ModelState | None:
        """Open, and return the state; None when what lies there cannot be gone on from."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        families = {name: tables.options(self._cache) for name in FAMILIES}
        try:
            check_lists_of_tables(self.path)
            self._db = Rdict(str(self.path), tables.options(self._cache), column_families=families)
        except Exception as error:  # noqa: BLE001  rocksdict raises a plain Exception
            _log.warning("the read model cannot be opened and is made anew", path=str(self.path), reason=str(error))
            shutil.rmtree(self.path, ignore_errors=True)
            self._db = Rdict(str(self.path), tables.options(self._cache), column_families=families)
        self._tables: dict[str, Rdict] = {name: self._db.get_column_family(name) for name in FAMILIES}
        self._handles = {name: self._db.get_column_family_handle(name) for name in FAMILIES}
        self._forgotten = self._number(FORGOTTEN_KEY)
        value = self._db.get(STATE_KEY)
        if value is None:
            return ModelState(topic_id, {})
        try:
            state = msgspec.msgpack.decode(value, type=ModelState)
        except msgspec.DecodeError as error:
            _log.warning("the read model has another form and is made anew", path=str(self.path), reason=str(error))
            return None
        if (state.version, state.topic_id) != (_VERSION, topic_id):
            _log.warning("the change topic was made anew, and so is the read model", path=str(self.path))
            return None
        return state

    def close(self) -> None:
        """Close the tables; a handle that is left would keep their lock."""
        self._handles.clear()
        for table in self._tables.values():
            table.close()
        self._tables.clear()
        self._db.close()

    # Writing -------------------------------------------------------------------------------------------------------

    def apply(self, changes: Sequence[Seen], day_of: Callable[[bytes], int], positions: Mapping[int, int]) -> None:
        """Write changes in their order, and the positions after them, as one batch.

        `day_of` gives the day of a user's newest change that is stored, -1 where there is none.
        """
        batch = WriteBatch(raw_mode=True)
        state = self.state
        as_of_ms = state.as_of_ms
        newest: dict[bytes, tuple[int, bytes]] = {}
        scores, history, days, log = (self._handles[name] for name in FAMILIES)
        for seen in changes:
            user, change, at_ms = seen.user, seen.change, seen.at_ms
            as_of_ms = max(as_of_ms, at_ms)
            place = PLACE.pack(seen.partition, seen.offset)
            if change.cause == "forget":
                newest[user] = (-1, b"")
                self._forget(batch, user, as_of_ms)
                self._forgotten += 1
                batch.put(FORGOTTEN_KEY, OFFSET.pack(self._forgotten))
                batch.put(place, HERE + seen.value, log)
                continue
            row, day = OFFSET.pack(seen.offset) + seen.value, day_number(at_ms)
            former, before = newest.get(user) or (day_of(user), None)
            if 0 <= former < day and (last := before or self._tables["scores"].get(user)) is not None:
                batch.put(user + b"\0" + DAY.pack(former), last, days)
            elif former < 0 and change.sequence > 1:
                batch.put(user + b"\0" + REBORN, OFFSET.pack(seen.written_ms), days)
            newest[user] = (day, row)
            key = PERIOD.pack(period_number(at_ms)) + user + b"\0" + OFFSET.pack(change.sequence)
            batch.put(user, row, scores)
            batch.put(key, row, history)
            batch.put(place, THERE + key, log)
        positions = {**state.positions, **positions}
        new = ModelState(
            state.topic_id, positions, as_of_ms, period_number(tables.horizon_ms(as_of_ms)), state.whole_from
        )
        self._expire(batch, state, new)
        batch.put(STATE_KEY, msgspec.msgpack.encode(new))
        self._db.write(batch)
        self.state = new

    def note_whole_from(self, offsets: Mapping[int, int]) -> None:
        """Note, by partition, before which offset there may be gaps in what will be read."""
        self.state.whole_from = {**self.state.whole_from, **offsets}

    def _forget(self, batch: WriteBatch, user: bytes, as_of_ms: int) -> None:
        batch.delete(user, self._handles["scores"])
        begin, end = user + b"\0", user + b"\1"
        batch.delete_range(begin, end, self._handles["days"])
        for period in range(period_number(tables.horizon_ms(self.state.as_of_ms)), period_number(as_of_ms) + 1):
            prefix = PERIOD.pack(period)
            batch.delete_range(prefix + begin, prefix + end, self._handles["history"])

    def _expire(self, batch: WriteBatch, old: ModelState, new: ModelState) -> None:
        """Let go of periods that are over, and of what is too old to go on from."""
        if new.period_first > old.period_first:
            first, end = PERIOD.pack(old.period_first), PERIOD.pack(new.period_first)
            batch.delete_range(first, end, self._handles["history"])
        for partition, position in new.positions.items():
            former = old.positions.get(partition, 0)
            # In steps, so that no batch deletes a handful.
            if position // _LOG_STEP > former // _LOG_STEP and position > LOG_CHANGES_MAX:
                begin, end = PLACE.pack(partition, 0), PLACE.pack(partition, position - LOG_CHANGES_MAX)
                batch.delete_range(begin, end, self._handles["log"])

    # Erasing -------------------------------------------------------------------------------------------------------

    def is_to_be_erased(self) -> bool:
        """Return whether somebody who was forgotten may still be in the files."""
        return self._number(ERASED_KEY) != self._forgotten

    def erase(self, forgotten: Sequence[Seen]) -> None:
        """Take users who were forgotten out of the log and out of all files, but for the change that says so.

        That change stays in the log for as long as a stream can go on from before it: its reader must be told.
        """
        number = self._forgotten
        for partition in {seen.partition for seen in forgotten}:
            until = {seen.user: seen.offset for seen in forgotten if seen.partition == partition}
            begin, end = PLACE.pack(partition, 0), PLACE.pack(partition, max(until.values()))
            # One pass for all of them, however many they are.
            for key, value in tables.rows(self._tables["log"], begin, end):
                if PLACE.unpack(key)[1] < until.get(user_of(value), 0):
                    self._tables["log"].delete(key)
        self._rewrite([seen.user for seen in forgotten])
        self._end_erasing(number)

    def erase_all(self) -> None:
        """Do the same for all who were ever forgotten, as far as the log still names them."""
        number = self._forgotten
        for key, value in tables.rows(self._tables["log"], b"", None):
            if value[:1] == THERE and self._tables["history"].get(value[1:]) is None:
                self._tables["log"].delete(key)
        self._rewrite(None)
        self._end_erasing(number)

    def _rewrite(self, users: Sequence[bytes] | None) -> None:
        """Have all files that former rows of these users lie in written anew, of all users where None is given."""
        for name in FAMILIES:
            ranges: list[tuple[bytes | None, bytes | None]] = [(None, None)]
            if users is not None and name in {"scores", "days"}:
                ranges = [(user, user + b"\1") for user in users]
            elif users is not None and name == "history":
                first, last = self.state.period_first, period_number(self.state.as_of_ms)
                periods = [PERIOD.pack(period) for period in range(first, last + 1)]
                ranges = [(period + user, period + user + b"\1") for period in periods for user in users]
            for begin, end in ranges if len(ranges) <= _RANGES_MAX else [(None, None)]:
                self._tables[name].compact_range(begin, end, rewriting())

    def _end_erasing(self, number: int) -> None:
        # The list of files still names those that were rewritten by their first and last keys; the next one does not.
        self._db.put(ERASED_KEY, OFFSET.pack(number))
        for table in (*self._tables.values(), self._db):
            table.flush()

    def _number(self, key: bytes) -> int:
        value = self._db.get(key)
        return 0 if value is None else int(OFFSET.unpack(value)[0])

    # Reading -------------------------------------------------------------------------------------------------------

    def newest(self, user: bytes) -> Point | None:
        """Return the newest change of a user; None for one who is unknown or forgotten."""
        row = self._tables["scores"].get(user)
        return None if row is None else point_of(row)

    def reborn_ms(self, user: bytes) -> int | None:
        """Return when the first change here of a user was written; None where it is the first that there ever was.

        What speaks of the user and is older may be of a life that was forgotten.
        """
        value = self._tables["days"].get(user + b"\0" + REBORN)
        return None if value is None else OFFSET.unpack(value)[0]

    @property
    def full_since_ms(self) -> int:
        """From when on every change is kept: the beginning of a day."""
        return tables.horizon_ms(self.state.as_of_ms)

    def latest(self, user: bytes, count: int) -> list[Point]:
        """Return the last changes of a user, up to so many of those that are kept in full, the newest last."""
        points: list[Point] = []
        for period in range(period_number(self.state.as_of_ms), self.state.period_first - 1, -1):
            begin = PERIOD.pack(period) + user + b"\0"
            points += map(point_of, islice(tables.rows_back(self._tables["history"], begin), count - len(points)))
        return points[::-1]

    def beginning_with(self, prefix: bytes) -> Iterator[tuple[bytes, Point]]:
        """Yield the newest change of users whose ids begin so, in their order."""
        for user, row in tables.rows(self._tables["scores"], prefix, None):
            if not user.startswith(prefix):
                return
            yield user, point_of(row)

    def everyone(self) -> Iterator[tuple[bytes, Point]]:
        """Yield the newest change of every user, in the order of their ids."""
        for user, row in tables.rows(self._tables["scores"], b"", None):
            yield user, point_of(row)

    def history(self, user: bytes, from_ms: int, to_ms: int) -> Iterator[Point]:
        """Yield the changes of a user whose days or periods touch these times, the oldest first.

        It is every change of the last HISTORY_DAYS, and before that the last one of each day. The first and the last
        ones may lie outside: who asks compares `as_of`.
        """
        horizon_ms = tables.horizon_ms(self.state.as_of_ms)
        begin = user + b"\0"
        days = DAY.pack(day_number(from_ms)), DAY.pack(day_number(min(to_ms + DAY_MS, horizon_ms)))
        for _, row in tables.rows(self._tables["days"], begin + days[0], begin + days[1]):
            yield point_of(row)
        newest = self.newest(user)
        if newest is not None and parse_ms(decode_change(newest.value).as_of) < horizon_ms:
            # Its day has no end yet, and its period may be gone.
            yield newest
            return
        for period in range(
            period_number(max(from_ms, horizon_ms)), period_number(min(to_ms, self.state.as_of_ms)) + 1
        ):
            prefix = PERIOD.pack(period) + user
            for _, row in tables.rows(self._tables["history"], prefix + b"\0", prefix + b"\1"):
                yield point_of(row)

    def after(self, partition: int, offset: int, changes_max: int) -> list[Point]:
        """Return up to so many changes of a partition from an offset on, in the topic's order.

        Those of who was forgotten are left out. Raise `LostError` where others are not kept any more.
        """
        begin, end = PLACE.pack(partition, offset), PLACE.pack(partition + 1, 0)
        points: list[Point] = []
        for key, value in tables.rows(self._tables["log"], begin, end):
            at = PLACE.unpack(key)[1]
            if value[:1] == HERE:
                points.append(Point(at, value[1:]))
            elif (row := self._tables["history"].get(value[1:])) is not None:
                points.append(Point(at, row[OFFSET.size :]))
            elif PERIOD.unpack_from(value, 1)[0] < self.state.period_first:
                raise LostError
            if len(points) == changes_max:
                break
        # Looked at after reading: old ones are let go of meanwhile.
        if offset < self.log_begins(partition):
            raise LostError
        return points

    def newest_before(self, user: bytes, offset: int) -> Point | None:
        """Return the newest change of a user that lies before an offset of its partition."""
        newest = self.newest(user)
        if newest is None or newest.offset < offset:
            return newest
        last = period_number(parse_ms(decode_change(newest.value).as_of))
        for period in range(last, self.state.period_first - 1, -1):
            for row in tables.rows_back(self._tables["history"], PERIOD.pack(period) + user + b"\0"):
                point = point_of(row)
                if point.offset < offset:
                    return point
        return None

    def after_of(self, user: bytes, partition: int, offset: int) -> list[Point] | None:
        """Return the changes of one user from an offset of its partition on, the oldest first.

        None where the user was forgotten since, or may have been: then only the log knows what came.
        """
        newest = self.newest(user)
        if newest is None:
            log = self._tables["log"], PLACE.pack(partition, offset), PLACE.pack(partition + 1, 0)
            return [] if next(tables.rows(*log), None) is None else None
        if newest.offset < offset:
            return []
        points: list[Point] = []
        for period in range(
            period_number(self.state.as_of_ms), period_number(tables.horizon_ms(self.state.as_of_ms)) - 1, -1
        ):
            for row in tables.rows_back(self._tables["history"], PERIOD.pack(period) + user + b"\0"):
                point = point_of(row)
                if point.offset < offset:
                    return points[::-1]
                points.append(point)
        return points[::-1] if points and decode_change(points[-1].value).sequence == 1 else None

    def log_begins(self, partition: int) -> int:
        """Return the first offset of a partition from which a stream can go on."""
        kept_from = self.state.positions.get(partition, 0) - LOG_CHANGES_MAX
        return max(kept_from, self.state.whole_from.get(partition, 0), 0)
