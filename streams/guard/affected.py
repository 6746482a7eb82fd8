"""Whom incidents touch: which score changes count for which incident, and the lists that come of it.

Pure; `streams.guard.affected_reader` reads and writes. What a kind of incident touches is `RULES`. Lists are cut into
chunks, the records of `incidents.users.v1`; who was forgotten is taken out of them, and the chunk is written again.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Final, Literal, NamedTuple

from schemas.change import Cause, ScoreChange
from schemas.incident import USERS_NAMED_MAX, Incident, IncidentKind, IncidentUsers, encode_incident_users
from schemas.times import parse_ms
from schemas.users import CANARY_PREFIX
from streams.guard.cases import ended_ms, kinds_of

USERS_LISTED_MAX: Final = 1_000_000
"""Users whom the list of one incident names."""
NAMES_KEPT_MAX: Final = 2_000_000
"""Names in all lists that a guard keeps in mind, about 130 bytes each where ids are short."""
FORMER_MAX: Final = 200_000
"""Users whose scores by network are remembered until their next change, those that changed last."""
MARGIN_MS: Final = 300_000
"""Changes so much older than a fall or a shift that was found may be its doing, …"""
MOVED_MARGIN_MS: Final = 90_000
"""… and so much older than what is found of a feed, which is seen in a minute. What is declared says since when."""
FALLING_MS: Final = 60_000
"""What was written so shortly before a fall was found is of its time, whatever moment it tells of: decay is told as of
when it showed, which may be long ago where a clock catches up. So is who falls so shortly after it ended: it ends when
few enough fall, and not when nobody does."""
WARM_UP_MS: Final = 600_000
"""Changes before those are read, to know the scores that they started from."""
READ_BACK_MS_MAX: Final = 86_400_000
"""However long before an incident it says that its cause began."""
KEPT_MS: Final = 30 * 86_400_000
"""As long as the topic keeps them."""
SETTLED_MS: Final = 60_000
"""After an incident's finding has ended, changes of its time may still have been on their way."""
POINTS_FALLEN: Final = 1.0

Rule = Literal["moved", "fell", "shifted", "named", "nobody"]

RULES: Final[dict[IncidentKind, Rule]] = {
    "law_violation": "named",
    "lane_gap": "named",
    "partition_stopped": "named",
    "partition_silent": "nobody",
    "partition_shrunk": "named",
    "population_fall": "fell",
    "population_shift": "shifted",
    "population_at_floor": "fell",
    "feed_stalled": "nobody",
    "feed_partial": "moved",
    "dead_letter_surge": "moved",
    "duplicate_surge": "nobody",
    "retraction_surge": "moved",
    "forget_surge": "nobody",
    "canary": "moved",
    "canary_late": "nobody",
    "declared": "moved",
}
"""Whom a kind of incident touches, beside those whom its first record names.

`moved`: whose score on its network was moved by what came in while its finding lasted. `fell`, `shifted`: who then
stood a point or more below, or away from, where they stood when it opened. `named`: nobody else. `nobody`: no score
moved that should not have, or nobody may be named any more. What was taken back because of another incident is none of
these.
"""

_GROWING: Final[frozenset[Rule]] = frozenset({"moved", "fell", "shifted"})
_STANDING: Final[frozenset[Rule]] = frozenset({"fell", "shifted"})
"""Those that compare where a user stands with where they stood."""
_MOVING: Final[frozenset[Cause]] = frozenset({"interaction", "retraction", "correction"})


class Touched(NamedTuple):
    """Whom an incident touches, as far as was read."""

    user_count: int
    users: list[str]
    """The first of them, for the incident's record."""
    more: bool
    """There are more, but a limit was reached: `USERS_LISTED_MAX` or `NAMES_KEPT_MAX`."""


def rules_of(incident: Incident) -> frozenset[Rule]:
    """Return whom an incident touches beside those whom it names, by all that was found of it.

    Without a network nobody is moved by it alone.
    """
    rules = {rule for kind, rule in RULES.items() if kind in kinds_of(incident)} & _GROWING
    return frozenset(rules - {"moved"} if incident.slice.network is None else rules)


