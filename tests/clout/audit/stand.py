"""Both stages in memory with a clock, and what an audit reads of them: looks at the rows, and the changes so far."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from clout.audit.chains import Chains
from clout.audit.changes import Raw
from clout.audit.findings import BROKEN, NOT_JUDGED, Findings
from clout.audit.look import Look, read_look
from clout.audit.one_look import judge_look
from clout.audit.two_looks import judge_looks
from schemas.look import LookPiece, encode_frame
from scorer.model import DAY_MS, Model
from scorer.reference import Event
from scorer.target_state import decode_targets, stored_dues
from streams.frozen import Frozen
from streams.looks import _head, _piece
from streams.publish import changes, forgetting
from streams.reasons import no_reasons
from streams.stages import targets
from streams.stages.targets import TargetsOutcome
from tests.streams.stages import Act, Retraction, Stages

START_MS = 1_340_000_000_000
MODEL = Model()
KINDS = ("share", "reply", "reaction")


class Stand(Stages):
    """One partition, and all that it has published."""

    def __init__(self) -> None:
        super().__init__(MODEL)
        self.topic: list[Raw] = []

    def apply(self, acts: Sequence[Act], arrival_ms: int = 0) -> TargetsOutcome | None:
        outcome = super().apply(acts, arrival_ms)
        if outcome is not None:
            self._publish(outcome)
        return outcome

    def pass_time(self, time_ms: int, *, apart_ms: int = 0) -> None:
        """Let clocks come so far, each network's so much behind the last, and fold until nobody's time has come."""
        before = dict(self.state.clocks)
        for number, network in enumerate(self.state.networks):
            clock = time_ms - number * apart_ms
            self.state.clocks[network] = max(clock, before.get(network, clock))
        self.state.population.move_to(self.state.clocks)
        while due := self.due():
            outcome = targets.fold(
                [],
                [],
                self.state,
                read=lambda users: [self.targets.get(user) for user in users],
                parameters=self.model.parameters,
                forgotten=self.forgotten,
                clocks_before=before,
                due=due,
            )
            self.targets.update(outcome.rows)
            self._publish(outcome)

    def forget(self, user: str) -> int:
        """Delete somebody and say so, as the command does; the number of records until then."""
        entry = self.forgotten.get(user.encode())
        heads, entries, _ = decode_targets([self.targets.pop(user.encode())], len(self.state.networks))
        self.state.population.follow(len(self.state.networks), (heads, entries), None)
        head = heads[0]
        entry.sequence, entry.epoch = int(head["sequence"]) + 1, 0
        entry.undone["actors/0"] = 1
        self.forgotten.apply([self.forgotten.row(user.encode(), entry)])
        said = forgetting(
            user.encode(),
            entry.sequence,
            int(head["score_tenths"]),
            int(head["as_of"]),
            model="1",
            reference="",
        )
        assert said.values[0] is not None
        self.topic.append(Raw(user.encode(), said.values[0], START_MS, len(self.topic)))
        return len(self.topic)

    def due(self) -> list[bytes]:
        rows = self._rows()
        dues = stored_dues([row for _, row in rows])
        clocks = np.array([self.state.clocks.get(name, 0) for name in self.state.networks])
        return [rows[row][0] for row in np.unique(dues.row[dues.time <= clocks[dues.network]]).tolist()]

    def look(self, *, due_left: bool = False, anyone_forgotten: bool = False, piece_rows: int = 7) -> Look:
        """What a worker would answer now."""
        task = cast("Any", SimpleNamespace(partition=0, stopped=""))
        frozen = cast("Frozen", SimpleNamespace(changelog_end=0, anyone_forgotten=anyone_forgotten))
        rows = self._rows()
        pieces = [rows[at : at + piece_rows] for at in range(0, len(rows), piece_rows)]
        frames = [encode_frame(_head(task, self.state.copy(), frozen, due_left=due_left))]
        frames += [encode_frame(_piece(piece, self.state, self.model.parameters)) for piece in pieces]
        return read_look([*frames, encode_frame(LookPiece([], [], b""))])

    def _rows(self) -> list[tuple[bytes, bytes]]:
        return sorted((user, row) for user, row in self.targets.items() if row is not None)

    def _publish(self, outcome: TargetsOutcome) -> None:
        written = changes(
            outcome.published,
            outcome.users,
            self.state.networks,
            causes=outcome.causes,
            reasons=no_reasons(len(outcome.published.index)),
            model="1",
        )
        for key, value in zip(written.keys, written.values, strict=True):
            assert value is not None
            self.topic.append(Raw(key, value, START_MS, len(self.topic)))


def some_acts(seed: int, number: int, *, days: float, retracting: float = 0.0) -> Iterator[Act]:
    """Random acts of some on others, on two networks; of the last ones some are taken back."""
    chance = random.Random(seed)
    done: list[Event] = []
    for at in range(number):
        time = START_MS + round(at / number * days * DAY_MS)
        if done and chance.random() < retracting:
            event = chance.choice(done[-30:])
            yield Retraction(event.network, event.id, event.actor, time)
            continue
        late = chance.choice((0, 0, 0, round(chance.random() * 3 * DAY_MS)))
        actor, target = f"a{chance.randrange(20)}", f"t{int(chance.paretovariate(0.7)) % 40}"
        network = chance.choice(("one", "one", "two"))
        event = Event(network, f"{seed}-{at}", chance.choice(KINDS), actor, target, time - late)
        done.append(event)
        yield event


def in_batches(acts: Sequence[Act], size: int) -> Iterator[Sequence[Act]]:
    for at in range(0, len(acts), size):
        yield acts[at : at + size]


def broken(findings: Findings) -> dict[str, list[str]]:
    """Laws that are broken, and who breaks them."""
    assert not [of.law for of in findings.verdicts if of.verdict == NOT_JUDGED]
    return {
        of.law: sorted({offence.who for offence in of.offences}) for of in findings.verdicts if of.verdict == BROKEN
    }


def audited(
    first: Look,
    second: Look,
    topic: Sequence[Raw],
    *,
    seen: int | None = None,
    tombstones: Sequence[bytes] = (),
    now_ms: int = START_MS,
) -> Findings:
    """An audit of two looks and the topic, of which `seen` records were there between the looks."""
    findings = Findings()
    seen = len(topic) if seen is None else seen
    judge_look(first, MODEL, findings)
    chains = Chains(MODEL, findings, now_ms)
    chains.slack_tenths = int(any(of.get("adjusted", 0) for of in second.head.counters.values()))
    for batch in in_records(topic[:seen], 50):
        chains.feed(batch)
    chains.feed([], tombstones)
    judge_look(second, MODEL, findings)
    chains.expect(second)
    for batch in in_records(topic[seen:], 50):
        chains.feed(batch)
    chains.end()
    judge_looks(first, second, chains.reborn(first), MODEL, findings)
    findings.looked_at_users(len(second.users))
    return findings


def in_records(records: Sequence[Raw], size: int) -> Iterator[Sequence[Raw]]:
    for at in range(0, len(records), size):
        yield records[at : at + size]


def with_entries(look: Look, who: str, **values: float) -> Look:
    """The look with other values in somebody's first part."""
    entries = look.entries.copy()
    place = int(np.flatnonzero(look.user == look.users.index(who.encode()))[0])
    for name, value in values.items():
        entries[name][place] = value
    return replace(look, entries=entries)


def with_head(look: Look, who: str, **values: float) -> Look:
    """The look with another head of somebody."""
    heads = look.heads.copy()
    for name, value in values.items():
        heads[name][look.users.index(who.encode())] = value
    return replace(look, heads=heads)


def entry(look: Look, who: str) -> np.void:
    """Somebody's first part."""
    found: np.void = look.entries[look.user == look.users.index(who.encode())][0]
    return found
