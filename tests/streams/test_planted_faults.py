"""Faults planted in the targets stage: nothing wrong is ever visible, and the incident says which law was broken."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from confluent_kafka import TopicPartition

import scorer.decay
import scorer.laws
import scorer.targets
import scorer.timers
from schemas.incident import Incident
from scorer.model import Model
from scorer.reference import Event, Reference
from scorer.targets import fold_targets
from scorer.timers import advance, evaluation_times
from streams import clients, planting
from streams.errors import CloutError
from streams.packing import renumbered
from streams.planting import plant_fault, scored_otherwise
from streams.queries import user_states
from streams.settings import KafkaSettings
from streams.stages import clocks as clocks_stage
from streams.stages import targets as stage
from streams.task import Task, TaskLostError
from streams.task_state import TARGETS
from streams.ticks import Tick
from tests.checks import broken_chains, changes_of, committed, wrong_sums
from tests.streams.stops import incidents_of, stopped
from tests.streams.tasks import Lanes, some_events

EVENTS = some_events(60)
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

Plant = Callable[[pytest.MonkeyPatch], None]


def scores(change: Callable[[Any], Any]) -> Plant:
    """The scores that the stage takes are changed."""
    return lambda patch: scored_otherwise(patch.setattr, change)


def planted(fault: str, *, audit: bool = True) -> Plant:
    """What a running worker can be told to do wrong."""
    return lambda patch: plant_fault(planting.Plant(fault=fault, audit=audit), patch.setattr)


def folds(**changes: Callable[[Any], Any]) -> Plant:
    """The kernel is given other rows than those that came."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        def wrong(entries: Any, **columns: Any) -> Any:
            changed = {name: change(columns[name].copy()) for name, change in changes.items()}
            return fold_targets(entries, **columns | changed)

        patch.setattr(stage, "fold_targets", wrong)

    return plant


def first_to_another(users: Any) -> Any:
    users[0] = (users[0] + 1) % (users.max() + 1)
    return users


def a_batch_twice(patch: pytest.MonkeyPatch) -> None:
    def wrong(entries: Any, **columns: Any) -> Any:
        fold_targets(entries, **columns)
        return fold_targets(entries, **columns)

    patch.setattr(stage, "fold_targets", wrong)


def records_twice(patch: pytest.MonkeyPatch) -> None:
    right = stage.fold

    def wrong(records: Any, sources: Any, state: Any, **options: Any) -> Any:
        return right([*records, *records], [*sources, *sources], state, **options)

    patch.setattr(stage, "fold", wrong)


def rows_misread(patch: pytest.MonkeyPatch) -> None:
    """The fold and all that comes of it are right, but for rows that it takes for somebody else's."""

    def wrong(records: Any, name: str, numbers: Any) -> Any:
        column = renumbered(records, name, numbers)
        return first_to_another(column) if name == "target" else column

    patch.setattr(stage, "renumbered", wrong)


def a_sign_error_in_decay(patch: pytest.MonkeyPatch) -> None:
    """In the function that all folds share, which they then run as plain Python."""

    def wrong(elapsed_ms: float, half_life_ms: float) -> float:
        return float(2.0 ** (elapsed_ms / half_life_ms))

    for module in (scorer.decay, scorer.targets, scorer.timers):
        assert module.decay is not wrong
        patch.setattr(module, "decay", wrong)
    for kernel in ("_fold", "_score"):
        patch.setattr(scorer.targets, kernel, getattr(scorer.targets, kernel).py_func)


def now_ms(*_: Any) -> int:
    return int(time.time() * 1000)


