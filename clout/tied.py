"""Runs a command that dies with the process that started it: `python tied.py PARENT_PID COMMAND…`.

Linux sends the signal even if the parent was killed outright; elsewhere the command just runs. This file is run by
its path, without the rest of the project, so that it costs only an interpreter's start.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Ask for SIGKILL at the parent's death, then become the command."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before we asked
            sys.exit(1)
    os.execv(command[0], command)  # noqa: S606 - the supervisor's own command, no shell wanted


if __name__ == "__main__":
    main()
