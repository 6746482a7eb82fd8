"""Interactions that come again change nothing; what is taken back leaves nothing. On the whole way, in short."""

from pathlib import Path

import pytest

from tests.engine.conftest import Install
from tests.engine.higgs import first_interactions
from tests.engine.second_pass import check_a_second_pass_and_half_taken_back

pytestmark = pytest.mark.timeout(120)

INTERACTIONS = 20_000


def test_a_second_pass_is_all_duplicates_and_half_taken_back_leaves_the_other_half(
    install: Install, higgs_path: Path
) -> None:
    check_a_second_pass_and_half_taken_back(install(), first_interactions(higgs_path, INTERACTIONS))
