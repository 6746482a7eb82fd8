"""Stops a local broker when the process that started it is gone, however it went.

`python -m clout.leash DIRECTORY` waits for its standard input to end: the starter holds the other end.
"""

import signal
import subprocess
import sys
from pathlib import Path

from clout.broker import LocalBroker


def leash(broker: LocalBroker) -> subprocess.Popen[bytes]:
    """Tie a broker to this process; close the result's `stdin` after the broker was stopped in good order."""
    return subprocess.Popen(  # noqa: S603 - our own module
        [sys.executable, "-m", "clout.leash", str(broker.directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def main() -> None:
    """Wait for the end of the input, then stop the broker if it still runs."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    LocalBroker(Path(sys.argv[1])).down()


if __name__ == "__main__":
    main()
