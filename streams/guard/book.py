"""The incident book: what detectors think and operators say comes in, incidents come out, one a cause.

Pure; time is an argument. The book is what `incidents.v1` says, read from its beginning, and what fires at the moment
(`Book.state`). An incident of the guard is

- `investigating` when it is opened,
- `identified` once an operator said something of it or froze its network, or an incident of a partition explains it,
- `monitoring` when nothing of it fires any more,
- `resolved` by an operator, or by itself once it was quiet for `QUIET_MS`, unless a network is frozen because of it.

Incidents that partition tasks wrote are in the book as they come; only notes are added to them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
from msgspec.structs import replace

from schemas.control import CommandRecord
from schemas.incident import USERS_NAMED_MAX, Evidence, Incident, IncidentKind, IncidentStatus, Severity, Slice
from schemas.times import HOUR_MS, format_ms, parse_ms
from streams.guard.cases import (
    EXPLAINED,
    OF_POPULATION,
    RANKS,
    RESOLVED,
    declared,
    evidence_of,
    found_in,
    goes_before,
    is_of_a_task,
    is_same_case,
    is_within,
    joint,
    kept,
    kinds_of,
    opened,
    with_finding,
    with_note,
    with_notes,
)
from streams.guard.detector import Firing, Verdict

QUIET_MS: Final = 600_000
"""An incident ends by itself when nothing of it has fired for so long."""
UPDATE_MS: Final = 30_000
"""Shortest time between two records of an incident of which only the numbers changed, …"""
GROWN_MS: Final = 3_000
GROWN_TIMES: Final = 1.5
"""… and where it touches so many times as many users."""
KEPT_MS: Final = 24 * HOUR_MS
"""How long the book holds an incident that is resolved."""
DECLARED_MS_MAX: Final = 30 * 24 * HOUR_MS
"""`incidents.v1` is kept for so long: an older declaration was dealt with, whatever the topic still says of it."""
GUARDS_COMMAND: Final = "guard-"
"""How the ids of commands begin that the guard itself issues."""
STANDS_ANYWAY: Final[frozenset[IncidentKind]] = frozenset({"feed_stalled"})
"""Kinds that freezing a network does not help against."""

CAUSES: Final[Mapping[IncidentKind, frozenset[IncidentKind]]] = {
    "canary_late": frozenset({"law_violation", "lane_gap", "partition_stopped", "partition_silent", "feed_stalled"}),
    "canary": OF_POPULATION,
}
"""Of which kinds of incident a finding of another kind is only a symptom, …"""
AFTER_MS: Final = 60_000
"""… and for so long after they are over, in which what waited comes."""
OF_SCORES: Final[frozenset[IncidentKind]] = frozenset({"canary", "population_shift", "population_at_floor"})
"""What is wrong with a network's scores can be its feed, or what all scores go through, …"""
ALONE_MS: Final = 5_000
"""What is found of one network's scores for so long, and not of all, is an incident of that network."""
FREEZE_AFTER_MS: Final = 10_000
"""… so that it freezes the network only if so long after it nothing is known to be wrong with all."""


class Freeze(NamedTuple):
    """A network that is to be frozen, and why."""

    network: str
    incident: str
    reason: str
    """What was found."""


class _Key(msgspec.Struct, frozen=True):
    """What a detector says something of."""

    detector: str
    kind: IncidentKind
    slice: Slice


class _Held(msgspec.Struct):
    """What a detector said last, while it fires."""

    key: _Key
    severity: Severity
    verdict: Verdict
    incident: str | None = None
    begun_ms: int = 0
    settled: bool = False
    """An operator resolved the incident: nothing more comes of it unless it gets worse."""
    shared_ms: int = 0
    """When it was last found of all networks too, or explained by something else."""


class _Entry(msgspec.Struct):
    """An incident in the book."""

    incident: Incident
    written: Incident | None = None
    written_ms: int = 0
    urgent: bool = False
    """An operator said something: it is written at once."""
    quiet_since_ms: int | None = None
    resumed: list[str] = []
    """Networks that were frozen because of it and that an operator resumed: the guard freezes them no second time."""
    again: str = ""
    """When it last began again after it was quiet: what operators said before was about what was before."""

    @property
    def is_open(self) -> bool:
        return self.incident.status != RESOLVED