class _Stood(NamedTuple):
    """Where a user stood, and by how many of their changes that is known."""

    points: float
    sequence: int


@dataclass(slots=True)
class _List:
    """Whom one incident touches."""

    incident: str
    last_ms: int
    """When it was last heard of."""
    rules: frozenset[Rule] = frozenset()
    """By which changes add to it."""
    network: str | None = None
    partition: int | None = None
    since_ms: int | None = None
    """Event time from which on a change counts."""
    margin_ms: int = MARGIN_MS
    found_ms: int = 0
    """When a fall or a shift was found."""
    from_ms: int = 0
    until_ms: int | None = 0
    """Time of writing between which a change counts; None: its finding lasts."""
    is_told: bool = False
    is_settled: bool = False
    """All that can touch it was read, unless its finding begins again."""
    chunk_of: dict[str, int] = field(default_factory=dict)
    chunks: list[list[str]] = field(default_factory=list)
    unwritten: set[int] = field(default_factory=set)
    stood: dict[str, _Stood] = field(default_factory=dict)
    """Scores when it opened, of those who changed since."""
    more: bool = False

    @property
    def is_growing(self) -> bool:
        """Whether changes can add to it."""
        return self.is_told and not self.is_settled and bool(self.rules)

    def widens(self, rules: frozenset[Rule], updated_ms: int) -> bool:
        """Take note of what more was found; return whether changes count now that did not."""
        if rules <= self.rules:
            return False
        # Where nobody could be touched before, nobody is by what was written then.
        margin_ms = MARGIN_MS if rules & _STANDING else MOVED_MARGIN_MS
        joined_ms = updated_ms - margin_ms
        self.from_ms = min(self.from_ms, joined_ms) if self.rules else joined_ms
        if not self.rules & _STANDING:
            self.found_ms = updated_ms
        self.rules, self.margin_ms = self.rules | rules, max(self.margin_ms, margin_ms) if self.rules else margin_ms
        return True

    def goes_on(self, updated_ms: int) -> bool:
        """Take note that its finding lasts; return whether it begins again after all was read."""
        begins_again = self.is_settled
        self.until_ms, self.last_ms, self.is_settled = None, updated_ms, False
        if begins_again:
            self.from_ms, self.found_ms = updated_ms - self.margin_ms, updated_ms
        return begins_again

    def ends(self, ended_ms: int, updated_ms: int, *, is_over: bool) -> bool:
        """Take note that its finding has ended, the first time since when; return False: it does not begin again."""
        if not self.is_told or self.until_ms is None:
            self.until_ms = ended_ms
        self.last_ms = updated_ms
        if is_over and self.is_settled:
            self.stood.clear()
        return False

    def rules_for(self, as_of_ms: int, partition: int, time_ms: int) -> frozenset[Rule]:
        """Return by which rules a change counts; by none if it is not of the incident's time and slice."""
        if time_ms < self.from_ms or self.partition not in {None, partition}:
            return frozenset()
        if self.until_ms is not None and time_ms > self.until_ms:
            return self.rules & {"fell"} if time_ms <= self.until_ms + FALLING_MS else frozenset()
        if self.since_ms is None or as_of_ms >= self.since_ms:
            return self.rules
        return self.rules & {"fell"} if time_ms >= self.found_ms - FALLING_MS else frozenset()

    def fell_by(self, change: ScoreChange, time_ms: int) -> float:
        """Return by how many points a user stands below where they stood when it was found, or before they fell."""
        before = change.previous if change.previous is not None else change.score
        if before is None:
            return 0.0
        score, known = change.score or 0.0, self.stood.get(change.user)
        if known is not None and change.sequence <= known.sequence:
            return 0.0  # It is read again.
        stood = before if known is None else known.points
        # Whoever rose before it was found fell from there.
        highest = max(stood, score) if time_ms <= self.found_ms else stood
        if known is not None or len(self.stood) < USERS_LISTED_MAX:
            self.stood[change.user] = _Stood(highest, change.sequence)
        return stood - score

    def leave_out(self, change: ScoreChange) -> None:
        """Take note that what a change did is another incident's doing: it was not this that lowered the user."""
        known = self.stood.get(change.user)
        if known is not None and change.sequence > known.sequence and change.previous is not None:
            lowered = change.previous - (change.score or 0.0)
            self.stood[change.user] = _Stood(known.points - lowered, change.sequence)

    def add(self, user: str) -> None:
        """List a user, in the last chunk that has room."""
        if not self.chunks or len(self.chunks[-1]) >= USERS_NAMED_MAX:
            self.chunks.append([])
        self.chunk_of[user] = len(self.chunks) - 1
        self.chunks[-1].append(user)
        self.unwritten.add(len(self.chunks) - 1)


