"""What tests share: a real Kafka, names of their own on it, and the real interactions."""

import os
import secrets
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from clout.broker import LocalBroker
from clout.machine import broker_at_hand
from streams.clients import admin
from streams.settings import KafkaSettings
from streams.topics import TopicSpec, make

# The first example of a test compiles kernels; nothing here is timed.
settings.register_profile("clout", deadline=None)
settings.load_profile("clout")

_SAID = "said"
_LONG = ("tests/clout/test_demo_story.py", "tests/engine/", "tests/gateway/", "tests/pages/", "tests/examples/")
"""Files whose tests run whole installations."""
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def broker() -> Iterator[str]:
    """HOST:PORT of a Kafka of this test run's own."""
    with tempfile.TemporaryDirectory(prefix="clout-test-") as directory:
        local = LocalBroker(Path(directory), port=None, heap_mb=512, short_lived=True)
        with broker_at_hand(KafkaSettings(), local) as kafka:
            yield kafka.broker


@pytest.fixture
def kafka_settings(broker: str) -> KafkaSettings:
    """The broker, with a prefix that no other test has."""
    return KafkaSettings(broker=broker, prefix=f"t{secrets.token_hex(4)}-")


@pytest.fixture
def make_topic(kafka_settings: KafkaSettings) -> Callable[..., str]:
    """Creates a topic: `make_topic(name, partitions=1, **{"cleanup.policy": "compact"})` returns its name."""

    def create(name: str, partitions: int = 1, **config: str) -> str:
        make(admin(kafka_settings), [TopicSpec(name, partitions, config)], kafka_settings.replication_factor)
        return name

    return create


@pytest.fixture(scope="session")
def higgs_path() -> Path:
    """The file of 563,069 real interactions."""
    directory = Path(os.environ.get("CLOUT_TEST_DATA_DIR", ROOT.parent / "shared" / "data"))
    path = directory / "higgs-activity_time.txt.gz"
    if not path.exists():
        pytest.skip(f"the real interactions are not here: {path} (CLOUT_TEST_DATA_DIR names another directory)")
    return path


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that none is left alone at the end."""
    items.sort(key=lambda item: not item.nodeid.startswith(_LONG))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where nothing may be missing (CLOUT_TEST_SKIPS_FAIL=1), a skipped test fails the run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CLOUT_TEST_SKIPS_FAIL") == "1" and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture
def say(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Takes lines that are printed at the end of the run: figures that somebody wants to see."""
    return lambda line: record_property(_SAID, line)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests had to say, and why a run without failures failed."""
    for report in terminalreporter.stats.get("passed", []):
        for name, line in report.user_properties:
            if name == _SAID:
                terminalreporter.write_line(line)
    skipped = terminalreporter.stats.get("skipped", [])
    if os.environ.get("CLOUT_TEST_SKIPS_FAIL") == "1" and skipped:
        terminalreporter.write_line(f"{len(skipped)} skipped, and no test may be (CLOUT_TEST_SKIPS_FAIL)", red=True)
