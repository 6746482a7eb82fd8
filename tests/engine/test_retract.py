"""The events of a bad collector are taken back by the command line: those alone, once, and with the incident named."""

import time
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Final

import pytest

from clout.commands.wait import reader_of
from clout.orders import public_record
from schemas.change import ScoreChange
from schemas.export import UserState
from schemas.incident import Incident, Slice, encode_incident
from schemas.interaction import Interaction, encode
from schemas.population import Population, decode_population
from schemas.times import HOUR_MS, format_ms
from scorer.model import Model
from scorer.reference import Event
from streams import clients
from streams.guard.detectors.falls import PopulationFall
from streams.guard.observations import PopulationSeen
from streams.progress import Conservation, conservation
from streams.retract_position import RetractPosition
from streams.settings import LaneSettings, NetworkSettings
from streams.topics import DAY_MS
from tests.checks import broken_chains, committed
from tests.engine.conftest import Install
from tests.engine.second_pass import Grants
from tests.forks import Forked
from tests.roles import Installation, environment_of, eventually

GOOD, BAD = "east", "west"
INCIDENT: Final = "feed_partial/twitter:west/2026-01-01T00:00:00Z"
RAW_PARTITIONS: Final = 2
BEFORE, WITHIN, AFTER = range(3)
ROUNDS: Final = (600, 24_000, 600)
"""Events before the span, in it and after it."""
AGAIN: Final = 300
"""Events that the bad collector brings in the span although they had counted: its own of before, and the good one's."""
UNREADABLE: Final = 5


@dataclass(frozen=True, slots=True)
class Sent:
    """An event, and who brought it when."""

    event: Event
    source: str
    round: int

    @property
    def bad(self) -> bool:
        return self.source == BAD and self.round == WITHIN

    def encoded(self) -> bytes:
        of = self.event
        return encode(
            Interaction(id=of.id, kind="share", actor=of.actor, target=of.target, time=of.time, source=self.source)
        )


@dataclass(frozen=True, slots=True)
class Story:
    """What was seen."""

    installation: Installation
    sent: list[Sent]
    before: dict[str, list[ScoreChange]]
    interrupted: RetractPosition
    refused: tuple[str, int]
    """What it says of an incident that does not exist, and how many commands are on record then."""
    said: str
    said_again: str
    users: dict[str, UserState]
    changes: dict[str, list[ScoreChange]]
    sums: Conservation


def course(now_ms: int) -> list[Sent]:
    """Two collectors bring what the same people did; some whom nobody else credits are credited by the bad one.

    What comes after the span is of a later hour, so that whoever loses credits then falls below where that hour began.
    """
    numbers, begins_ms = iter(range(sum(ROUNDS))), now_ms - DAY_MS
    sent = []
    for round_, count in enumerate(ROUNDS):
        for number in islice(numbers, count):
            source = BAD if number % 3 == 0 else GOOD
            aim = f"t:bad{number % 40}" if source == BAD and number % 2 else f"t:{number * 7 % 400}"
            at_ms = begins_ms + number * 10 + HOUR_MS * (round_ == AFTER)
            event = Event("twitter", str(number), "share", f"a:{number % 900}", aim, at_ms)
            sent.append(Sent(event, source, round_))
    return sent


def send(installation: Installation, sent: list[Sent], again: list[Sent], *, broken: int = 0) -> None:
    for partition in range(RAW_PARTITIONS):
        theirs = [of for of in [*sent, *again] if int(of.event.actor[2:]) % RAW_PARTITIONS == partition]
        installation.send([of.encoded() for of in theirs] + [b"{"] * (broken * (partition == 0)), partition=partition)


def moment() -> str:
    """Return a moment between what arrived and what will arrive."""
    time.sleep(0.05)
    moment = format_ms(int(time.time() * 1000))
    time.sleep(0.05)
    return moment


def position(installation: Installation) -> RetractPosition:
    with closing(reader_of(installation.settings)) as reader:
        return reader.taking_back(settled=False)


def interrupted(installation: Installation, order: list[str]) -> RetractPosition:
    """Begin to take back, and kill that in the middle."""
    log = installation.directory / "interrupted.log"
    process = Forked(order, environment_of(installation.settings), installation.directory, log, log)
    with closing(reader_of(installation.settings)) as reader:
        eventually(lambda: reader.taking_back(settled=False).counters["chosen"] > 0)
    process.kill()
    process.wait()
    return position(installation)


def say(installation: Installation, order: list[str]) -> str:
    done = installation.run(*order, seconds=90.0)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def refused(installation: Installation, order: list[str]) -> tuple[str, int]:
    """Give the order before there is an incident."""
    done = installation.run(*order)
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stderr, len(list(public_record(installation.settings)))


def open_incident(installation: Installation) -> None:
    """Write the incident as a guard does."""
    at = format_ms(int(time.time() * 1000))
    incident = Incident(
        id=INCIDENT, kind="feed_partial", slice=Slice(network="twitter", source=BAD), severity="major",
        status="investigating", title="half of it is wrong", opened=at, updated=at, evidence=[], affected_users=0,
    )  # fmt: skip
    producer = clients.producer(installation.settings.kafka)
    producer.produce(installation.names.incidents, encode_incident(incident), incident.id)
    assert producer.flush(10) == 0


