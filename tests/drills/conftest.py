"""Drills take place in installations of their own, like the tests of the pipeline."""

from tests.engine.conftest import install

__all__ = ["install"]
