"""Connections that are refused, and those that must not be, by uvicorn with this protocol."""

import socket
import threading
from collections.abc import Callable, Iterator

import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from functions import protocol
from functions.protocol import MAX_HEADER_BYTES, MAX_HEADERS, LimitedHttp
from local_dev.bench.processes import DEADLINE, wait_until

Connect = Callable[[], socket.socket]
Hurry = Callable[[], None]

GET = b"GET / HTTP/1.1\r\nHost: x\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
LONG = b"A: " + b"a" * MAX_HEADER_BYTES + b"\r\n"
"""A header that is too long for a request that has it."""


LARGE_BYTES = 64 * 1024 * 1024


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the request's headers, and with how long its body is; /early waits for none.

    What is at /large is more than the system takes for a client that does not read.
    """
    if scope["type"] != "http":
        return
    request = Request(scope, receive)
    if request.url.path == "/large":
        await Response(b"a" * LARGE_BYTES)(scope, receive, send)
        return
    length = 0 if request.url.path == "/early" else len(await request.body())
    told = {"length": length, "path": request.url.path, "headers": dict(request.headers)}
    await JSONResponse(told)(scope, receive, send)


@pytest.fixture
def server() -> Iterator[uvicorn.Server]:
    """A server that has this protocol."""
    config = uvicorn.Config(application, port=0, http=LimitedHttp, log_level="critical")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started)
    yield server
    server.should_exit = True
    thread.join()


@pytest.fixture
def connect(server: uvicorn.Server) -> Iterator[Connect]:
    """Connects to the server."""
    address = server.servers[0].sockets[0].getsockname()
    opened: list[socket.socket] = []

    def open_one() -> socket.socket:
        opened.append(socket.create_connection(address, timeout=DEADLINE))
        return opened[-1]

    yield open_one
    for each in opened:
        each.close()


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> Hurry:
    """From then on headers, and nothing else, are waited for only for a moment."""
    return lambda: monkeypatch.setattr(protocol, "HEADER_SECONDS", 0.1)


def everything(connection: socket.socket) -> bytes:
    """All that is answered until the server closes."""
    return b"".join(iter(lambda: connection.recv(65536), b""))


def one_answer(connection: socket.socket) -> bytes:
    """What is answered until `told` has ended."""
    answer = b""
    while not answer.endswith(b"}}"):
        received = connection.recv(65536)
        assert received, answer
        answer += received
    return answer


def many(count: int) -> bytes:
    """A request with this many headers."""
    return b"GET / HTTP/1.1\r\n" + b"".join(b"H%d: 1\r\n" % at for at in range(count)) + b"\r\n"


def sized(size: int) -> bytes:
    """A request whose target and headers have this many bytes, as they are counted."""
    head = b"GET / HTTP/1.1\r\nHost: x\r\nA: %b\r\n\r\n"
    return head % (b"a" * (size - len("/" + "Host: x\r\n" + "A: \r\n")))


@pytest.mark.parametrize(
    "request_bytes",
    [
        sized(MAX_HEADER_BYTES + 1),
        b"GET /" + b"a" * (MAX_HEADER_BYTES + 1) + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /" + b"a" * 10 * MAX_HEADER_BYTES,
        GET + LONG,
        GET + LONG * 100,
        GET + b"a" * 2 * MAX_HEADER_BYTES,
        many(MAX_HEADERS + 1),
        b"\r\n" * MAX_HEADER_BYTES,
        CHUNKED + b"1\r\na\r\n0\r\n" + LONG * 2,
        CHUNKED + b"1;" + b"a" * 2 * MAX_HEADER_BYTES,
    ],
    ids=[
        *("bytes", "target", "endless target", "endless value", "endless headers", "endless name"),
        *("count", "empty lines", "trailers", "chunk extension"),
    ],
)
def test_what_is_too_large_is_refused(connect: Connect, request_bytes: bytes) -> None:
    """431, and the connection ends, whether or not the head does."""
    connection = connect()

    connection.sendall(request_bytes)
    head, _, body = everything(connection).partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
    assert b"\r\ncontent-type: application/problem+json\r\n" in head
    assert b"\r\nconnection: close" in head
    assert b"problem:headers-too-large" in body
    assert b"\r\ncontent-length: %d\r\n" % len(body) in head


@pytest.mark.parametrize(
    "request_bytes", [sized(MAX_HEADER_BYTES), many(MAX_HEADERS)], ids=["bytes", "count"]
)
def test_what_is_just_small_enough_is_served(connect: Connect, request_bytes: bytes) -> None:
    """The limits belong to what is allowed."""
    connection = connect()

    connection.sendall(request_bytes)

    assert one_answer(connection).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_is_no_header(connect: Connect, chunked: bool) -> None:
    """It may be as long as the application reads, in one piece or in thousands."""
    connection = connect()
    length = 20 * MAX_HEADER_BYTES
    announced = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % length
    sent = CHUNKED + b"40\r\n" + b"a" * 64 + b"\r\n" if chunked else announced + b"a" * length

    connection.sendall(sent)
    if chunked:
        connection.sendall((b"40\r\n" + b"a" * 64 + b"\r\n") * (length // 64 - 1) + b"0\r\n\r\n")

    assert b'{"length":%d,' % length in one_answer(connection)


def test_every_request_of_a_connection_is_limited(connect: Connect) -> None:
    """And only by what it has itself."""
    connection = connect()
    answers = []
    for _ in range(5):
        connection.sendall(sized(MAX_HEADER_BYTES // 2))
        answers.append(one_answer(connection))

    connection.sendall(GET + LONG)
    refused = everything(connection)

    assert {answer[:15] for answer in answers} == {b"HTTP/1.1 200 OK"}
    assert refused.startswith(b"HTTP/1.1 431")


def test_pipelined_requests_are_served(connect: Connect) -> None:
    """Many of them have more headers together than one of them may have."""
    connection = connect()
    half = sized(MAX_HEADER_BYTES // 2).replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")

    connection.sendall(sized(MAX_HEADER_BYTES // 2) * 5 + half)

    assert everything(connection).count(b"HTTP/1.1 200 OK\r\n") == 6


def test_a_refusal_is_not_taken_for_the_answer_to_an_earlier_request(connect: Connect) -> None:
    """Where the earlier one is under way, the connection only ends."""
    connection = connect()

    connection.sendall(CHUNKED + b"0\r\n\r\n" + GET + LONG + b"\r\n")

    assert everything(connection) == b""


def test_trailers_are_not_headers(connect: Connect) -> None:
    """Whoever checks headers in front of the functions has not seen them."""
    connection = connect()

    connection.sendall(CHUNKED + b"1\r\na\r\n0\r\nX-API-Key: secret\r\n\r\n")
    answer = one_answer(connection)

    assert b'{"length":1,' in answer
    assert b"secret" not in answer


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"BREW / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1 twice\r\n\r\n",
        b"GET / HTTP/1.1\r\nA\x00: 1\r\n\r\n",
    ],
)
def test_what_the_parser_cannot_read_is_a_problem_too(
    connect: Connect, request_bytes: bytes
) -> None:
    """400, in the form of all other errors."""
    connection = connect()

    connection.sendall(request_bytes)
    answer = everything(connection)

    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"problem:malformed-request" in answer


@pytest.mark.parametrize(
    "lengths",
    [
        [b"5", b"6"],
        [b"5, 5"],
        [b"+5"],
        [b"-5"],
        [b"9" * 5000],
    ],
    ids=["two", "a list", "plus", "minus", "5000 digits"],
)
def test_a_length_that_is_no_number_is_refused(connect: Connect, lengths: list[bytes]) -> None:
    """400: whoever reads it differently would see another request in the body."""
    connection = connect()
    headers = b"".join(b"Content-Length: %b\r\n" % length for length in lengths)

    connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\nabcdef")

    assert everything(connection).startswith(b"HTTP/1.1 400 ")


def test_a_length_beside_chunks_is_refused(connect: Connect) -> None:
    """400, for the same reason."""
    connection = connect()
    chunked = CHUNKED.replace(b"Host: x\r\n", b"Host: x\r\nContent-Length: 5\r\n")

    connection.sendall(chunked + b"0\r\n\r\n")

    assert everything(connection).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("begun", [b"", b"GE", GET, b"\r\n"], ids=["", "line", "head", "empty"])
def test_a_head_that_does_not_end_is_not_waited_for(
    connect: Connect, hurry: Hurry, begun: bytes
) -> None:
    """The connection ends without an answer."""
    hurry()
    connection = connect()

    connection.sendall(begun)

    assert everything(connection) == b""


def test_a_head_that_comes_byte_by_byte_is_not_waited_for(connect: Connect, hurry: Hurry) -> None:
    """The time is that of all of it."""
    hurry()
    connection = connect()
    connection.sendall(GET)

    def closed() -> bool:
        try:
            connection.sendall(b"A")
        except OSError:
            return True
        return False

    wait_until(closed, pause=0.01)


def test_the_next_head_on_a_connection_is_not_waited_for_either(
    connect: Connect, hurry: Hurry
) -> None:
    """uvicorn alone waits for ever as soon as a byte of it has come."""
    connection = connect()
    connection.sendall(GET + b"\r\n")
    one_answer(connection)
    hurry()

    connection.sendall(GET)

    assert everything(connection) == b""


def test_a_body_that_nobody_reads_is_not_waited_for(connect: Connect, hurry: Hurry) -> None:
    """The request has been answered; uvicorn alone would wait for the rest for ever."""
    connection = connect()
    connection.sendall(b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n")
    one_answer(connection)
    hurry()

    connection.sendall(b"a")

    assert everything(connection) == b""


def test_a_body_may_take_longer_than_a_head(connect: Connect, hurry: Hurry) -> None:
    """What bounds it is up to the application."""
    connection = connect()
    connection.sendall(GET.replace(b"GET", b"POST") + b"Content-Length: 1\r\n")
    connection.sendall(b"Expect: 100-continue\r\n\r\n")
    expected = connection.recv(65536)
    hurry()

    everything(connect())  # When it ends, both have waited for longer than for headers.
    connection.sendall(b"a")

    assert expected == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert b'{"length":1,' in one_answer(connection)


def test_an_answer_that_is_not_read_is_not_kept(
    server: uvicorn.Server, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection ends, with what is left of the answer."""
    monkeypatch.setattr(protocol, "UNREAD_SECONDS", 0.1)
    connection = connect()

    connection.sendall(GET.replace(b"/", b"/large", 1) + b"\r\n")
    wait_until(lambda: server.server_state.total_requests == 1)

    wait_until(lambda: not server.server_state.connections)


def test_a_large_answer_that_is_read_is_whole(connect: Connect) -> None:
    """However often the client makes the server wait."""
    connection = connect()

    connection.sendall(GET.replace(b"/", b"/large", 1) + b"Connection: close\r\n\r\n")
    _, _, body = everything(connection).partition(b"\r\n\r\n")

    assert len(body) == LARGE_BYTES
