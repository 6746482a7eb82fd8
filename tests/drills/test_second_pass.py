"""The whole file comes a second time, in another order, and changes nothing; then every second event is taken back."""

from pathlib import Path

import pytest

from tests.engine.conftest import Install
from tests.engine.higgs import LINES, TWINS, first_interactions
from tests.engine.second_pass import check_a_second_pass_and_half_taken_back

pytestmark = [pytest.mark.drill, pytest.mark.timeout(900)]


def test_a_second_pass_is_all_duplicates_and_half_taken_back_leaves_the_other_half(
    install: Install, higgs_path: Path
) -> None:
    interactions = first_interactions(higgs_path)
    assert len(interactions.events) == LINES - TWINS
    check_a_second_pass_and_half_taken_back(install(), interactions)
