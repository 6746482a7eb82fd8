"""The demonstration: a made-up population, and a live view of what its scores do."""

from typing import Final

DIRECTORY: Final = "demo"
"""Of a demonstration, in the data directory."""
