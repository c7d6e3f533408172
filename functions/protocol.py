"""HTTP/1.1 with limits: `uvicorn functions.asgi:app --http functions.protocol:LimitedHttp`.

uvicorn's own protocol keeps headers of any length, and waits for them as long as anybody likes.
"""

import asyncio
from collections.abc import Callable

from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from .errors import FunctionError, HeadersTooLarge, MalformedRequest

MAX_HEADER_BYTES = 64 * 1024
"""The most that the request line and all headers may have: several times what proxies and platforms
let through."""

MAX_HEADERS = 100
"""The most headers of a request: ten times what a browser sends; many proxies have this limit."""

HEADER_SECONDS = 10.0
"""The longest time from connecting, or from the first byte of a request, until its headers end."""

LINGER_SECONDS = 2.0
"""How long a refused client may go on to send, which is thrown away. Without that, the connection
would be reset, and the client would lose the answer."""

UNREAD_SECONDS = 60.0
"""How long a client may leave unread what the system does not take for it: enough for the largest
answer at 70 KB per second. Until then it keeps a connection, and the answer in memory."""

PIECE_BYTES = 16 * 1024
"""The most that is parsed at once, so that little is parsed of what is refused."""

MAX_UNMEASURED_BYTES = MAX_HEADER_BYTES - PIECE_BYTES
"""A complete head of which no more bytes were counted is not measured: even with those of the piece
in which it began, which are not counted, it has no more than MAX_HEADER_BYTES."""


class LimitedHttp(HttpToolsProtocol):
    """A connection, which is closed when the headers of a request are too large or take too long.

    While a head is incomplete, its bytes are counted as they come; where it began amid a piece,
    after a request that was pipelined, the bytes of that piece are not. So a complete head, which
    `headers` holds, needs to be measured only if it may be that long.
    """

    _unfinished_bytes = 0
    """Bytes since a head, a piece of a body or a request ended last: part of a head or trailers."""

    _deadline: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None
    """Runs while something is written that the client does not read."""

    _refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first head."""
        super().connection_made(transport)
        self.ws_protocol_class = None  # No function has WebSockets, whatever is installed.
        # Else what is left of an answer would not be noticed, and to close waits for it for ever.
        transport.set_write_buffer_limits(high=0)
        self._end_in(HEADER_SECONDS, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._forget_deadline()
        self._forget_unread()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Wait for the client to read what has been written, but not for ever."""
        super().pause_writing()
        self._unread = self.loop.call_later(UNREAD_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on, since all has been read."""
        self._forget_unread()
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        """Parse `data`, as long as nothing in it is refused."""
        if len(data) > PIECE_BYTES:
            for start in range(0, len(data), PIECE_BYTES):
                self.data_received(data[start : start + PIECE_BYTES])
        elif not self._refused:
            self._unfinished_bytes += len(data)
            super().data_received(data)
            if self._unfinished_bytes:
                self._check()

    def on_headers_complete(self) -> None:
        """Start the request, unless its head is too large."""
        if self._unfinished_bytes > MAX_UNMEASURED_BYTES or len(self.headers) > MAX_HEADERS:
            self._measure()
        self._unfinished_bytes = 0
        if self._deadline is not None:
            self._forget_deadline()
        super().on_headers_complete()
        self.headers = []  # Trailers come here, too, and must not become headers.

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body; what is answered already is not waited for any longer."""
        self._unfinished_bytes = 0
        super().on_body(body)
        if self.cycle.response_complete:
            self._check()

    def on_chunk_complete(self) -> None:
        """End a chunk, or the trailers after the last one."""
        self._unfinished_bytes = 0

    def send_400_response(self, msg: str) -> None:
        """Answer what the parser cannot read, or has been told to refuse."""
        if not self._refused:
            self._refuse(MalformedRequest())

    def _check(self) -> None:
        """Limit what has begun and not ended: its size and, unless an answer is owed, its time."""
        if self._refused or self.transport.is_closing():
            return
        if self._unfinished_bytes > MAX_HEADER_BYTES or len(self.headers or ()) > MAX_HEADERS:
            self._refuse(_too_large())
        elif self._deadline is None and (self.cycle is None or self.cycle.response_complete):
            self._end_in(HEADER_SECONDS, self.transport.close)

    def _measure(self) -> None:
        """Refuse a complete head that is too large; raising ends the parser, as uvicorn expects."""
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > MAX_HEADER_BYTES or len(self.headers) > MAX_HEADERS:
            self._refuse(_too_large())
            raise _too_large()

    def _refuse(self, error: FunctionError) -> None:
        """Answer and close; only close where that would be taken for the answer to another."""
        self._refused = True
        cycle = self.cycle
        if cycle and not cycle.response_complete:
            if self.pipeline or cycle.response_started or cycle.scope is not self.scope:
                self.transport.close()
                return
            cycle.disconnected = True  # The function that reads this body ends.
            cycle.message_event.set()
        from .problems import problem  # Only here, since a server imports this before functions.

        self.transport.write(self._serialized(problem(error)))
        self._linger()

    def _serialized(self, answer: Response) -> bytes:
        headers = [*self.server_state.default_headers, *answer.raw_headers]
        headers.append((b"connection", b"close"))
        lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        return STATUS_LINE[answer.status_code] + lines + b"\r\n" + bytes(answer.body)

    def _linger(self) -> None:
        if not self.transport.can_write_eof():
            self.transport.close()
            return
        self.transport.write_eof()
        self._end_in(LINGER_SECONDS, self.transport.abort)

    def _end_in(self, seconds: float, end: Callable[[], None]) -> None:
        self._forget_deadline()
        self._deadline = self.loop.call_later(seconds, end)

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _forget_unread(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None


def _too_large() -> HeadersTooLarge:
    return HeadersTooLarge(limit=MAX_HEADER_BYTES, count=MAX_HEADERS)
