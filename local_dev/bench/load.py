"""Load: clients that each send the next request as soon as the last one is answered.

The clients share the machine with what they measure, so they do as little as HTTP/1.1 allows;
an HTTP library would spend more time on a request than the functions do.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Request:
    """One request; where it goes is up to the client."""

    method: str
    path: str
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()

    def encoded(self, host: str) -> bytes:
        """The bytes on the wire."""
        headers = {"Host": host, "Content-Length": str(len(self.body)), **dict(self.headers)}
        if self.body:
            headers["Content-Type"] = "application/json"
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"{self.method} {self.path} HTTP/1.1\r\n{lines}\r\n".encode() + self.body


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    """By lowercase name."""
    body: bytes


@dataclass(frozen=True)
class Load:
    """What came of some seconds of load."""

    latencies: list[float]
    """Seconds from each request to its answer, sorted."""
    seconds: float
    statuses: Counter[int]

    @property
    def rate(self) -> float:
        """Answers per second."""
        return len(self.latencies) / self.seconds

    def percentile(self, percent: float) -> float:
        """Seconds that `percent` of the answers took at most."""
        at = min(len(self.latencies) - 1, int(len(self.latencies) * percent / 100))
        return self.latencies[at]


class Client:
    """One keep-alive connection."""

    def __init__(self, url: str) -> None:
        split = urlsplit(url)
        self._address = (split.hostname or "127.0.0.1", split.port or 80)
        self._host = split.netloc
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: Request) -> Answer:
        """Send a request and read its answer; raises OSError."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._address)
        reader, writer = self._streams
        writer.write(request.encoded(self._host))
        try:
            answer = await _read(reader)
        except asyncio.IncompleteReadError as error:
            self.close()
            raise ConnectionResetError("closed before the answer had ended") from error
        if answer.headers.get("connection") == "close":
            self.close()
        return answer

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._streams:
            self._streams[1].close()
            self._streams = None


async def _read(reader: asyncio.StreamReader) -> Answer:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    fields = [line.partition(":") for line in head[1:] if line]
    headers = {name.lower(): value.strip() for name, _, value in fields}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Answer(int(head[0].split(" ", 2)[1]), headers, body)


def ask(url: str, request: Request) -> Answer:
    """What one request is answered, on a connection of its own; it has to be a success."""

    async def asked() -> Answer:
        client = Client(url)
        answer = await client.ask(request)
        client.close()
        return answer

    answer = asyncio.run(asked())
    assert answer.status in (200, 202), answer
    return answer


async def load(url: str, request: Callable[[], Request], clients: int, seconds: float) -> Load:
    """Have some clients send requests for some seconds."""
    latencies: list[float] = []
    statuses: Counter[int] = Counter()
    begun = time.perf_counter()

    async def repeat() -> None:
        client = Client(url)
        while (sent := time.perf_counter()) < begun + seconds:
            answer = await client.ask(request())
            latencies.append(time.perf_counter() - sent)
            statuses[answer.status] += 1
        client.close()

    await asyncio.gather(*[repeat() for _ in range(clients)])
    return Load(sorted(latencies), time.perf_counter() - begun, statuses)