class _State(msgspec.Struct):
    """What the topic does not tell."""

    held: list[_Held]
    frozen: dict[str, str]
    quiet_since_ms: dict[str, int]
    resumed: dict[str, list[str]] = {}
    again: dict[str, str] = {}


class Book:
    """All incidents that are open, and those that were until lately."""

    def __init__(self, model: str, *, freeze: bool = True) -> None:
        """Open an empty book of the guard of a model; `freeze` says whether critical findings freeze a network."""
        self._model = model
        self._freeze = freeze
        self._entries: dict[str, _Entry] = {}
        self._held: dict[_Key, _Held] = {}
        self._frozen: dict[str, str] = {}

    def incidents(self) -> list[Incident]:
        """Return the incidents in the book, the one opened last first."""
        found = (entry.incident for entry in self._entries.values())
        return sorted(found, key=lambda incident: incident.opened, reverse=True)

    def firing(self) -> list[Firing]:
        """Return what detectors find, and about what."""
        return [Firing(of.key.detector, of.key.kind, of.severity, of.key.slice) for of in self._held.values()]

    def frozen(self) -> dict[str, str]:
        """Return the networks that are frozen, also where no incident is open any more, and since when."""
        return dict(sorted(self._frozen.items()))

    # What comes in.

    def take(self, incident: Incident) -> None:
        """Take a record of the topic; of one incident the newest counts."""
        entry = self._entries.get(incident.id)
        if entry is None:
            self._entries[incident.id] = entry = _Entry(incident, incident, parse_ms(incident.updated))
        elif goes_before(entry.incident, incident):
            if entry.incident.model == self._model:
                entry.written, entry.urgent = incident, True  # Another guard declared it too: it is written again.
        elif goes_before(incident, entry.incident) or (
            incident.updated >= entry.incident.updated and incident != entry.written
        ):
            # Whoever wrote it may not have known of a note.
            entry.incident, entry.written = with_notes(incident, entry.incident.notes), incident
        if is_of_a_task(incident) and incident.status != RESOLVED:
            self._explain(incident)

    def judge(self, detector: str, verdict: Verdict, now_ms: int) -> None:
        """Take what a detector says; `look` says what comes of it."""
        if verdict.incident is not None:
            self._join(verdict.incident, verdict, now_ms)
            return
        key = _Key(detector, verdict.kind, verdict.slice)
        held = self._held.get(key)
        if verdict.firing:
            if held is None:
                self._held[key] = _Held(key, verdict.severity, verdict, begun_ms=now_ms)
                return
            held.settled = held.settled and RANKS[verdict.severity] <= RANKS[held.severity]
            held.severity, held.verdict = verdict.severity, verdict
        elif held is not None:
            del self._held[key]
        if held is None:
            return
        entry = self._open(held.incident)
        if held.incident is None:
            # Whoever goes on from a stored state may hear that it is over before having looked what case it belongs to.
            entry = self._case_of(verdict)
            is_known = entry is not None and any(found.finding == verdict.kind for found in entry.incident.evidence)
            if entry is not None and not (is_known and is_within(verdict.slice, entry.incident.slice)):
                entry = None
        if entry is not None:
            entry.incident = with_finding(entry.incident, verdict, now_ms)

    def obey(self, record: CommandRecord, now_ms: int) -> None:
        """Take what became of a command; one that was obeyed before changes nothing."""
        entry = self._entries.get(record.incident or "")
        if not record.accepted:
            self._refused(record)
        elif record.command == "declare" and entry is None:
            if record.incident and parse_ms(record.received) > now_ms - DECLARED_MS_MAX:
                self._entries[record.incident] = _Entry(declared(record, self._model))
        elif record.command == "note" and entry is not None:
            self._note(entry, record, record.reason)
        elif record.command == "resolve" and entry is not None and entry.is_open and not is_of_a_task(entry.incident):
            self._note(entry, record, record.reason)
            self._resolve(entry, record.id)
        elif record.command == "freeze" and record.network:
            self._frozen.setdefault(record.network, record.received)
            self._freeze_noted(record, record.network)
        elif record.command == "resume" and record.network:
            self._frozen.pop(record.network, None)
            self._resume_noted(record, record.network)

    def touch(self, incident: str, user_count: int, users: Sequence[str]) -> None:
        """Take whom an incident touches: how many, and those whom its record names."""
        entry = self._open(incident)
        if entry is not None and not is_of_a_task(entry.incident):
            named = [*dict.fromkeys([*entry.incident.users, *users])][:USERS_NAMED_MAX]
            entry.incident = replace(entry.incident, users=named, affected_users=max(user_count, len(named)))

    # What comes of it.

    def look(self, now_ms: int) -> None:
        """Open incidents for what fires, bring all up to date, and forget those that ended long ago."""
        # What is found of all comes first: what is found of a network joins it.
        for held in sorted(self._held.values(), key=lambda held: held.key.slice != Slice()):
            if held.settled or self._open(held.incident) is not None:
                continue
            if held.key.kind in OF_POPULATION and held.key.slice.network and now_ms - held.begun_ms < ALONE_MS:
                continue  # The others, and so all of them, may follow with the next records.
            if self._is_explained(held.key, now_ms):
                held.shared_ms = now_ms
            else:
                self._attach(held, now_ms)
        firing = {held.incident for held in self._held.values()}
        for entry in self._open_ones():
            self._bring_up_to_date(entry, now_ms, is_firing=entry.incident.id in firing)
        for identity, entry in list(self._entries.items()):
            is_over = not entry.is_open and parse_ms(entry.incident.updated) < now_ms - KEPT_MS
            if is_over and entry.written == entry.incident:
                del self._entries[identity]

    def due(self, now_ms: int) -> list[Incident]:
        """Return the records that are to be written now."""
        return [
            replace(entry.incident, updated=format_ms(now_ms))
            for entry in self._entries.values()
            if _is_due(entry, now_ms)
        ]

    def wrote(self, incident: Incident, now_ms: int) -> None:
        """Hear that a record was written."""
        entry = self._entries[incident.id]
        entry.incident = entry.written = incident
        entry.written_ms, entry.urgent = now_ms, False

    def to_freeze(self, now_ms: int) -> list[Freeze]:
        """Return the networks that a critical finding is about and that are not frozen; once an incident.

        What is wrong with scores is not a feed's fault where it is wrong with all of them, nor where it was until
        lately: one of them is the last to be right again.
        """
        found = {}
        for held in self._held.values():
            network, entry = held.key.slice.network, self._open(held.incident)
            if network is None or entry is None or held.settled or not self._freeze:
                continue
            is_new = network not in {*self._frozen, *entry.incident.frozen, *entry.resumed}
            if held.key.kind in OF_SCORES and not self._is_own(held, now_ms):
                continue
            if held.severity == "critical" and held.key.kind not in STANDS_ANYWAY and is_new:
                found[network] = Freeze(network, entry.incident.id, held.verdict.detail)
        return list(found.values())

    def froze(self, freeze: Freeze) -> None:
        """Hear that the order to freeze a network was given."""
        entry = self._entries[freeze.incident]
        entry.incident = replace(entry.incident, frozen=[*entry.incident.frozen, freeze.network])
        entry.urgent = True

    def froze_not(self, incident: str, network: str) -> None:
        """Hear that the order came to nothing: it is to be given again."""
        if (entry := self._open(incident)) is not None:
            frozen = [name for name in entry.incident.frozen if name != network]
            entry.incident = replace(entry.incident, frozen=frozen)

    # What a standby goes on with.

    def state(self) -> bytes:
        """Return what fires, what is frozen, and since when it is quiet: the topic tells the rest."""
        quiet = {name: of.quiet_since_ms for name, of in self._entries.items() if of.quiet_since_ms is not None}
        resumed = {name: of.resumed for name, of in self._entries.items() if of.resumed}
        again = {name: of.again for name, of in self._entries.items() if of.again}
        return msgspec.msgpack.encode(_State(list(self._held.values()), self._frozen, quiet, resumed, again))

    def restore(self, state: bytes) -> None:
        """Go on from what was stored, once the incidents are in; raise `ValueError` when it cannot be read."""
        found = msgspec.msgpack.decode(state, type=_State)
        self._held = {held.key: held for held in found.held}
        self._frozen = found.frozen
        for name, since_ms in found.quiet_since_ms.items():
            if name in self._entries:
                self._entries[name].quiet_since_ms = since_ms
        for name, networks in found.resumed.items():
            if name in self._entries:
                self._entries[name].resumed = networks
        for name, again in found.again.items():
            if name in self._entries:
                self._entries[name].again = again

    # Helpers.

    def _open(self, identity: str | None) -> _Entry | None:
        entry = self._entries.get(identity or "")
        return entry if entry is not None and entry.is_open else None

    def _open_ones(self) -> Iterator[_Entry]:
        """Yield the open incidents that this guard answers for, the first one first."""
        for entry in self._entries.values():
            if entry.is_open and not is_of_a_task(entry.incident) and entry.incident.model == self._model:
                yield entry

    def _attach(self, held: _Held, now_ms: int) -> None:
        """Let a finding join an open incident about the same, or open one."""
        verdict = held.verdict
        entry = self._case_of(verdict)
        if entry is not None:
            if entry.quiet_since_ms is not None:
                entry.again, entry.resumed = format_ms(now_ms), []
            entry.incident = with_finding(entry.incident, verdict, now_ms)
        else:
            entry = _Entry(opened(verdict, self._model, now_ms))
            self._entries[entry.incident.id] = entry
            self._explain(entry.incident)
        held.incident = entry.incident.id

    def _join(self, incident: str, verdict: Verdict, now_ms: int) -> None:
        """Say a consequence of an incident in it, where it is open and this guard's; it is as severe as before."""
        if (entry := self._open(incident)) is not None and not is_of_a_task(entry.incident):
            evidence = [*entry.incident.evidence, evidence_of(verdict, now_ms)]
            entry.incident = replace(entry.incident, evidence=kept(evidence))

    def _case_of(self, verdict: Verdict) -> _Entry | None:
        """Return the open incident that a finding is about, the first one."""
        for entry in self._open_ones():
            kinds = {entry.incident.kind, verdict.kind}
            of_population = kinds <= OF_POPULATION
            is_wider = of_population and joint(verdict.slice, entry.incident.slice) != entry.incident.slice
            if entry.quiet_since_ms is not None and (is_wider or (len(kinds) > 1 and not of_population)):
                continue  # That is over: what comes now is something else.
            if is_same_case(verdict, entry.incident):
                return entry
        return None

    def _bring_up_to_date(self, entry: _Entry, now_ms: int, *, is_firing: bool) -> None:
        incident = entry.incident
        if is_firing or incident.kind == "declared":
            entry.quiet_since_ms = None
            status: IncidentStatus = "identified" if _is_identified(entry) else "investigating"
        else:
            entry.quiet_since_ms = now_ms if entry.quiet_since_ms is None else entry.quiet_since_ms
            status = "monitoring"
            if now_ms - entry.quiet_since_ms >= QUIET_MS and self._frozen.keys().isdisjoint(incident.frozen):
                status = RESOLVED
        if status != incident.status:
            entry.incident = replace(incident, status=status)

    def _is_explained(self, of: _Key, now_ms: int) -> bool:
        """Return whether another incident says this already: a partition's own one, or of what it is a symptom."""
        return any(self._explains(entry, of, now_ms) for entry in self._entries.values())

    def _explains(self, entry: _Entry, of: _Key, now_ms: int) -> bool:
        incident, causes = entry.incident, CAUSES.get(of.kind, frozenset[IncidentKind]())
        if _is_symptom(of.kind, of.slice, incident):
            return self._stands(entry, now_ms)
        if incident.slice.network in {None, of.slice.network} and not causes.isdisjoint(kinds_of(incident)):
            return self._is_found(causes, entry, now_ms)
        return entry.is_open and is_of_a_task(incident) and incident.slice.partition == of.slice.partition

    def _stands(self, entry: _Entry, now_ms: int) -> bool:
        """Return whether what an incident says goes on, or did until lately."""
        goes_on = entry.is_open and entry.quiet_since_ms is None
        return goes_on or parse_ms(entry.incident.updated) > now_ms - AFTER_MS

    def _is_found(self, kinds: Iterable[str], entry: _Entry, now_ms: int) -> bool:
        """Return whether any of these was found in an incident of another kind and goes on, or did until lately."""
        return any(of.incident == entry.incident.id and of.key.kind in kinds for of in self._held.values()) or any(
            of.finding in kinds and parse_ms(of.at or entry.incident.opened) > now_ms - AFTER_MS
            for of in found_in(entry.incident)
        )

    def _is_own(self, held: _Held, now_ms: int) -> bool:
        """Return whether what is found of a network's scores has been its own for long enough."""
        if self._is_about_all(held):
            held.shared_ms = now_ms
        return now_ms - held.begun_ms >= FREEZE_AFTER_MS and now_ms - held.shared_ms >= AFTER_MS

    def _is_about_all(self, held: _Held) -> bool:
        """Return whether what is found of a network's scores is found of all, or of every one with its like."""
        return any(
            of.severity == "critical" and of.key.slice == Slice() and of.key.kind in {*OF_SCORES, *CAUSES["canary"]}
            for of in self._held.values()
        ) or any(
            of.key.kind == held.key.kind and of.key.slice != held.key.slice and of.severity == "critical"
            for of in self._held.values()
        )

    def _explain(self, incident: Incident) -> None:
        """Note that an incident is the cause of what was found of its partition, or of its symptoms, before."""
        for entry in self._open_ones():
            found_before, evidence = entry.incident, entry.incident.evidence
            is_there = found_before.slice.partition == incident.slice.partition is not None and is_of_a_task(incident)
            is_known = any(incident.id in found.detail for found in evidence)
            if (is_there or _is_symptom(found_before.kind, found_before.slice, incident)) and not is_known:
                found = Evidence(finding=incident.kind, detail=f"{EXPLAINED}{incident.id}", at=incident.updated)
                entry.incident = replace(entry.incident, evidence=kept([*evidence, found]))

    def _note(self, entry: _Entry, record: CommandRecord, text: str) -> None:
        before, entry.incident = entry.incident, with_note(entry.incident, record, text)
        entry.urgent = entry.urgent or entry.incident != before

    def _refused(self, record: CommandRecord) -> None:
        is_mine = record.command == "freeze" and record.id.startswith(GUARDS_COMMAND)
        if is_mine and record.why == "issued_before":  # Somebody else signed with the same key at that moment.
            self.froze_not(record.incident or "", record.network or "")

    def _freeze_noted(self, record: CommandRecord, network: str) -> None:
        for entry in self._open_ones():
            incident = entry.incident
            if record.incident == incident.id and network not in incident.frozen:
                entry.incident = replace(incident, frozen=[*incident.frozen, network])
                entry.urgent = True
            is_about = record.incident == incident.id or incident.slice.network == network
            if is_about and not record.id.startswith(GUARDS_COMMAND):
                self._note(entry, record, f"{network} is frozen: {record.reason}")

    def _resume_noted(self, record: CommandRecord, network: str) -> None:
        """Say of every incident that froze a network that it goes on; also of one that was resolved before."""
        for entry in self._entries.values():
            incident = entry.incident
            if network in incident.frozen and incident.model == self._model:
                self._note(entry, record, f"{network} is resumed: {record.reason}")
                frozen = [name for name in incident.frozen if name != network]
                entry.incident = replace(entry.incident, frozen=frozen, reference=record.id)
                entry.resumed = [*entry.resumed, network]
                entry.quiet_since_ms = None

    def _resolve(self, entry: _Entry, reference: str) -> None:
        entry.incident = replace(entry.incident, status=RESOLVED, reference=reference)
        for held in self._held.values():
            held.settled = held.settled or held.incident == entry.incident.id


