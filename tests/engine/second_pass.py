"""What must hold when interactions come again, and when every second one is taken back."""

import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from clout.snap import RawEvent
from schemas.export import UserState
from schemas.interaction import Interaction, encode
from schemas.times import parse_ms
from scorer.model import Model
from scorer.reference import Actors, Event, Sums, add
from streams.progress import conservation
from tests.checks import broken_chains, users_of
from tests.engine.feeder import Feeder
from tests.engine.higgs import Interactions
from tests.roles import Installation

EVENTS_PER_SECOND: Final = 150_000
_OF_LARGEST: Final = 1e-9
_BLOCK: Final = 1_000
"""Interactions that are shuffled among themselves."""
_WAIT_SECONDS: Final = 240


def send(installation: Installation, raw: Iterable[RawEvent]) -> None:
    """Send interactions and return when the broker has them."""
    with Feeder(installation, raw, events_per_second=EVENTS_PER_SECOND) as feeder:
        feeder.finish()


def shuffled_in_blocks(raw: Sequence[RawEvent], block: int, seed: int) -> list[RawEvent]:
    """The same interactions, in another order within each block."""
    chance = random.Random(seed)
    mixed: list[RawEvent] = []
    for begin in range(0, len(raw), block):
        part = list(raw[begin : begin + block])
        chance.shuffle(part)
        mixed += part
    return mixed


def retractions(interactions: Interactions) -> list[RawEvent]:
    """A retraction of every second interaction."""
    return [
        (key, encode(Interaction(kind="retract", id=event.id, actor=event.actor, time=event.time)), time)
        for (key, _, time), event in zip(interactions.raw[1::2], interactions.events[1::2], strict=True)
    ]


class Grants:
    """What a run in order grants, the sums that a part of it leaves, and the largest that each ever was."""

    def __init__(
        self, events: Sequence[Event], model: Model, stays: Callable[[int], bool] = lambda number: number % 2 == 0
    ) -> None:
        """Fold all events; those that do not stay, every second one, are then as if they had granted nothing."""
        actors = Actors(model)
        whole: dict[tuple[str, str], Sums] = {}
        self.left: dict[tuple[str, str], Sums] = {}
        self.largest: dict[tuple[str, str], tuple[float, float]] = {}
        self.half_life_ms = model.half_life_ms
        for number, event in enumerate(events):
            if event.actor == event.target:
                continue
            grant = actors.grant(event, model.influence_floor)
            add(whole, event, grant, model)
            if stays(number):
                add(self.left, event, grant, model)
            key = event.target, event.network
            reach, amplification = self.largest.get(key, (0.0, 0.0))
            now = whole[key]
            self.largest[key] = max(reach, now.reach), max(amplification, now.amplification)

    def wrong(self, users: Mapping[str, UserState]) -> list[str]:
        """Users who do not have what is left, to 1e-9 of the largest value that they ever had."""
        scored = {user: state for user, state in users.items() if state.networks}
        wrong = [f"{user} should have nothing" for user in scored if (user, "twitter") not in self.left]
        wrong += [f"{user}: {state}" for user, state in users.items() if bool(state.score) != bool(state.networks)]
        for (user, network), sums in self.left.items():
            have = scored[user].networks[network] if user in scored else None
            if have is None or have.events != sums.events:
                wrong.append(f"{user}: {have}, not {sums.events} events")
                continue
            since = parse_ms(have.time) - sums.time
            left = 2.0 ** (-since / self.half_life_ms)
            for name, largest in zip(("reach", "amplification"), self.largest[user, network], strict=True):
                is_, should = getattr(have, name), getattr(sums, name) * left
                if not math.isclose(is_, should, rel_tol=0.0, abs_tol=_OF_LARGEST * largest):
                    wrong.append(f"{user}: {name} {is_!r}, not {should!r}")
            if min(have.reach, have.amplification, have.network) < 0.0:
                wrong.append(f"{user}: below zero")
        return wrong


def check_a_second_pass_and_half_taken_back(installation: Installation, interactions: Interactions) -> None:
    """Send all, send all again in another order, take every second one back, and again; look after each."""
    count = len(interactions.raw)
    [ingest], [worker] = installation.up()
    send(installation, interactions.raw)
    installation.wait(_WAIT_SECONDS)
    once, changes = installation.export(), installation.changes()

    # What is recognised survives the worker.
    assert worker.stop() == 0
    worker.start()
    send(installation, shuffled_in_blocks(interactions.raw, _BLOCK, seed=7))
    [sums] = conservation(installation.wait(_WAIT_SECONDS))
    assert (sums.read, sums.duplicate, sums.missing) == (2 * count, count, 0)
    assert installation.export() == once
    assert installation.changes() == changes

    for _ in range(2):
        send(installation, retractions(interactions))
    [sums] = conservation(installation.wait(_WAIT_SECONDS))
    assert (sums.retracting, sums.missing) == (2 * (count // 2), 0)
    users = users_of(installation.export())
    assert Grants(interactions.events, Model()).wrong(users) == []
    after = installation.changes()
    assert broken_chains(after) == []
    assert {user: after[user][-1].score for user in users} == {user: state.score for user, state in users.items()}
    assert "retraction" in {change.cause for theirs in after.values() for change in theirs}
    assert [role.stop() for role in (worker, ingest)] == [0, 0]
