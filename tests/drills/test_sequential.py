"""The first 20,000 real interactions, one after the other, against the sequential reference."""

from pathlib import Path

import pytest

from schemas.change import decode_change
from tests.checks import committed
from tests.engine.conftest import Install
from tests.engine.higgs import first_interactions
from tests.engine.sequential import SETTINGS, expected, reference_of, told, wrong_users

pytestmark = [pytest.mark.drill, pytest.mark.timeout(3_600)]

EVENTS = 20_000


def test_one_event_at_a_time_equals_the_reference_in_every_sum_and_change(install: Install, higgs_path: Path) -> None:
    installation = install(**SETTINGS)
    installation.up()
    interactions = first_interactions(higgs_path, EVENTS)
    installation.send(value for _, value, _ in interactions.raw)
    reference = reference_of(interactions.events)
    installation.wait(3_000)
    assert wrong_users(installation.users(), reference) == []
    records = committed(installation.settings.kafka, installation.names.changes)
    published = [told(decode_change(value)) for _, value in records if value is not None]
    assert published == [expected(change) for change in reference.changes]
