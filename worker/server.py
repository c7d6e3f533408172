"""A small HTTP server, on which nobody can hold up the platform's probes.

One thread reads and writes for all connections, so a connection that says nothing costs no thread.
What has to ask Postgres is answered by a second one. Each connection serves one request within a
time limit; when there are too many, the oldest one ends.
"""

import asyncio
import functools
import logging
import socket
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http import HTTPStatus
from http.client import HTTPException, HTTPMessage, parse_headers
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit
from wsgiref.types import WSGIApplication

REQUEST_SECONDS = 2.0
"""Time for a request to arrive. Probes send theirs at once, and platforms wait a second or more."""

ANSWER_SECONDS = 2.0
"""Time for a client to read its answer, and to close the connection."""

SLOW_SECONDS = 15.0
"""Longest time until a slow answer is there: Postgres has five seconds, and others may wait."""

MAX_HEADER_BYTES = 16 * 1024
"""Size of the line and the headers of a request; those of probes have some hundred bytes."""

MAX_CONNECTIONS = 100
"""Connections at the same time. With one more the oldest ends, so whoever is answered at once, as
a probe is, gets through also while silent ones pile up."""

BACKLOG = 64
"""Connections that the system keeps until they are accepted."""

METHODS = ("GET", "HEAD")

logger = logging.getLogger("worker")


class Server:
    """Serves one application at once, and others, by their paths, in a thread of their own."""

    def __init__(self, quick: WSGIApplication, slow: Mapping[str, WSGIApplication]) -> None:
        self._quick = quick
        self._slow = slow
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="metrics")
        self._connections: dict[asyncio.StreamWriter, None] = {}

    def start(self, listener: socket.socket) -> None:
        """Serve in a thread from now on."""
        self._pool.submit(int)  # Later there may be no thread to be had.
        arguments = (self._serve(listener),)
        threading.Thread(target=asyncio.run, args=arguments, name="health", daemon=True).start()

    async def _serve(self, listener: socket.socket) -> None:
        server = await asyncio.start_server(
            self._converse, sock=listener, limit=MAX_HEADER_BYTES, backlog=BACKLOG
        )
        await server.serve_forever()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections[writer] = None
        if len(self._connections) > MAX_CONNECTIONS:
            oldest = next(iter(self._connections))
            del self._connections[oldest]
            oldest.transport.abort()
        try:
            with suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                answer = await self._answer(reader)
                async with asyncio.timeout(ANSWER_SECONDS):
                    await _send(answer, reader, writer)
        finally:
            writer.transport.abort()
            self._connections.pop(writer, None)

    async def _answer(self, reader: asyncio.StreamReader) -> bytes:
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
            environ = _environ(head)
        except (asyncio.LimitOverrunError, HTTPException):
            return _refusal(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        except ValueError:
            return _refusal(HTTPStatus.BAD_REQUEST)
        if environ["REQUEST_METHOD"] not in METHODS:
            return _refusal(HTTPStatus.METHOD_NOT_ALLOWED, Allow=", ".join(METHODS))
        return await self._served(environ)

    async def _served(self, environ: dict[str, str]) -> bytes:
        with_body = environ["REQUEST_METHOD"] == "GET"
        environ = environ | {"REQUEST_METHOD": "GET"}
        slow = self._slow.get(environ["PATH_INFO"])
        try:
            if slow is None:
                return _call(self._quick, environ, with_body)
            call = functools.partial(_call, slow, environ, with_body)
            async with asyncio.timeout(SLOW_SECONDS):
                return await asyncio.get_running_loop().run_in_executor(self._pool, call)
        except Exception as error:  # The next one may be answered.
            if not isinstance(error, TimeoutError):
                logger.exception("%s cannot be answered", environ["PATH_INFO"])
            return _refusal(HTTPStatus.SERVICE_UNAVAILABLE)


async def _send(answer: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send an answer, and wait for the client to close: it would lose the answer if it was still
    sending something when this side does."""
    writer.transport.set_write_buffer_limits(0)  # So `drain` waits until all is sent.
    writer.write(answer)
    await writer.drain()
    writer.write_eof()
    while await reader.read(MAX_HEADER_BYTES):
        pass


def _environ(head: bytes) -> dict[str, str]:
    """What a WSGI application is told of a request; raises ValueError, or HTTPException for more
    than 100 headers."""
    line, _, rest = head.partition(b"\r\n")
    method, target, version = line.decode("ascii").split(" ")
    if not version.startswith("HTTP/1."):
        raise ValueError(version)
    url = urlsplit(target)
    headers = parse_headers(BytesIO(rest))
    told = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in _plain(headers)}
    return told | {"REQUEST_METHOD": method, "PATH_INFO": url.path, "QUERY_STRING": url.query}


def _plain(headers: HTTPMessage) -> list[tuple[str, str]]:
    return [(name, str(value)) for name, value in headers.items()]


def _call(application: WSGIApplication, environ: dict[str, str], with_body: bool) -> bytes:
    """The answer of an application, as it is sent."""
    begun: list[Any] = []

    def start(status: str, headers: list[tuple[str, str]], *_: Any) -> Any:
        begun.extend((status, dict(headers)))

    body = b"".join(application(environ, start))
    status, headers = begun
    return _message(status, headers, body, with_body)


def _refusal(status: HTTPStatus, **headers: str) -> bytes:
    body = f"{status.phrase}\n".encode()
    kind = {"Content-Type": "text/plain; charset=utf-8"}
    return _message(f"{status.value} {status.phrase}", kind | headers, body, with_body=True)


def _message(status: str, headers: Mapping[str, str], body: bytes, with_body: bool) -> bytes:
    fields = {**headers, "Content-Length": str(len(body)), "Connection": "close"}
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1") + (body if with_body else b"")
