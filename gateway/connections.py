"""Connections with limits: uvicorn's, but a request's head and body must come in time, and the head must be small.

Uvicorn itself waits for ever for a head, and keeps one of any size.
"""

from asyncio import TimerHandle
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from gateway import problems
from gateway.encoded_paths import PATH_BYTES_MAX
from gateway.middleware.safety import SECURITY_HEADERS
from gateway.operations import PARAMETERS_BYTES_MAX

HEAD_BYTES_MAX: Final = PATH_BYTES_MAX + PARAMETERS_BYTES_MAX + 32_768
"""Bytes of a request's line and headers."""
HEADERS_MAX: Final = 100
HEAD_SECONDS_MAX: Final = 5.0
"""From a connection, or the first byte of its next request, to the end of the headers."""
BODY_SECONDS_MAX: Final = 30.0
"""From the headers to the end of the body. Who reads a body has a shorter limit and can still answer."""


class LimitedConnection(HttpToolsProtocol):
    """One connection."""

    _timer: TimerHandle | None = None
    _waiting_for: tuple[str, int] | None = None
    """What the timer is for: the head or the body of which request."""
    _requests = 0
    _head_bytes = 0
    _in_head = True
    _refused = False

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for a head."""
        super().connection_made(transport)
        self._wait_for(("head", 0))

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        self._wait_for(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes; those of a head are counted, and what is not complete after them must be in time."""
        if self._refused:
            return
        if self._in_head:
            # What follows the head may be a body.
            end = data.find(b"\r\n\r\n")
            self._head_bytes += len(data) if end < 0 else end
            if self._head_bytes > HEAD_BYTES_MAX:
                self._refuse("head-too-large", f"its line and headers have more than {HEAD_BYTES_MAX:,} bytes")
                return
        super().data_received(data)
        self._judge()

    def _judge(self) -> None:
        if self._refused:
            return
        if self._in_head:
            self._wait_for(("head", self._requests) if self._head_bytes else None)
        else:
            self._wait_for(("body", self._requests))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        super().on_header(name, value)
        if len(self.headers) > HEADERS_MAX:
            # The parser ends here, and the connection with it.
            raise ValueError(f"more than {HEADERS_MAX} headers")

    def on_headers_complete(self) -> None:
        """Begin a body."""
        self._in_head, self._head_bytes = False, 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Begin the next head."""
        self._in_head, self._requests = True, self._requests + 1
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP."""
        self._refuse("bad-request", msg)

    def _wait_for(self, what: tuple[str, int] | None) -> None:
        if what == self._waiting_for:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._waiting_for = what
        seconds = HEAD_SECONDS_MAX if what and what[0] == "head" else BODY_SECONDS_MAX
        self._timer = None if what is None else self.loop.call_later(seconds, self._too_slow)

    def _too_slow(self) -> None:
        self._refuse("too-slow", "the request did not come in time")

    def _refuse(self, name: str, detail: str) -> None:
        """Answer, where that can be taken for the answer to nothing else, and close the connection."""
        self._refused = True
        self._wait_for(None)
        if self.transport.is_closing():
            return
        if self._may_answer():
            answer = problems.response(name, detail)
            headers = [*answer.raw_headers, *SECURITY_HEADERS, (b"connection", b"close")]
            lines = [STATUS_LINE[answer.status_code], *(b"%b: %b\r\n" % header for header in headers), b"\r\n"]
            self.transport.write(b"".join([*lines, bytes(answer.body)]))
        self.transport.close()

    def _may_answer(self) -> bool:
        """Return whether an answer is the refused request's: no other is under way, and it has none yet."""
        if self.cycle is None or self.pipeline:
            return not self.pipeline
        return bool(self.cycle.response_complete if self._in_head else not self.cycle.response_started)
