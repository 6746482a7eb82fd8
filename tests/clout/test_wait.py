import pytest
import typer

from clout.commands.durations import seconds_of
from clout.commands.wait import check_sums, wait_until_processed
from streams.errors import CloutError
from streams.names import Names
from streams.progress import Conservation
from streams.progress_reader import ProgressReader
from streams.settings import KafkaSettings, LaneSettings, NetworkSettings
from streams.topics import create, specification


def sums(*, applied: int) -> Conservation:
    return Conservation("net", 10, applied)


def test_events_that_went_missing_are_an_error_that_counts_them() -> None:
    with pytest.raises(CloutError, match="not accounted for") as raised:
        check_sums([sums(applied=8)])
    assert raised.value.detail == "net: 2 of 10"


def test_events_that_came_meanwhile_are_none() -> None:
    check_sums([sums(applied=12), sums(applied=10)])


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("1.5m", 90), ("2h", 7200)])
def test_durations_have_units(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5", "5d", "5 s s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        seconds_of(text)


def test_without_any_role_the_error_says_what_to_start(kafka_settings: KafkaSettings) -> None:
    names, lanes, networks = Names(kafka_settings.prefix, "1"), LaneSettings(partitions=1), {"net": NetworkSettings()}
    create(kafka_settings, specification(names, lanes, networks))
    reader = ProgressReader(kafka_settings, names, networks, lanes.partitions)
    with pytest.raises(CloutError, match="no running role") as raised:
        wait_until_processed(reader, 0.5, lambda _line: None)
    assert "clout up" in raised.value.hint