def _is_symptom(kind: IncidentKind, of: Slice, incident: Incident) -> bool:
    """Return whether what is found of a slice comes of what an incident says."""
    return incident.kind in CAUSES.get(kind, ()) and incident.slice.network in {None, of.network}


def _is_identified(entry: _Entry) -> bool:
    """Return whether somebody said something, or a cause was found, since it began, or began again."""
    notes, evidence = entry.incident.notes, entry.incident.evidence
    return any(note.at >= entry.again for note in notes) or any(
        found.detail.startswith(EXPLAINED) and (found.at or "") >= entry.again for found in evidence
    )


def _is_due(entry: _Entry, now_ms: int) -> bool:
    incident, written = entry.incident, entry.written
    if written is None:
        return True
    if replace(incident, updated=written.updated) == written:
        return False
    is_news = (incident.status, incident.severity) != (written.status, written.severity)
    is_news = is_news or (incident.affected_users > 0 == written.affected_users)
    has_grown = incident.affected_users >= GROWN_TIMES * written.affected_users > 0
    waits_ms = GROWN_MS if has_grown else UPDATE_MS
    return is_news or entry.urgent or now_ms - entry.written_ms >= waits_ms


def open_of(incidents: Iterable[Incident]) -> list[Incident]:
    """Return those that are not resolved."""
    return [incident for incident in incidents if incident.status != RESOLVED]
