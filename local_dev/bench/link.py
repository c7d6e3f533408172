"""One connection that crosses the proxy: what comes from a side leaves for the other one later."""

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue

Line = SimpleQueue[tuple[float, bytes]]
"""What is on its way in one direction, each with when it is due; nothing is the end."""


class Link:
    """Forwards both directions, each chunk `delay` seconds after it has come.

    Nothing leaves while `flowing` is not set. `answered` is called with each round trip: something
    from the client, however many chunks it is in, and the beginning of an answer.
    """

    def __init__(
        self,
        client: socket.socket,
        server: socket.socket,
        delay: float,
        flowing: threading.Event,
        answered: Callable[[], None],
    ) -> None:
        self._delay = delay
        self._flowing = flowing
        self._answered = answered
        self._asked = False
        self._forward(client, server, self._ask)
        self._forward(server, client, self._answer)

    def _forward(
        self, source: socket.socket, destination: socket.socket, came: Callable[[], None]
    ) -> None:
        line = Line()
        threading.Thread(target=self._read, args=(source, line, came), daemon=True).start()
        threading.Thread(target=self._write, args=(line, destination), daemon=True).start()

    def _ask(self) -> None:
        self._asked = True

    def _answer(self) -> None:
        if self._asked:
            self._asked = False
            self._answered()

    def _read(self, source: socket.socket, line: Line, came: Callable[[], None]) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                came()
                line.put((time.monotonic() + self._delay, data))
        line.put((time.monotonic() + self._delay, b""))

    def _write(self, line: Line, destination: socket.socket) -> None:
        with suppress(OSError):
            while (packet := line.get())[1]:
                due, data = packet
                time.sleep(max(0.0, due - time.monotonic()))
                self._flowing.wait()
                destination.sendall(data)
            destination.shutdown(socket.SHUT_WR)
