import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from clout import logs


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    lines = io.StringIO()
    yield lines
    root.handlers[:], root.level = before
    logging.captureWarnings(False)
    structlog.reset_defaults()


def test_away_from_a_terminal_a_line_is_json_with_what_was_bound(stream: io.StringIO) -> None:
    logs.set_up(stream=stream)
    structlog.get_logger("clout.test").bind(partition=3, position=17).info("committed", rows=5)
    line = json.loads(stream.getvalue())
    assert (line["event"], line["partition"], line["position"], line["rows"]) == ("committed", 3, 17, 5)
    assert line["level"] == "info"
    assert line["timestamp"].endswith("Z")


def test_lines_of_libraries_have_the_same_form(stream: io.StringIO) -> None:
    logs.set_up(stream=stream)
    logging.getLogger("aiokafka.consumer").warning("heartbeat of %s failed", "member")
    line = json.loads(stream.getvalue())
    assert (line["event"], line["logger"]) == ("heartbeat of member failed", "aiokafka.consumer")


def test_the_chatter_of_libraries_is_left_out(stream: io.StringIO) -> None:
    logs.set_up(stream=stream)
    logging.getLogger("faust").info("worker ready")
    assert stream.getvalue() == ""


def test_lines_below_the_level_are_left_out(stream: io.StringIO) -> None:
    logs.set_up("warning", stream=stream)
    structlog.get_logger("clout.test").info("committed")
    assert stream.getvalue() == ""


def test_text_is_for_people(stream: io.StringIO) -> None:
    logs.set_up(form="text", stream=stream)
    structlog.get_logger("clout.test").bind(partition=3).warning("stopped")
    assert "stopped" in stream.getvalue()
    assert "partition=3" in stream.getvalue()


def test_an_exception_is_part_of_its_line(stream: io.StringIO) -> None:
    logs.set_up(stream=stream)
    try:
        int("broken")
    except ValueError:
        structlog.get_logger("clout.test").exception("failed")
    assert "ValueError: invalid literal" in json.loads(stream.getvalue())["exception"]


def test_what_the_kafka_client_repeats_is_written_once_in_a_while(stream: io.StringIO) -> None:
    logs.set_up(stream=stream)
    client = logging.getLogger("librdkafka")
    for attempt in range(20):
        client.error("broker/%d: connection refused (after %dms)", attempt, attempt)
    client.error("another trouble")
    assert len(stream.getvalue().splitlines()) == 2


def test_a_line_that_was_repeated_is_written_again_after_the_time() -> None:
    now = [100.0]
    passes = logs.Repetitions(lambda: now[0])
    line = logging.makeLogRecord({"msg": "refused"})
    assert [passes.filter(line), passes.filter(line)] == [True, False]
    now[0] += logs.REPEATED_SECONDS
    assert passes.filter(line)
