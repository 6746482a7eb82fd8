"""One cause is one incident, from its opening to its end."""

import msgspec

from schemas.incident import Incident, Span, UserValues, encode_incident
from schemas.users import canary
from streams import incidents
from streams.incidents import Finding
from streams.task_state import ACTORS, TARGETS, TaskState

DAY_MS = 86_400_000


def state(actors: int, targets: int) -> TaskState:
    return TaskState(model="1", model_hash="", positions={ACTORS: actors, TARGETS: targets})


def finding(first: int, last: int, *users: str) -> Finding:
    spans = [Span(lane="targets", first=first, last=last)]
    values = [UserValues(user=user, score=2.0, proposed=None, networks={}) for user in users]
    return Finding(
        kind="law_violation", finding="score_in_range", detail="", spans=spans, users=[*users], values=values
    )


def opened(known: dict[str, Incident], first: int = 10, last: int = 12, at: int = 9, now_ms: int = 0) -> Incident:
    found = finding(first, last, "t:1", "t:2")
    return incidents.opened(found, known, partition=3, state=state(5, at), now_ms=now_ms)


def test_who_meets_the_same_again_writes_the_same_incident_which_keeps_its_beginning() -> None:
    first = opened({})
    again = opened({first.id: first}, now_ms=DAY_MS)
    assert (again.id, again.opened) == (first.id, first.opened)
    assert again.updated > first.updated
    # A restart may take its records in other batches, and so stop at another position.
    elsewhere = opened({first.id: first}, first=12, last=15, at=11)
    assert elsewhere.id == first.id
    beyond = opened({first.id: first}, first=13, last=15, at=12)
    assert beyond.id != first.id


def test_it_ends_when_all_that_it_names_was_passed() -> None:
    incident = opened({})
    assert not incidents.is_passed(incident, {ACTORS: 100, TARGETS: 11})
    assert incidents.is_passed(incident, {ACTORS: 0, TARGETS: 12})
    assert incidents.reference_of(incident, [("targets", 9, "a"), ("actors", 11, "b"), ("targets", 11, "c")]) == "c"
    assert incidents.reference_of(incident, [("targets", 13, "a")]) is None


def test_synthetic_accounts_are_neither_named_nor_counted() -> None:
    found = finding(10, 12, "t:1", canary("twitter", 3))
    incident = incidents.opened(found, {}, partition=3, state=state(5, 9), now_ms=0)
    assert (incident.users, incident.affected_users) == (["t:1"], 1)
    assert [values.user for of in incident.evidence for values in of.users] == ["t:1"]


def test_whoever_was_forgotten_meanwhile_is_not_named_at_its_end() -> None:
    end = incidents.resolved(opened({}), "c", DAY_MS, lambda user: user == "t:1")
    assert (end.status, end.users, end.affected_users) == ("resolved", ["t:2"], 2)
    assert [values.user for of in end.evidence for values in of.users] == ["t:2"]


def test_a_task_takes_up_its_own_partitions_open_incidents_alone() -> None:
    mine = opened({})
    other = msgspec.structs.replace(
        mine, id="law_violation:1:4:6:10", slice=msgspec.structs.replace(mine.slice, partition=4)
    )
    model = msgspec.structs.replace(mine, id="law_violation:2:3:6:10", model="2")
    guards = msgspec.structs.replace(mine, id="guard-7")
    over = msgspec.structs.replace(mine, id="law_violation:1:3:1:1")
    end = incidents.resolved(over, None, DAY_MS)
    values = [encode_incident(of) for of in (mine, other, model, guards, over, end)]
    assert incidents.still_open([*values, b"of a later version"], 3, "1") == {mine.id: mine}
