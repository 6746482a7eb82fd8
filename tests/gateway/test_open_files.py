import resource
from collections.abc import Iterator

import pytest

from gateway.role import allow_open_files


@pytest.fixture
def few_files() -> Iterator[tuple[int, int]]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    yield 512, hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_gateway_may_have_more_connections_than_a_shell_allows(few_files: tuple[int, int]) -> None:
    allow_open_files(900)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (900, few_files[1])


def test_it_never_takes_some_away(few_files: tuple[int, int]) -> None:
    allow_open_files(100)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == few_files
