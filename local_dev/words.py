"""What a process prints on stderr: passed on to that of local_dev, the end of it kept."""

import json
import os
import pty
import re
import sys
import tty
from contextlib import suppress
from threading import Thread

KEPT_BYTES = 65_536
"""How much is kept of what a process has printed last: enough for a traceback."""

SHOWN_CHARACTERS = 1_000
"""How much of a line the page shows: enough for a sentence."""

PASSING_SECONDS = 2.0
"""How long the last words of a process that has ended are waited for: a child that it has left may
keep its stderr open."""

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
"""A colour, as Python gives to the tracebacks on a terminal."""

FRAME = re.compile(r' *File "(.+)", line (\d+)')


class Words:
    """The stderr of one process, as a terminal if local_dev's own is one."""

    def __init__(self) -> None:
        terminal = os.isatty(sys.stderr.fileno())
        self._heard, self.spoken = pty.openpty() if terminal else os.pipe()
        if terminal:
            tty.setraw(self.spoken)  # The terminal behind it knows what the end of a line is.
        self._kept = b""
        self._listener = Thread(target=self._listen, daemon=True)

    def listen(self) -> None:
        """Pass on what the process says that has been given `spoken`, until it has ended."""
        os.close(self.spoken)
        self._listener.start()

    def all(self) -> str:
        """What has been said, without colours; of much, the end."""
        self._listener.join(PASSING_SECONDS)
        return ESCAPE.sub("", self._kept.decode(errors="replace"))

    def _listen(self) -> None:
        with suppress(OSError):  # So ends a terminal whose last process has gone.
            while heard := os.read(self._heard, KEPT_BYTES):
                self._kept = (self._kept + heard)[-KEPT_BYTES:]
                with suppress(OSError):  # The process goes on if nobody is there to read.
                    os.write(sys.stderr.fileno(), heard)
        os.close(self._heard)


def last_sentence(said: str) -> str:
    """The last line of what a process has said, as text for people.

    Of a line in JSON it is the message; before the last line of a traceback it is said where that
    comes from.
    """
    lines = [line.rstrip() for line in said.splitlines() if line.strip()]
    sentence = _message(lines[-1]) if lines else ""
    if len(lines) > 1 and lines[-2].startswith("  "):
        sentence = _place(lines) + sentence
    printable = "".join(each if each.isprintable() else " " for each in sentence)
    return printable[:SHOWN_CHARACTERS]


def _message(line: str) -> str:
    try:
        return str(json.loads(line)["message"])
    except (ValueError, TypeError, LookupError):
        return line


def _place(lines: list[str]) -> str:
    frames = [found.groups() for line in lines if (found := FRAME.match(line))]
    return f"{os.path.relpath(frames[-1][0])}, line {frames[-1][1]}: " if frames else ""
