from dataclasses import dataclass
from pathlib import Path

import pytest

from schemas.change import decode_change
from scorer.reference import Reference
from tests.checks import committed
from tests.engine.conftest import Install
from tests.engine.higgs import first_interactions
from tests.engine.sequential import SETTINGS, expected, reference_of, told, wrong_users
from tests.roles import Installation

EVENTS = 300


@dataclass(frozen=True, slots=True)
class Scored:
    installation: Installation
    reference: Reference


@pytest.fixture(scope="module")
def scored(install: Install, higgs_path: Path) -> Scored:
    installation = install(**SETTINGS)
    installation.up()
    interactions = first_interactions(higgs_path, EVENTS)
    installation.send(value for _, value, _ in interactions.raw)
    reference = reference_of(interactions.events)
    installation.wait()
    return Scored(installation, reference)


def test_one_event_at_a_time_gives_the_network_sums_of_the_sequential_reference(scored: Scored) -> None:
    assert len(scored.reference.sums) > EVENTS / 4
    assert wrong_users(scored.installation.users(), scored.reference) == []


def test_one_event_at_a_time_publishes_the_changes_of_the_reference_in_its_order(scored: Scored) -> None:
    installation = scored.installation
    records = committed(installation.settings.kafka, installation.names.changes)
    published = [told(decode_change(value)) for _, value in records if value is not None]
    assert published == [expected(change) for change in scored.reference.changes]
