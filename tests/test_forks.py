"""That roles of a test run end with it, however it ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.roles import eventually

RUN = """
import os, signal, sys
from pathlib import Path
from tests.forks import Forked

def main():
    to = Path(sys.argv[1])
    process = Forked(["--version"], dict(os.environ), to, to / "said", to / "said", before=signal.pause)
    print(process.pid, flush=True)
    signal.pause()

if __name__ == "__main__":
    main()
"""


def test_what_a_run_has_forked_ends_when_the_run_is_killed(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    script = tmp_path / "run.py"
    script.write_text(RUN, encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(pytestconfig.rootpath)}
    with subprocess.Popen([sys.executable, script, tmp_path], stdout=subprocess.PIPE, env=environment) as run:
        assert run.stdout is not None
        forked = int(run.stdout.readline())
        os.kill(forked, 0)
        run.send_signal(signal.SIGKILL)
    eventually(lambda: not Path(f"/proc/{forked}").exists(), seconds=10.0)
