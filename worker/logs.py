"""Logs: for people on a terminal, JSON lines everywhere else."""

import logging
import math
import sys
import time

from dbos import DBOS
from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

from .turns import FairPool

PAUSE = 10.0
"""Seconds that DBOS does not repeat itself."""

DBOS_ATTRIBUTES = (
    "applicationID",
    "applicationVersion",
    "executorID",
    "operationUUID",
    "traceId",
)


def configure_logging() -> None:
    """One format for every logger; without a handler of its own DBOS would add another."""
    handler = logging.StreamHandler()
    handler.setFormatter(_formatter(terminal=sys.stderr.isatty()))
    handler.addFilter(Calm())
    handler.addFilter(_tell_workflow)
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.captureWarnings(True)
    # SQLAlchemy's own loggers begin at WARNING; that of the pool has the name of its class here.
    logging.getLogger(FairPool.__module__).setLevel(logging.WARNING)
    dbos = logging.getLogger("dbos")
    dbos.addHandler(logging.NullHandler())
    dbos.setLevel(logging.WARNING)  # Until the worker has started: it would log every migration.


def _formatter(*, terminal: bool) -> logging.Formatter:
    if terminal:
        return Printable("%(asctime)s %(levelname)s %(message)s")
    return JsonFormatter(
        ["levelname", "name", "message", "workflow_id"],
        rename_fields={"levelname": "level", "name": "logger"},
        reserved_attrs=[*RESERVED_ATTRS, *DBOS_ATTRIBUTES],
        timestamp="time",
    )


class Printable(logging.Formatter):
    """Escapes what a terminal would obey or hide: ids, topics and values come from callers.

    A message is one line, so that nobody can write a line of their own into the log; the lines of
    a traceback are indented for the same reason.
    """

    def format(self, record: logging.LogRecord) -> str:
        """One line, and below it the traceback, if there is one."""
        lines = super().format(record).split("\n")
        told = record.getMessage().count("\n") + 1
        below = [f"    {printable(line)}" for line in lines[told:]]
        return "\n".join([printable("\n".join(lines[:told])), *below])


def printable(text: str) -> str:
    """The text with escapes, as Python writes them, for what is not printable."""
    return "".join(each if each.isprintable() else _escaped(each) for each in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


class Calm(logging.Filter):
    """Lets DBOS say the same thing again only after PAUSE seconds; what a workflow has to say is
    never left out. It warns many times a second while Postgres is away."""

    def __init__(self) -> None:
        super().__init__()
        self._said_at: dict[tuple[str | None, str, int], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is to be logged."""
        if record.name != "dbos" or record.levelno > logging.WARNING or DBOS.workflow_id:
            return True
        place, now = (record.threadName, record.pathname, record.lineno), time.monotonic()
        new = now - self._said_at.get(place, -math.inf) >= PAUSE
        if new:
            self._said_at[place] = now
        return new


def _tell_workflow(record: logging.LogRecord) -> bool:
    """Add the id of the workflow that logs, or null."""
    record.workflow_id = DBOS.workflow_id
    return True