class Affected:
    """Keeps the lists of all incidents of one model; the same changes may be taken again."""

    def __init__(self, model: str) -> None:
        """Begin without any."""
        self._model = model
        self._lists: dict[str, _List] = {}
        self._growing: list[_List] = []
        self._former: OrderedDict[str, dict[str, float]] = OrderedDict()
        self._names = 0

    @property
    def is_needed(self) -> bool:
        """Whether anybody is listed, or may have to be: then it must be known who is forgotten."""
        return any(listed.chunk_of or listed.until_ms is None for listed in self._lists.values())

    @property
    def is_listing(self) -> bool:
        """Whether changes can touch an incident, and not only take names out."""
        return bool(self._growing)

    @property
    def is_written(self) -> bool:
        """Whether there is nothing to write."""
        return not any(listed.unwritten for listed in self._lists.values())

    def restore(self, users: IncidentUsers, time_ms: int) -> None:
        """Go on from a record of the topic, written at `time_ms`; each key's newest one is to be given."""
        listed = self._lists.setdefault(users.incident, _List(users.incident, time_ms))
        listed.last_ms = max(listed.last_ms, time_ms)
        while len(listed.chunks) <= users.number:
            listed.chunks.append([])
        for user in users.users:
            if user not in listed.chunk_of:
                listed.chunk_of[user] = users.number
                listed.chunks[users.number].append(user)
                self._names += 1

    def tell(self, incident: Incident) -> int | None:
        """Take note of an incident as it stands; return from when on changes must be read for it, None if from none."""
        if isinstance(incident.model, str) and incident.model != self._model:
            return None
        updated_ms, is_over = parse_ms(incident.updated), incident.status == "resolved"
        # Once its finding has ended nothing touches anybody any more, whether or not it is resolved.
        is_open = not is_over and incident.status != "monitoring"
        listed = self._lists.get(incident.id)
        if listed is None and is_over:
            return None  # It came and went while nobody listed: its record says whom it touched.
        is_new = listed is None
        if listed is None:
            listed = self._lists[incident.id] = _List(incident.id, updated_ms)
        if is_open:
            begins_again = listed.goes_on(updated_ms)
        else:
            begins_again = listed.ends(ended_ms(incident), updated_ms, is_over=is_over)
        if not listed.is_told:
            _describe(listed, incident)
        elif is_open:
            listed.network = incident.slice.network
            begins_again = listed.widens(rules_of(incident), updated_ms) or begins_again
        self._growing = [one for one in self._lists.values() if one.is_growing]
        if begins_again and listed.is_growing:
            return listed.from_ms - WARM_UP_MS
        if not is_new or (RULES[incident.kind] == "nobody" and not listed.rules):
            return None
        for user in incident.users:
            self._add(listed, user)
        # Also for names alone: they can have been forgotten since.
        return listed.from_ms - WARM_UP_MS if listed.is_growing or listed.chunk_of else None

    def rewind(self) -> None:
        """Take note that older changes come now: what is remembered of users is of later ones."""
        self._former.clear()

    def take(self, change: ScoreChange, partition: int, time_ms: int) -> None:
        """Take in a change of this partition, written at `time_ms`."""
        if change.cause == "forget":
            self.forget(change.user)
            return
        if change.user.startswith(CANARY_PREFIX):
            return
        former, as_of_ms = self._former.pop(change.user, None), parse_ms(change.as_of)
        named = self._lists.get(change.reference or "")
        if named is not None:
            self._add(named, change.user)  # What was taken back because of it, however long its finding has ended.
        for listed in self._growing:
            if change.reference not in {None, listed.incident}:
                listed.leave_out(change)
            elif (
                change.user not in listed.chunk_of
                and (rules := listed.rules_for(as_of_ms, partition, time_ms))
                and _touches(listed, rules, change, former, time_ms)
            ):
                self._add(listed, change.user)
        self._former[change.user] = change.networks
        if len(self._former) > FORMER_MAX:
            self._former.popitem(last=False)

    def forget(self, user: str) -> None:
        """Take a user out of all lists."""
        self._former.pop(user, None)
        for listed in self._lists.values():
            listed.stood.pop(user, None)
            number = listed.chunk_of.pop(user, None)
            if number is not None:
                listed.chunks[number].remove(user)
                listed.unwritten.add(number)
                self._names -= 1

    def touched(self) -> dict[str, Touched]:
        """Return whom each incident touches, as far as was read."""
        return {
            name: Touched(
                len(listed.chunk_of), list(islice(chain.from_iterable(listed.chunks), USERS_NAMED_MAX)), listed.more
            )
            for name, listed in self._lists.items()
            if listed.is_told
        }

    def unwritten(self) -> Iterator[tuple[str, bytes | None]]:
        """Yield the records that must be written, each a key and a value; nothing is left of a chunk without users."""
        for listed in self._lists.values():
            for number in sorted(listed.unwritten):
                users = listed.chunks[number]
                record = IncidentUsers(incident=listed.incident, number=number, users=users)
                yield f"{listed.incident}/{number}", encode_incident_users(record) if users else None

    def all_written(self) -> None:
        """Take note that what `unwritten` returned is written."""
        for listed in self._lists.values():
            listed.unwritten.clear()

    def settle(self, now_ms: int) -> None:
        """Take note that all changes written until about now were taken; let go of what the topic keeps no longer."""
        for listed in self._growing:
            listens_ms = FALLING_MS if "fell" in listed.rules else 0
            if listed.until_ms is not None and listed.until_ms + listens_ms < now_ms - SETTLED_MS:
                listed.is_settled = True
        self._growing = [listed for listed in self._growing if listed.is_growing]
        for name, listed in list(self._lists.items()):
            if listed.until_ms is not None and listed.last_ms < now_ms - KEPT_MS:
                self._names -= len(listed.chunk_of)
                del self._lists[name]

    def _add(self, listed: _List, user: str) -> None:
        if user.startswith(CANARY_PREFIX) or user in listed.chunk_of:
            return
        if len(listed.chunk_of) >= USERS_LISTED_MAX or self._names >= NAMES_KEPT_MAX:
            listed.more = True
            return
        listed.add(user)
        self._names += 1


