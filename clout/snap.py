"""Lines of the SNAP collection's interaction files as interactions in the native JSON format.

A line is `actor target unix_seconds [RT|MT|RE]`, separated by blanks; lines that start with `#` are comments.
Such files tell a reply twice, as RE and as a mention (MT) with the same actor, target and second. The rule: each RE
takes one such MT with it, wherever the two stand among the lines of that second, so that a reply counts once.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

RawEvent = tuple[bytes | None, bytes, int | None]
"""Key of the record (the actor, or None), its value, and the event time in milliseconds where it is known."""

KIND_OF_COLUMN: Final = {b"RT": b"share", b"MT": b"mention", b"RE": b"reply"}

DIGITS_MAX: Final = 12
"""Digits of a time in seconds; longer is no time."""

LINE_BYTES_MAX: Final = 4_096
"""Two ids, a time and a kind are never longer; a longer line is no interaction."""

_PLAIN = re.compile(rb"[\t\n\r\x20\x21\x23-\x5b\x5d-\x7e]*")
"""A line that needs no JSON escapes: printable ASCII without quotation mark and backslash."""


@dataclass(slots=True)
class LineCounts:
    """What became of the lines of a file."""

    lines: int = 0
    skipped: int = 0
    """Empty lines and comments."""
    twins: int = 0
    """Mentions that only repeat a reply."""
    malformed: int = 0
    """Lines that are no interaction; they are sent as they are, for ingest to put aside with a reason."""


@dataclass(frozen=True, slots=True)
class _Row:
    number: int
    actor: bytes
    target: bytes
    kind: bytes


class SnapEvents:
    r"""Turns the lines of one file into interactions, in the order of the file.

    User ids are `PREFIX:id`, event ids `network:line` with the line's number in the file, from 1.

    >>> reader = SnapEvents("twitter", prefix="t")
    >>> lines = [b"7 9 1341100972 MT\n", b"7 9 1341100972 RE\n", b"8 9 1341100973 RT\n"]
    >>> for key, value, time_ms in reader.events(lines):
    ...     print(value.decode())
    {"id":"twitter:2","kind":"reply","actor":"t:7","target":"t:9","time":1341100972000}
    {"id":"twitter:3","kind":"share","actor":"t:8","target":"t:9","time":1341100973000}
    >>> reader.counts.twins
    1
    """

    def __init__(self, network: str, *, prefix: str, kind: str | None = None) -> None:
        """Name the network and the prefix of user ids; `kind` is that of lines without a fourth column."""
        self.counts = LineCounts()
        self._network = network.encode()
        self._prefix = prefix.encode()
        self._kind = kind.encode() if kind else None

    def events(self, lines: Iterable[bytes]) -> Iterator[RawEvent]:
        """Yield the interactions of all lines; a malformed line comes unchanged and without a key."""
        counts = self.counts
        second = b""
        held: list[_Row] = []
        for line in lines:
            counts.lines += 1
            columns = line.split()
            if not columns or columns[0].startswith(b"#"):
                counts.skipped += 1
                continue
            kind = self.kind_of(columns) if len(line) <= LINE_BYTES_MAX else None
            if kind is None or not (_PLAIN.fullmatch(line) or _escape(columns)):
                counts.malformed += 1
                yield None, line.rstrip(b"\r\n"), None
                continue
            if columns[2] != second:
                yield from self._settled(held, second)
                second, held = columns[2], []
            held.append(_Row(counts.lines, columns[0], columns[1], kind))
        yield from self._settled(held, second)

    def kind_of(self, columns: list[bytes]) -> bytes | None:
        """Tell the kind of a line; None if it is no interaction or has no kind."""
        match columns:
            case [_, _, seconds, column] if seconds.isdigit() and len(seconds) <= DIGITS_MAX:
                return KIND_OF_COLUMN.get(column)
            case [_, _, seconds] if seconds.isdigit() and len(seconds) <= DIGITS_MAX:
                return self._kind
        return None

    def _settled(self, rows: list[_Row], second: bytes) -> Iterator[RawEvent]:
        """Yield the lines of one second without the twins of its replies."""
        replies = Counter((row.actor, row.target) for row in rows if row.kind == b"reply")
        network, prefix = self._network, self._prefix
        for row in rows:
            if replies and row.kind == b"mention" and replies[row.actor, row.target] > 0:
                replies[row.actor, row.target] -= 1
                self.counts.twins += 1
                continue
            actor = b"%b:%b" % (prefix, row.actor)
            yield (
                actor,
                b'{"id":"%b:%d","kind":"%b","actor":"%b","target":"%b:%b","time":%b000}'
                % (network, row.number, row.kind, actor, prefix, row.target, second),
                int(second) * 1000,
            )


def _escape(columns: list[bytes]) -> bool:
    """Escape the ids in place as JSON has it; false if they are no UTF-8."""
    try:
        columns[:2] = (msgspec.json.encode(column.decode())[1:-1] for column in columns[:2])
    except UnicodeDecodeError:
        return False
    return True
