from schemas.incident import Slice
from streams.guard.detectors.partitions import PROMISED_MS, SLACK_MS, PartitionShrunk, PartitionSilent, PassedOn
from streams.guard.observations import FeedSeen, Moment, Observation, PopulationSeen
from tests.guard.seen import NOW_MS, all_verdicts, feed, histogram, incident, moments, population


def stopped() -> PassedOn:
    return PassedOn("partition_stopped", ("partition_stopped", "lane_gap"))


def test_what_a_task_found_is_passed_on_with_its_numbers_and_users() -> None:
    (verdict,) = PassedOn("law_violation", ("law_violation",)).update(incident(users=("twitter:1", "twitter:2")))
    assert (verdict.kind, verdict.slice, verdict.firing) == ("law_violation", Slice(partition=3), True)
    assert (verdict.severity, verdict.users) == ("critical", ("twitter:1", "twitter:2"))
    assert verdict.numbers["affected_users"] == 2


def test_a_gap_in_a_lane_keeps_its_kind() -> None:
    (verdict,) = stopped().update(incident("lane_gap"))
    assert verdict.kind == "lane_gap"


def test_it_ends_when_the_last_incident_of_the_partition_is_resolved() -> None:
    detector = stopped()
    all_verdicts(detector, [incident("partition_stopped", number=1), incident("partition_stopped", number=2)])
    assert detector.update(incident("partition_stopped", number=1, status="resolved")) == []
    (verdict,) = detector.update(incident("partition_stopped", number=2, status="resolved"))
    assert not verdict.firing


def test_incidents_of_other_kinds_and_of_the_guard_itself_are_not_passed_on() -> None:
    assert all_verdicts(stopped(), [incident("law_violation"), incident("partition_stopped", own=False)]) == []


def seconds_of_ticks(begin: int, end: int, *, telling: tuple[int, ...], partitions: int = 2) -> list[Observation]:
    """Each second a tick; the partitions that are `telling` tell once a minute."""
    seen: list[Observation] = []
    for second in range(begin, end):
        now_ms = NOW_MS + 1_000 * second
        seen.append(feed(now_ms))
        if second % 60 == 0:
            seen += [population(now_ms, partition=of, partitions=partitions, sequence=second + 1) for of in telling]
        seen.append(Moment(now_ms))
    return seen


def test_a_partition_that_tells_nothing_for_three_minutes_is_silent() -> None:
    detector = PartitionSilent()
    assert all_verdicts(detector, seconds_of_ticks(0, 600, telling=(0, 1))) == []
    verdicts = all_verdicts(detector, seconds_of_ticks(600, 900, telling=(0,)))
    assert verdicts[0].slice == Slice(partition=1)
    assert 180 <= verdicts[0].numbers["silent_seconds"] <= 242
    (end,) = all_verdicts(detector, [population(NOW_MS + 900_000, partition=1, partitions=2)])
    assert not end.firing


def test_a_partition_that_never_told_anything_is_silent() -> None:
    verdicts = all_verdicts(PartitionSilent(), seconds_of_ticks(0, 300, telling=(0, 1), partitions=3))
    assert {verdict.slice for verdict in verdicts} == {Slice(partition=2)}


def test_where_no_partition_ever_told_anything_the_whole_is_silent() -> None:
    verdicts = all_verdicts(PartitionSilent(), seconds_of_ticks(0, 300, telling=()))
    assert {verdict.slice for verdict in verdicts} == {Slice()}


def test_an_installation_without_ticks_is_idle_and_not_silent() -> None:
    detector = PartitionSilent()
    all_verdicts(detector, seconds_of_ticks(0, 61, telling=(0, 1)))
    assert all_verdicts(detector, moments(NOW_MS + 61_000, 7_200)) == []
    # The first tick after the pause asks for a record within its time.
    later_ms = NOW_MS + 7_262_000
    assert all_verdicts(detector, [feed(later_ms), *moments(later_ms, 119)]) == []
    assert all_verdicts(detector, [Moment(later_ms + 120_000)])


def test_a_guard_that_was_away_does_not_hold_it_against_anybody() -> None:
    detector = PartitionSilent()
    all_verdicts(detector, seconds_of_ticks(0, 61, telling=(0, 1)))
    assert all_verdicts(detector, seconds_of_ticks(6_001, 6_100, telling=())) == []


def counted(sequence: int, users: int, *, forgotten: int = 0, at: int | None = None) -> PopulationSeen:
    now_ms = NOW_MS + 1_000 * (sequence if at is None else at)
    return population(now_ms, sequence=sequence, bins=histogram(p9=users), changes={"forget": forgotten})


def test_a_partition_that_begins_again_without_its_users_has_shrunk() -> None:
    detector = PartitionShrunk()
    all_verdicts(detector, [counted(40, 5_000), counted(41, 5_001)])
    (verdict,) = detector.update(counted(1, 3, at=50))
    assert (verdict.severity, verdict.numbers["missing_users"]) == ("critical", 4_998)
    assert detector.update(counted(2, 4, at=53)) == []
    (end,) = detector.update(counted(3, 5_001, at=56))
    assert not end.firing


def test_users_who_were_forgotten_are_not_missing() -> None:
    detector = PartitionShrunk()
    assert all_verdicts(detector, [counted(40, 5_000), counted(41, 4_000, forgotten=1_000)]) == []
    assert detector.update(counted(42, 3_000, forgotten=1_000))[0].numbers["missing_users"] == 1_000


def test_an_old_record_that_is_read_again_says_nothing() -> None:
    assert all_verdicts(PartitionShrunk(), [counted(40, 5_000), counted(39, 4_000), counted(40, 5_000)]) == []


def test_another_model_is_another_population() -> None:
    other = population(NOW_MS + 60_000, bins=histogram(p9=1), model="2")
    assert all_verdicts(PartitionShrunk(), [counted(40, 5_000), other]) == []


def test_what_is_lost_for_a_day_is_what_there_is() -> None:
    detector = PartitionShrunk()
    all_verdicts(detector, [counted(40, 5_000), counted(1, 3, at=50)])
    (end,) = detector.update(counted(9, 3, at=90_000))
    assert not end.firing
    assert detector.update(counted(10, 3, at=90_003)) == []


def test_ingest_that_only_repeats_itself_brings_no_tick() -> None:
    same = [FeedSeen(feed(NOW_MS).report, NOW_MS + 1_000 * second) for second in range(400)]
    told = population(NOW_MS)
    assert all_verdicts(PartitionSilent(), [told, *same, *moments(NOW_MS + 399_000, 200)]) == []


def test_a_tick_at_the_very_end_of_a_minute_owes_nothing() -> None:
    """The task counts from its own commit, a little later than the guard: that tick came before its minute was over."""
    for after_ms, expected in ((PROMISED_MS, []), (PROMISED_MS + SLACK_MS, [True])):
        tick_ms = NOW_MS + after_ms
        seen: list[Observation] = [feed(NOW_MS, time_ms=NOW_MS), population(NOW_MS, partitions=1)]
        seen += [*moments(NOW_MS, after_ms // 1_000 - 1), feed(tick_ms, time_ms=tick_ms), *moments(tick_ms, 150)]
        assert [verdict.firing for verdict in all_verdicts(PartitionSilent(), seen)] == expected
