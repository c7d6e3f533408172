"""Whom the server of the probes answers, whoever else is connected."""

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from local_dev.bench.processes import wait_until
from worker import server as module
from worker.server import MAX_CONNECTIONS, MAX_HEADER_BYTES, Server

GO_ON = threading.Event()


def quick(environ, start):  # type: ignore[no-untyped-def]
    """Answer at once with the path."""
    start("200 OK", [("Content-Type", "text/plain")])
    return [environ["PATH_INFO"].encode()]


def slow(environ, start):  # type: ignore[no-untyped-def]
    """Answer with more than any buffer holds, as soon as a test wants it."""
    GO_ON.wait(60.0)
    start("200 OK", [("Content-Type", "text/plain")])
    return [environ.get("HTTP_ACCEPT", "").encode().ljust(50_000_000)]


def breaks(environ, start):  # type: ignore[no-untyped-def]
    """Fail."""
    raise RuntimeError("a secret")


class Served:
    """A server, and who talks to it."""

    def __init__(self, server: Server, port: int) -> None:
        self.server = server
        self.port = port

    def connect(self) -> socket.socket:
        """A connection that says nothing."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=30.0)

    def ask(self, request: bytes) -> bytes:
        """All that is answered to some bytes."""
        with self.connect() as connection:
            connection.sendall(request)
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def get(self, path: str, method: str = "GET") -> tuple[int, bytes]:
        """Status and body of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30.0)
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read()


@pytest.fixture(scope="module")
def served() -> Served:
    """A server with all that it can have to serve."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = Server(quick, {"/slow": slow, "/breaks": breaks})
    server.start(listener)
    return Served(server, listener.getsockname()[1])


@pytest.fixture(autouse=True)
def clean(served: Served) -> Iterator[None]:
    """Afterwards nobody is connected."""
    GO_ON.set()
    yield
    GO_ON.set()
    wait_until(lambda: not served.server._connections)


def test_probes_are_answered_while_silent_connections_pile_up(served: Served) -> None:
    """With the same threads; the oldest connections end when there are too many."""
    threads = threading.active_count()
    with ExitStack() as stack:
        silent = [stack.enter_context(served.connect()) for _ in range(2 * MAX_CONNECTIONS)]

        answer = served.get("/healthz")
        open_connections = len(served.server._connections)
        oldest = silent[0].recv(1)

    assert answer == (200, b"/healthz")
    assert oldest == b""
    assert open_connections <= MAX_CONNECTIONS
    assert threading.active_count() == threads


@pytest.mark.parametrize("sent", [b"", b"GET /healthz HTTP/1.1\r\nHost: x\r\n"])
def test_a_request_has_to_arrive_in_time(
    served: Served, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    """However much of it does."""
    monkeypatch.setattr(module, "REQUEST_SECONDS", 0.1)

    assert served.ask(sent) == b""


def test_a_request_that_drips_does_not_arrive(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit is for all of it, and not for each byte."""
    monkeypatch.setattr(module, "REQUEST_SECONDS", 0.2)

    def drip() -> bool:
        try:
            connection.sendall(b"x")
        except OSError:
            return True
        return False

    with served.connect() as connection:
        wait_until(drip, deadline=30.0)


def test_an_answer_has_to_be_read_in_time(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who does not read it is cut off."""
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.1)

    with served.connect() as connection:
        connection.sendall(b"GET /slow HTTP/1.1\r\n\r\n")
        wait_until(lambda: served.server._connections)
        wait_until(lambda: not served.server._connections)


def test_a_slow_answer_holds_up_no_probe(served: Served) -> None:
    """It comes when it is there, and whole."""
    GO_ON.clear()
    with served.connect() as connection:
        connection.sendall(b"GET /slow HTTP/1.1\r\nAccept: text/x\r\nConnection: close\r\n\r\n")
        wait_until(lambda: served.server._connections)

        probe = served.get("/livez")
        GO_ON.set()
        head, _, body = b"".join(iter(lambda: connection.recv(65536), b"")).partition(b"\r\n\r\n")

    assert probe == (200, b"/livez")
    assert b"Content-Length: 50000000" in head
    assert (len(body), body[:6]) == (50_000_000, b"text/x")


def test_an_answer_that_takes_too_long_is_503(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the next one may come."""
    monkeypatch.setattr(module, "SLOW_SECONDS", 0.1)
    GO_ON.clear()

    assert served.get("/slow") == (503, b"Service Unavailable\n")


def test_an_answer_that_fails_is_503(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    """The log says why, and the answer does not."""
    answer = served.get("/breaks")

    assert answer == (503, b"Service Unavailable\n")
    assert "a secret" in caplog.text


def test_only_what_reads_is_allowed(served: Served) -> None:
    """HEAD is answered without a body, what changes something with 405."""
    refused = served.ask(b"POST /healthz HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc")
    unknown = served.ask(b"BREW /healthz HTTP/1.1\r\n\r\n")
    head = served.ask(b"HEAD /healthz HTTP/1.1\r\n\r\n")

    assert refused.startswith(b"HTTP/1.1 405 ")
    assert b"Allow: GET, HEAD\r\n" in refused
    assert unknown.startswith(b"HTTP/1.1 405 ")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert head.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\nX: " + b"x" * MAX_HEADER_BYTES + b"\r\n\r\n", 431),
        (b"GET /" + b"x" * MAX_HEADER_BYTES, 431),
        (b"GET / HTTP/1.1\r\n" + 101 * b"X: y\r\n" + b"\r\n", 431),
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/3\r\n\r\n", 400),
        (b"GET http://[/ HTTP/1.1\r\n\r\n", 400),
        (b"\x16\x03\x01 \xff / HTTP/1.1\r\n\r\n", 400),
    ],
    ids=["header", "line", "headers", "line of one word", "version", "address", "bytes"],
)
def test_what_is_no_small_request_is_refused(served: Served, request_: bytes, status: int) -> None:
    """With an answer that says what is wrong."""
    assert served.ask(request_).startswith(f"HTTP/1.1 {status} ".encode())
