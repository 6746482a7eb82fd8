"""Audits one partition: looks at all of its users twice, and in between reads all changes there ever were."""

import time
from collections.abc import Callable
from typing import Final

from confluent_kafka import Consumer, TopicPartition

from clout.audit.chains import Chains
from clout.audit.changes import Raw
from clout.audit.findings import Findings
from clout.audit.look import Look, read_look
from clout.audit.one_look import judge_look
from clout.audit.two_looks import judge_looks
from clout.owners import Owners
from clout.whole_topic import Extent, record_batches
from schemas.users import partition_of
from scorer.model import Model
from streams.errors import CloutError, first_line
from streams.names import Names

BATCH_CHANGES: Final = 10_000
CATCH_UP_SECONDS_MAX: Final = 30.0
"""How long a worker may need to store what it has published."""
LOOK_TRIES_MAX: Final = 3
"""A look breaks off when its partition moves, or erases somebody."""
WATERMARK_SECONDS: Final = 10.0
_NAP_SECONDS: Final = 0.2


class PartitionAudit:
    """An audit of one partition after the other."""

    def __init__(
        self,
        owners: Owners,
        reader: Consumer,
        names: Names,
        model: Model,
        findings: Findings,
        say: Callable[[str], None],
    ) -> None:
        """Take what it asks and reads; `say` is told what it does."""
        self._owners = owners
        self._reader = reader
        self._names = names
        self._model = model
        self._findings = findings
        self._say = say

    def run(self, partition: int, seconds: float) -> str:
        """Look at a partition twice, at least so many seconds apart; return why it stands still, if it does.

        Raise `CloutError` when it cannot be had. The order makes it exact while the worker goes on: what a look shows
        was published before it, so the topic, read to its end after the second look, has it; and the second look is
        at a state that has all that was published before it began.
        """
        model, findings = self._model, self._findings
        self._say(f"partition {partition}: its users")
        first, begun = self._look(partition), time.monotonic()
        judge_look(first, model, findings)
        self._say(f"partition {partition}: changes")
        chains = Chains(model, findings, int(time.time() * 1000))
        chains.slack_tenths = _slack(first)
        begin, end = self._ends(self._names.changes, partition)
        self._read(chains, Extent(self._names.changes, partition, begin, end))
        canaries, met = self._canaries(), set[bytes]()
        self._read_canaries(chains, partition, canaries, met)
        _, stored = self._ends(self._names.state, partition)
        self._say(f"partition {partition}: its users again")
        time.sleep(max(0.0, seconds - (time.monotonic() - begun)))
        second = self._look_at(partition, stored)
        judge_look(second, model, findings)
        chains.slack_tenths = _slack(second)
        chains.expect(second)
        _, last = self._ends(self._names.changes, partition)
        self._read(chains, Extent(self._names.changes, partition, end, last))
        self._read_canaries(chains, partition, self._canaries()._replace(begin=canaries.end), met)
        chains.end()
        judge_looks(first, second, chains.reborn(first), model, findings)
        findings.looked_at_users(len(second.users))
        findings.count(5, "users whose time has come, and whose change is not written yet", int(second.is_due.sum()))
        return first_line(second.head.standing)

    def _look_at(self, partition: int, stored: int) -> Look:
        """Look when the worker has stored what was in the changelog."""
        deadline = time.monotonic() + CATCH_UP_SECONDS_MAX
        while True:
            look = self._look(partition)
            if look.head.changelog_end >= stored:
                return look
            if time.monotonic() > deadline:
                raise CloutError(
                    f"partition {partition} does not store what it has published",
                    detail=f"its state is at {look.head.changelog_end} of the changelog, which reaches {stored}"
                    + (f"; it stands still: {first_line(look.head.standing)}" if look.head.standing else ""),
                    hint="see the worker's log",
                )
            time.sleep(_NAP_SECONDS)

    def _look(self, partition: int) -> Look:
        for attempt in range(1, LOOK_TRIES_MAX + 1):
            try:
                look = read_look(self._owners.look(partition))
            except ValueError as error:
                raise CloutError(
                    f"what the worker of partition {partition} answers cannot be read",
                    detail=str(error),
                    hint="run the audit with the workers' release",
                ) from error
            except CloutError:
                if attempt == LOOK_TRIES_MAX:
                    raise
                continue
            if look.head.model_hash != self._model.parameters_hash:
                raise CloutError(
                    f"partition {partition} scores by another model than the settings",
                    detail=f"model {look.head.model!r} with other parameters",
                    hint="run the audit with the settings of the workers",
                )
            return look
        raise AssertionError(partition)

    def _ends(self, topic: str, partition: int) -> tuple[int, int]:
        return self._reader.get_watermark_offsets(TopicPartition(topic, partition), timeout=WATERMARK_SECONDS)

    def _read(self, chains: Chains, extent: Extent) -> None:
        for messages in record_batches(self._reader, extent, BATCH_CHANGES):
            batch: list[Raw] = []
            for message in messages:
                key, value = message.key() or b"", message.value()
                if value is None:
                    chains.feed(batch, [key])
                    batch = []
                else:
                    batch.append(Raw(key, value, message.timestamp()[1], message.offset() or 0))
            chains.feed(batch)

    def _canaries(self) -> Extent:
        return Extent(self._names.canaries, 0, *self._ends(self._names.canaries, 0))

    def _read_canaries(self, chains: Chains, partition: int, extent: Extent, met: set[bytes]) -> None:
        """Follow the canaries of a partition; `met` are those followed so far.

        Old segments of their topic are deleted, so a chain may begin anywhere: its first record counts as old.
        """
        partitions = self._owners.partitions
        for messages in record_batches(self._reader, extent, BATCH_CHANGES):
            batch = []
            for message in messages:
                key, value = message.key() or b"", message.value()
                if value is None or partition_of(key, partitions) != partition:
                    continue
                written_ms = message.timestamp()[1] if key in met else 0
                met.add(key)
                batch.append(Raw(key, value, written_ms, message.offset() or 0))
            chains.feed(batch)


def _slack(look: Look) -> int:
    return int(any(counters.get("adjusted", 0) for counters in look.head.counters.values()))