@pytest.fixture(scope="module")
def story(install: Install) -> Story:
    networks = {"twitter": NetworkSettings(raw_partitions=RAW_PARTITIONS)}
    installation = install(lanes=LaneSettings(partitions=2), networks=networks)
    installation.up()
    sent = course(int(time.time() * 1000))
    rounds = [[of for of in sent if of.round == number] for number in (BEFORE, WITHIN, AFTER)]
    send(installation, rounds[BEFORE], [])
    since = moment()
    again = [Sent(of.event, BAD, WITHIN) for of in rounds[BEFORE][:AGAIN]]
    send(installation, rounds[WITHIN], again, broken=UNREADABLE)
    until = moment()
    # Published before the next hour begins: a first score falls below nothing.
    installation.wait()
    send(installation, rounds[AFTER], [])
    installation.wait()
    before = installation.changes()
    order = ["retract", "--network", "twitter", "--from", since, "--to", until, "--source", BAD, "--reason", INCIDENT]
    without = refused(installation, order)
    open_incident(installation)
    middle = interrupted(installation, order)
    said = say(installation, order)
    [sums] = conservation(installation.wait())
    users, changes = installation.users(), installation.changes()
    said_again = say(installation, order)
    return Story(installation, sent, before, middle, without, said, said_again, users, changes, sums)


def populations(story: Story) -> list[Population]:
    """Return the users in numbers as they were told so far, which is every few seconds."""
    installation = story.installation
    records = committed(installation.settings.kafka, installation.names.population)
    return [decode_population(value or b"") for _, value in records]


def verdicts(told: list[Population]) -> set[tuple[bool, str | None]]:
    """Return whether any of these is a fall, and which incident they belong to."""
    detector = PopulationFall()
    found = [verdict for at, of in enumerate(told) for verdict in detector.update(PopulationSeen(of, at))]
    return {(verdict.firing, verdict.incident) for verdict in found}


def test_every_user_has_the_sums_of_what_is_left(story: Story) -> None:
    left = Grants([of.event for of in story.sent], Model(), lambda number: not story.sent[number].bad)
    assert left.wrong(story.users) == []


def test_it_was_killed_in_the_middle_and_took_back_each_event_once(story: Story) -> None:
    bad = sum(of.bad for of in story.sent)
    assert story.interrupted.unfinished is not None
    assert 0 < story.interrupted.counters["chosen"] < bad + AGAIN
    assert f"{bad:,} taken back" in story.said
    with closing(reader_of(story.installation.settings)) as reader:
        tasks = reader.worker_statuses(reader.workers())[0].partitions
    assert sum(task.counters["twitter"]["adjusted"] for task in tasks) == bad


def test_an_incident_that_does_not_exist_is_refused_before_anything_is_ordered(story: Story) -> None:
    said, commands = story.refused
    assert f"there is no incident {INCIDENT!r}" in said
    assert "of the 0 that are still known" in said
    assert "clout incident list --all" in said
    assert commands == 0


def test_it_says_what_had_counted_before_and_what_never_did(story: Story) -> None:
    bad = sum(of.bad for of in story.sent)
    assert f"{bad + AGAIN:,} of {ROUNDS[WITHIN] + AGAIN:,} events" in story.said
    assert f"{AGAIN:,} stay: another copy had counted" in story.said
    assert f"{UNREADABLE:,} could not be read" in story.said
    assert "  0 not found" in story.said


def test_the_same_order_once_it_is_done_takes_nothing_more_back(story: Story) -> None:
    assert "  0 taken back" in story.said_again
    assert f"{sum(of.bad for of in story.sent):,} had been taken back before" in story.said_again
    assert story.installation.users() == story.users
    assert story.installation.changes() == story.changes


def test_changes_name_cause_and_incident_and_the_chain_goes_on(story: Story) -> None:
    assert broken_chains(story.changes) == []
    since = {user: theirs[len(story.before.get(user, [])) :] for user, theirs in story.changes.items()}
    told = {(change.cause, change.reference) for theirs in since.values() for change in theirs}
    assert told == {("retraction", INCIDENT)}
    gone = [user for user in story.changes if user.startswith("t:bad") and story.changes[user][-1].score is None]
    assert gone == [user for user in story.changes if user.startswith("t:bad") and not story.users[user].networks]


def test_whom_it_lowered_is_counted_by_the_incident_and_is_no_fall(story: Story) -> None:
    eventually(lambda: verdicts(populations(story)))
    told = populations(story)
    lowered = [of.shift.taken_back[INCIDENT] for of in told if of.shift.taken_back]
    assert max(of.points_1 for of in lowered) > 0
    assert {incident for of in told for incident in of.shift.taken_back} == {INCIDENT}
    assert verdicts(told) == {(False, INCIDENT)}


def test_the_counts_still_add_up_and_no_detector_sees_retractions(story: Story) -> None:
    assert (story.sums.missing, story.sums.dead_lettered, story.sums.duplicate) == (0, UNREADABLE, AGAIN)
    assert (story.sums.retracting, story.sums.retracted, story.sums.unmatched) == (0, 0, 0)


def test_the_order_is_on_public_record(story: Story) -> None:
    records = list(public_record(story.installation.settings))
    assert [(of.command, of.accepted, of.network, of.source, of.incident) for of in records] == [
        ("retract", True, "twitter", BAD, INCIDENT)
    ] * 2
