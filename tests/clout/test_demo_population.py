import json

import numpy as np
import pytest

from clout.demo.population import DAY_MS, Interactions, Population, PopulationSettings, encoded
from schemas.times import HOUR_MS

START_MS = 19_000 * DAY_MS
SETTINGS = PopulationSettings(seed=5, people=2_000, start_ms=START_MS, end_ms=START_MS + 10 * DAY_MS, events=60_000)


@pytest.fixture(scope="module")
def population() -> Population:
    return Population(SETTINGS)


@pytest.fixture(scope="module")
def rows(population: Population) -> Interactions:
    return Interactions.join(list(population.interactions()))


def test_the_same_seed_makes_the_same_interactions(rows: Interactions) -> None:
    again = Interactions.join(list(Population(SETTINGS).interactions()))
    assert all(np.array_equal(a, b) for a, b in zip(rows.columns(), again.columns(), strict=True))


def test_time_never_goes_back_nor_beyond_the_end(rows: Interactions) -> None:
    assert (np.diff(rows.time_ms) >= 0).all()
    assert rows.time_ms[0] >= SETTINGS.start_ms
    assert rows.time_ms[-1] < SETTINGS.end_ms


def test_about_as_many_interactions_come_as_were_asked_for(rows: Interactions) -> None:
    assert SETTINGS.events / 2 < len(rows) < SETTINGS.events * 2


def test_a_tenth_of_the_people_get_most_of_the_attention(rows: Interactions) -> None:
    credited = np.sort(np.bincount(rows.target, minlength=SETTINGS.people))[::-1]
    assert credited[: SETTINGS.people // 10].sum() > 0.6 * credited.sum()


def test_many_people_are_credited_on_more_than_one_network(rows: Interactions) -> None:
    seen = np.zeros((SETTINGS.people, len(SETTINGS.networks)), bool)
    seen[rows.target, rows.network] = True
    several = seen.sum(axis=1)
    assert (several > 1).sum() > 0.3 * (several > 0).sum()


def test_nobody_acts_on_a_network_that_is_not_theirs(population: Population, rows: Interactions) -> None:
    assert population._on[rows.actor, rows.network].all()


def test_evenings_are_livelier_than_nights(rows: Interactions) -> None:
    by_hour = np.bincount(rows.time_ms % DAY_MS // HOUR_MS, minlength=24)
    assert by_hour[18:21].sum() > 2 * by_hour[3:6].sum()


def test_activity_comes_in_bursts(rows: Interactions) -> None:
    star = np.bincount(rows.target).argmax()
    minutes = np.bincount((rows.time_ms[rows.target == star] - START_MS) // (10 * 60_000))
    assert minutes.var() > 3 * minutes.mean()


def test_a_few_interactions_are_with_oneself(rows: Interactions) -> None:
    assert 0 < (rows.actor == rows.target).mean() < 0.01


def test_every_row_becomes_native_json_with_an_id_of_its_own(population: Population, rows: Interactions) -> None:
    few = rows.take(np.arange(200))
    events = [json.loads(value) for *_, value in encoded(population, few, 10)]
    assert len({event["id"] for event in events}) == 200
    assert events[0]["id"].endswith(":10")
    assert [event["time"] for event in events] == few.time_ms.tolist()
    assert {event["actor"] for event in events} <= set(population.people)
