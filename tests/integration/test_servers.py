"""The functions behind the servers that the pages start, asked through raw sockets."""

import json
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest

from functions.protocol import HEADER_SECONDS, MAX_HEADER_BYTES, MAX_HEADERS
from local_dev.bench.processes import DEADLINE, wait_until
from tests.processes import ALL, one, serve

SETTINGS = {"AUTH": "none", "DBOS_SYSTEM_DATABASE_URL": "postgresql://x@127.0.0.1:1/x"}
"""Nothing here gets as far as to Postgres."""

SERVERS = {"uvicorn": (ALL, "/status/x"), "functions-framework": (one("status"), "/x")}
"""What serves the function `status`, and where it has the workflow `x`."""

MANY_METHODS = ["QUERY", "PROPFIND", "PURGE", "TRACE", "OPTIONS", "PUT", "POST"]

FEW = 64
"""File descriptors."""


@pytest.fixture(scope="module", params=SERVERS)
def name(request: pytest.FixtureRequest) -> str:
    """Each of the servers."""
    return str(request.param)


@pytest.fixture(scope="module")
def client(root: Path, name: str) -> Iterator[httpx2.Client]:
    """A server, which is there for all tests."""
    with serve(SERVERS[name][0], root, SETTINGS) as client:
        yield client


def connection(client: httpx2.Client, timeout: float = DEADLINE) -> socket.socket:
    """A new connection to the server of `client`."""
    address = (client.base_url.host, client.base_url.port or 0)
    return socket.create_connection(address, timeout)


def answer_to(client: httpx2.Client, request: bytes) -> bytes:
    """All that is answered until the server closes."""
    with connection(client) as made:
        made.sendall(request)
        return b"".join(iter(lambda: made.recv(65536), b""))


@pytest.mark.parametrize(
    "headers",
    [
        b"A: " + b"a" * MAX_HEADER_BYTES + b"\r\n\r\n",
        b"A: " + b"a" * 20 * MAX_HEADER_BYTES,
        b"A: a\r\n" * MAX_HEADERS + b"\r\n",
    ],
    ids=["long", "endless", "many"],
)
def test_headers_have_a_limit(client: httpx2.Client, headers: bytes) -> None:
    """431, as a problem, from each server."""
    answer = answer_to(client, b"GET / HTTP/1.1\r\nHost: x\r\n" + headers)

    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 431 ")
    assert json.loads(body)["type"] == "urn:dbos-functions:problem:headers-too-large"


@pytest.mark.parametrize("method", MANY_METHODS)
def test_every_method_that_is_read_is_refused_in_the_same_way(
    client: httpx2.Client, name: str, method: str
) -> None:
    """405, as a problem, with those that are allowed."""
    answer = client.request(method, SERVERS[name][1])

    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD")
    assert answer.json()["type"] == "urn:dbos-functions:problem:method-not-allowed"


def test_idle_connections_shut_nobody_out_for_long(root: Path, name: str) -> None:
    """More of them than there are file descriptors end, though none has sent a byte."""
    command = ("prlimit", f"--nofile={FEW}:{FEW}", *SERVERS[name][0])
    with serve(command, root, SETTINGS) as client:
        client.close()
        idle = []
        while any(is_served(client) for _ in range(5)):
            idle.append(connection(client))

        wait_until(lambda: is_served(client))
        for each in idle:
            each.close()


def is_served(client: httpx2.Client) -> bool:
    """Whether a new connection is answered, and soon."""
    with suppress(OSError), connection(client, HEADER_SECONDS / 10) as made:
        made.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        return made.recv(65536).startswith(b"HTTP/1.1 404 ")
    return False
