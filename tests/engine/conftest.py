"""Installations for the tests of the whole pipeline."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from clout.config import Settings
from streams.settings import KafkaSettings, NetworkSettings
from tests.roles import Installation

Install = Callable[..., Installation]


@pytest.fixture(scope="module")
def install(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Install]:
    """Makes installations whose roles end with the module: `install(worker=WorkerSettings(…), …)`."""
    with ExitStack() as stack:

        def make(*, directory: Path | None = None, **settings: object) -> Installation:
            kafka = KafkaSettings(broker=broker, prefix=f"t{secrets.token_hex(4)}-")
            settings = {"kafka": kafka, "networks": {"twitter": NetworkSettings()}} | settings
            directory = directory or tmp_path_factory.mktemp("installation")
            return stack.enter_context(Installation(Settings(data_dir=directory, **settings)))  # type: ignore[arg-type]

        yield make
