"""A founding story, told by a real demonstration."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.roles import CLOUT


@pytest.mark.timeout(300)
def test_every_score_reset_to_1_is_stopped_shown_and_mended_and_nobody_sees_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [*CLOUT, "demo", "--fault", "floor", "--gateways", "0"],
        env={**os.environ, "XDG_DATA_HOME": str(tmp_path), "COLUMNS": "200"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    said = done.stdout
    assert done.returncode == 0, said + done.stderr
    for words in (
        "two hours until someone looked",
        "takes every score for 1",
        "partitions 0, 1, 2, 3 stand still",
        "the law  score_follows_sums",
        "incident  law_violation:1:",
        "marked stale",
        "clout_law_violations_total went from 0 to 4",
        "wrong changes, to the end: 0",
        "4 incidents are over",
        "broken chains: 0",
        "It went as told",
    ):
        assert words in said, said
    assert said.count("adds up") == 4
