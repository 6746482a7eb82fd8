"""Log lines: readable on a terminal, one JSON object each otherwise.

Callers bind what a line is about: `structlog.get_logger().bind(partition=3, position=17)`. Lines of the libraries
(Faust, aiokafka, librdkafka, uvicorn) go the same way.
"""

import logging
import re
import sys
import time
from collections.abc import Callable
from typing import Final, Literal, TextIO

import structlog

QUIETER: Final = ("faust", "mode", "aiokafka", "kafka", "uvicorn", "httpx", "asyncio")
"""Libraries that tell at `info` what only their authors want to know."""


REPEATED_SECONDS: Final = 30.0
"""The Kafka client says the same up to ten times a second while a broker is away: once in so long is enough."""
_TEXTS_MAX: Final = 1_000
_NUMBER: Final = re.compile(r"\d+")


class Repetitions(logging.Filter):
    """Lets a line through again only after a while; lines that differ in numbers alone are the same.

    >>> passes, line = Repetitions(), logging.makeLogRecord({"msg": "Connection refused (after 3ms)"})
    >>> passes.filter(line), passes.filter(logging.makeLogRecord({"msg": "Connection refused (after 12ms)"}))
    (True, False)
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin without a line; `clock` gives seconds."""
        super().__init__()
        self._clock = clock
        self._said_at: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the line is to be written."""
        text, now = _NUMBER.sub("", record.getMessage()), self._clock()
        if now - self._said_at.get(text, -REPEATED_SECONDS) < REPEATED_SECONDS:
            return False
        if len(self._said_at) >= _TEXTS_MAX:
            self._said_at.clear()
        self._said_at[text] = now
        return True


def quieten_client() -> None:
    """Show only errors of the Kafka client: a command's own words say what its user needs to know."""
    logging.getLogger("librdkafka").setLevel(logging.ERROR)


def set_up(
    level: Literal["debug", "info", "warning", "error"] = "info",
    form: Literal["auto", "text", "json"] = "auto",
    stream: TextIO | None = None,
) -> None:
    """Send all log lines to the stream, standard error unless given; `auto` looks whether it is a terminal."""
    to = stream if stream is not None else sys.stderr
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.ExtraAdder(),
    ]
    text = form == "text" or (form == "auto" and to.isatty())
    last: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer(colors=to.isatty())]
        if text
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared[:-1],
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(to)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last]
        )
    )
    logging.captureWarnings(True)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("librdkafka").filters[:] = [Repetitions()]
    for name in QUIETER:
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
        library.setLevel(level.upper() if level != "info" else logging.WARNING)