def times_by_the_wall_clock(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(stage, "evaluation_times", lambda *args: np.maximum(evaluation_times(*args), now_ms()))


def clocks_by_the_wall_clock(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(stage, "clock_column", lambda _, networks: np.full(len(networks), now_ms()))


def task_by_the_wall_clock(patch: pytest.MonkeyPatch) -> None:
    def wrong(_told: Any, state: Any, _tasks: int) -> None:
        state.clocks |= dict.fromkeys(state.networks, now_ms())

    patch.setattr(clocks_stage, "take_clocks", wrong)


FAULTS: dict[str, tuple[str, Plant]] = {
    "everyone to 1": ("score_follows_sums", planted("floor")),
    "another model": ("sums_rise_by_grants", planted("bad-model")),
    "no number": ("score_in_range", scores(lambda score: score * np.nan)),
    "20 more for everyone": ("score_follows_sums", scores(lambda score: np.minimum(score + 20, 100))),
    "a credit to the wrong user": ("sums_rise_by_grants", folds(users=first_to_another)),
    "a credit that was read as the wrong user's": ("sums_rise_by_grants", rows_misread),
    "a sign error in decay": ("sums_rise_by_grants", a_sign_error_in_decay),
    "scores by the wall clock": ("only_decay_lowers_strength", times_by_the_wall_clock),
    "clocks of the fold by the wall clock": ("only_decay_lowers_strength", clocks_by_the_wall_clock),
    "clocks of the task by the wall clock": ("only_decay_lowers_strength", task_by_the_wall_clock),
    "events at the time of the wall clock": ("sums_rise_by_grants", folds(times=lambda times: times * 0 + now_ms())),
    "a batch applied twice": ("rows_conserved", a_batch_twice),
    "records folded twice": ("rows_conserved", records_twice),
}


@pytest.fixture
def lanes(kafka_settings: KafkaSettings) -> Lanes:
    return Lanes(kafka_settings)


def exported(task: Task) -> dict[str, Any]:
    assert task.store is not None
    rows = task.store.scan_targets(b"", 200_000)
    return {state.user: state for state in user_states(rows, task.state, task.parameters)}


def sums_of(events: list[Event]) -> Any:
    reference = Reference(Model())
    for event in events:
        reference.apply(event)
    return reference.sums


def is_about(incident: Incident, law: str) -> bool:
    return incident.kind == "law_violation" and law in incident.evidence[0].finding.split(", ")


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_never_visible_and_its_law_is_named(lanes: Lanes, tmp_path: Path, name: str) -> None:
    law, plant = FAULTS[name]
    lanes.send(EVENTS[:30])
    with lanes.task(tmp_path) as task:
        lanes.work(task)
        seen, scores_before = committed(lanes.kafka, lanes.names.changes), exported(task)
        position = task.state.positions[TARGETS]
        with pytest.MonkeyPatch.context() as patch:
            plant(patch)
            lanes.send(EVENTS[30:])
            stopped(lanes, task)
        assert committed(lanes.kafka, lanes.names.changes) == seen
        assert exported(task) == scores_before
        assert task.state.positions[TARGETS] == position
        [incident] = incidents_of(lanes)
        assert is_about(incident, law), incident.evidence[0].finding
        assert (incident.status, incident.severity, incident.slice.partition) == ("investigating", "critical", 0)
        assert incident.affected_users == len(incident.users)
        assert len(incident.evidence[0].positions) == 1

    # A worker without the fault goes on from the same record, and says that it is over.
    with lanes.task(tmp_path) as task:
        lanes.work(task)
        assert wrong_sums(exported(task), sums_of(EVENTS), influence_floor=0.1) == []
    assert broken_chains(changes_of(lanes.kafka, lanes.names.changes)) == []
    *_, last = incidents_of(lanes)
    assert (last.id, last.opened, last.status, last.reference) == (incident.id, incident.opened, "resolved", None)


def test_a_part_lost_for_one_user_in_a_hundred_thousand_stops_all_of_it(
    lanes: Lanes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    users, victim = 100_000, "t:54321"
    time_ms = 1_340_000_000_000
    lanes.send([Event("twitter", f"{n}", "share", f"a:{n % 1000}", f"t:{n}", time_ms) for n in range(users)])
    with lanes.task(tmp_path) as task:
        lanes.work(task, rows_max=200_000)
        seen = len(committed(lanes.kafka, lanes.names.changes))
        assert seen == users

        def wrong(entries: Any, **columns: Any) -> Any:
            entered = fold_targets(entries, **columns)
            entries[number]["amplification"] = 0.0
            return entered

        number = sorted(f"t:{n}" for n in range(users)).index(victim)
        monkeypatch.setattr(stage, "fold_targets", wrong)
        later = time_ms + DAY_MS
        lanes.send([Event("twitter", f"b{n}", "reply", f"a:{n % 999}", f"t:{n}", later) for n in range(users)])
        stopped(lanes, task, rows_max=200_000)
    assert len(committed(lanes.kafka, lanes.names.changes)) == seen
    [incident] = incidents_of(lanes)
    assert is_about(incident, "sums_rise_by_grants")
    assert is_about(incident, "no_interaction_lowers_a_sum")
    assert (incident.affected_users, incident.users) == (1, [victim])
    [values] = incident.evidence[0].users
    before, proposed = values.networks["twitter"][:3], values.networks["twitter"][3:]
    assert values.score is not None
    assert proposed[1] == 0.0
    assert all(value and value > 0 for value in [*before, proposed[0], proposed[2]])


def test_a_fault_of_decay_alone_is_caught_where_nobody_was_credited(
    lanes: Lanes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lanes.send(EVENTS)
    with lanes.task(tmp_path) as task:
        lanes.work(task)
        lanes.tick(Tick("twitter", 0, 1, EVENTS[-1].time, 0, False, {}))
        lanes.work(task)
        seen = len(committed(lanes.kafka, lanes.names.changes))

        def too_far(heads: Any, entries: Any, times: Any, users: Any, clocks: Any, parameters: Any) -> None:
            advance(heads, entries, times, users, clocks, parameters)
            times[users] = clocks + DAY_MS

        monkeypatch.setattr(stage, "advance", too_far)
        lanes.tick(Tick("twitter", 0, 1, EVENTS[-1].time + 40 * DAY_MS, 0, False, {}))
        stopped(lanes, task)
    assert len(committed(lanes.kafka, lanes.names.changes)) == seen
    [incident] = incidents_of(lanes)
    assert is_about(incident, "only_decay_lowers_strength")
    # What fails is all whose time has come, once that record moves the clock.
    assert incident.evidence[0].suspect == incident.evidence[0].positions[0]


def test_the_one_record_that_breaks_a_law_by_itself_is_named_and_nothing_comes_of_trying(
    lanes: Lanes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lanes.send(EVENTS, rows_max=10)
    with lanes.task(tmp_path) as task:
        lanes.offer(task)
        # Each batch of actor records sends one record of credits to the partition itself.
        while batch := task.intake.take(task.state, task.source, rows_max=10, own_in_flight_max=256):
            task.commit(batch)
        poison = EVENTS[25].time

        def wrong(entries: Any, *, times: Any, users: Any, **columns: Any) -> Any:
            entered = fold_targets(entries, times=times, users=users, **columns)
            entries["reach"][users[times == poison], 0] *= 2
            return entered

        monkeypatch.setattr(stage, "fold_targets", wrong)
        assert task.store is not None
        rows = list(task.store.scan("targets")), task.store.meta()
        stopped(lanes, task)
        assert rows == (list(task.store.scan("targets")), task.store.meta())
        [incident] = incidents_of(lanes)
        [positions] = incident.evidence[0].positions
        suspect = incident.evidence[0].suspect
        assert suspect is not None
        assert suspect.first == suspect.last
        assert positions.first < suspect.first < positions.last
        detail = incident.evidence[0].detail
        assert "6 were tried alone, 1 of them fail" in detail
        assert not any(label in detail for label in ("error: ", "detail: ", "hint: "))

    # Whoever meets the same again says it of the same incident.
    with lanes.task(tmp_path) as again:
        stopped(lanes, again)
    [_, second] = incidents_of(lanes)
    assert (second.id, second.opened) == (incident.id, incident.opened)


def test_what_the_audit_goes_by_is_not_what_the_folds_go_by() -> None:
    shared = {"decay", "combined", "scaled", "tenths", "whole", "strengths", "evaluation_times"}
    assert shared.isdisjoint(vars(scorer.laws))


def test_without_the_audit_a_fault_is_published_and_right_scores_follow_when_it_is_over(
    lanes: Lanes, tmp_path: Path
) -> None:
    lanes.send(EVENTS[:30])
    with lanes.task(tmp_path) as task:
        lanes.work(task)
        with pytest.MonkeyPatch.context() as patch:
            planted("floor", audit=False)(patch)
            lanes.send(EVENTS[30:45])
            lanes.work(task)
        last = {user: theirs[-1].score for user, theirs in changes_of(lanes.kafka, lanes.names.changes).items()}
        hit = {event.target for event in EVENTS[30:45]}
        assert {last[user] for user in hit} == {1.0}
        lanes.send(EVENTS[45:])
        lanes.work(task)
        assert wrong_sums(exported(task), sums_of(EVENTS), influence_floor=0.1) == []
    changes = changes_of(lanes.kafka, lanes.names.changes)
    assert broken_chains(changes) == []
    assert all((changes[event.target][-1].score or 0) > 1.0 for event in EVENTS[45:])


def test_a_mass_fall_lowers_the_sums_of_many_and_breaks_no_law_of_a_batch(lanes: Lanes, tmp_path: Path) -> None:
    lanes.send(EVENTS[:45])
    with lanes.task(tmp_path) as task:
        lanes.work(task)
        with pytest.MonkeyPatch.context() as patch:
            planted("mass-fall")(patch)
            lanes.send(EVENTS[45:])
            lanes.work(task)
        assert len(wrong_sums(exported(task), sums_of(EVENTS), influence_floor=0.1)) > 5
    assert incidents_of(lanes) == []


def test_a_partition_that_lost_its_state_does_not_begin_anew(lanes: Lanes, tmp_path: Path) -> None:
    lanes.send(EVENTS[:30])
    with lanes.task(tmp_path) as task:
        lanes.work(task)
        seen, before = committed(lanes.kafka, lanes.names.changes), exported(task)
        group = clients.consumer(lanes.kafka, {"group.id": lanes.names.app_id})
        group.commit(offsets=[TopicPartition(lanes.names.actors_lane, 0, 1)], asynchronous=False)
        group.close()
        with pytest.MonkeyPatch.context() as patch:
            planted("lost-partition")(patch)
            with pytest.raises(TaskLostError):
                task.commit([])
            task.close()
            with pytest.raises(CloutError, match="partition 0 has lost its state"):
                task.open()
    assert committed(lanes.kafka, lanes.names.changes) == seen
    with lanes.task(tmp_path) as task:
        assert exported(task) == before
