"""A TCP proxy in front of PostgreSQL: counts what crosses the wire, and breaks it."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Self
from urllib.parse import parse_qs, urlsplit


class Proxy:
    """Forwards to the server of `url`; `url` is the same database through the proxy."""

    def __init__(self, url: str) -> None:
        split = urlsplit(url)
        self._target = f"{parse_qs(split.query)['host'][0]}/.s.PGSQL.5432"
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._flowing = threading.Event()
        self._flowing.set()
        self._refusing = False
        self.url = f"postgresql://postgres@127.0.0.1:{self._listener.getsockname()[1]}{split.path}"
        self.connections = 0
        self.round_trips = 0

    def __enter__(self) -> Self:
        self._accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join()
        self.cut()

    def cut(self) -> None:
        """Close every connection, as a restart of the server does."""
        self._flowing.set()
        while self._sockets:
            each = self._sockets.pop()
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Close every connection and each new one at once."""
        self._refusing = True
        self.cut()
        yield
        self._refusing = False

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Keep every connection open but let nothing through."""
        self._flowing.clear()
        yield
        self._flowing.set()

    def strand(self) -> None:
        """Let nothing through the connections that are open, for ever; new ones work."""
        self._flowing.clear()
        self._flowing = threading.Event()
        self._flowing.set()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self._refusing:
                    client.close()
                else:
                    self._connect(client)

    def _connect(self, client: socket.socket) -> None:
        self.connections += 1
        server = socket.socket(socket.AF_UNIX)
        self._sockets += [client, server]
        try:
            server.connect(self._target)
        except OSError:  # The server is down.
            client.close()
            server.close()
            return
        for source, destination, asks in ((client, server, True), (server, client, False)):
            arguments = (source, destination, asks, self._flowing)
            threading.Thread(target=self._forward, args=arguments, daemon=True).start()

    def _forward(
        self,
        source: socket.socket,
        destination: socket.socket,
        asks: bool,
        flowing: threading.Event,
    ) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                # psycopg waits for the answer to whatever it has sent.
                self.round_trips += asks
                flowing.wait()
                destination.sendall(data)
            destination.shutdown(socket.SHUT_WR)