def _describe(listed: _List, incident: Incident) -> None:
    """Note what an incident is about, and of which time."""
    opened_ms = parse_ms(incident.opened)
    listed.is_told, listed.rules = True, rules_of(incident)
    listed.network, listed.partition = incident.slice.network, incident.slice.partition
    listed.since_ms = None if incident.since is None else parse_ms(incident.since)
    began_ms = opened_ms if listed.since_ms is None else max(listed.since_ms, opened_ms - READ_BACK_MS_MAX)
    listed.found_ms = opened_ms
    if not listed.rules & _STANDING:
        listed.margin_ms = 0 if incident.kind == "declared" else MOVED_MARGIN_MS
    listed.from_ms = min(opened_ms - listed.margin_ms, began_ms)


def _touches(
    listed: _List, rules: frozenset[Rule], change: ScoreChange, former: dict[str, float] | None, time_ms: int
) -> bool:
    """Return whether a change that counts by these rules is an incident's doing."""
    network = listed.network
    here = network is None or network in change.networks or (former is not None and network in former)
    if "moved" in rules and change.cause in _MOVING:
        # Where it is not known: on several networks this may be one too many.
        moved = former is None or former.get(network or "") != change.networks.get(network or "")
        if moved and (former is not None or here or change.score is None):
            return True
    if not here or not rules & _STANDING:
        return False
    fell = listed.fell_by(change, time_ms)
    return (abs(fell) if "shifted" in rules else fell) >= POINTS_FALLEN
