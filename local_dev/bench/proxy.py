"""A TCP proxy in front of PostgreSQL: counts what crosses the wire, delays it, and breaks it.

`python -m local_dev.bench.proxy URL --port N` is one in a process of its own.
"""

import argparse
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Self
from urllib.parse import parse_qs, urlsplit

from .link import Link


class Proxy:
    """Forwards to the server of `url`; `url` is the same database through the proxy.

    Whatever crosses it does so `delay` seconds later, in each direction.
    """

    def __init__(self, url: str, port: int = 0, delay: float = 0.0) -> None:
        self._target = f"{parse_qs(urlsplit(url).query)['host'][0]}/.s.PGSQL.5432"
        self._listener = socket.create_server(("127.0.0.1", port))
        self._delay = delay
        self._sockets: list[socket.socket] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._flowing = threading.Event()
        self._flowing.set()
        self._refusing = False
        self.url = behind(self._listener.getsockname()[1], url)
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
        Link(client, server, self._delay, self._flowing, self._count)

    def _count(self) -> None:
        self.round_trips += 1


def behind(port: int, url: str) -> str:
    """The URL of the same database for those who reach it at a port of 127.0.0.1."""
    return f"postgresql://postgres@127.0.0.1:{port}{urlsplit(url).path}"


def main() -> None:
    """Forward until it is killed."""
    parser = argparse.ArgumentParser(prog="python -m local_dev.bench.proxy", description=__doc__)
    parser.add_argument("url", help="of the database")
    parser.add_argument("--port", type=int, required=True, help="of 127.0.0.1 to listen on")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds in each direction")
    options = parser.parse_args()
    with Proxy(options.url, options.port, options.delay):
        threading.Event().wait()


if __name__ == "__main__":
    main()
