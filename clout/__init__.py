"""The command, its configuration and the processes of one machine."""

from typing import Final

VERSION: Final = "0.1.0"
