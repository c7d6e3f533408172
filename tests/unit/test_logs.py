"""What is logged, and how often."""

import json
import logging
import sys
from typing import Any

import pytest

from worker import logs
from worker.logs import Calm


def record(name: str, level: int, line: int) -> logging.LogRecord:
    """Something that was said at a line of some code."""
    return logging.LogRecord(name, level, "code.py", line, "what %s", ("happens",), None)


def test_dbos_does_not_repeat_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """While Postgres is away it would warn many times a second."""
    calm = Calm()
    said = [calm.filter(record("dbos", logging.WARNING, line)) for line in (1, 1, 2)]
    monkeypatch.setattr(logs, "PAUSE", 0.0)
    later = calm.filter(record("dbos", logging.WARNING, 1))

    assert said == [True, False, True]
    assert later


@pytest.mark.parametrize(("name", "level"), [("dbos", logging.ERROR), ("worker", logging.INFO)])
def test_nothing_else_is_left_out(name: str, level: int) -> None:
    """Neither errors nor what the worker itself has to say."""
    calm = Calm()

    assert [calm.filter(record(name, level, 1)) for _ in range(2)] == [True, True]


def test_a_line_is_json() -> None:
    """With the time in ISO 8601 and the workflow's id."""
    said = record("worker", logging.INFO, 1)
    said.workflow_id = "one"

    line = json.loads(logs._formatter(terminal=False).format(said))

    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "INFO",
        "logger": "worker",
        "message": "what happens",
        "workflow_id": "one",
    }


HOSTILE = "id\x1b[2J\x1b]0;title\x07\r\n00:00:00,000 INFO forged\x9b\u202e\u2028\ud800\t日"

ESCAPED = r"id\x1b[2J\x1b]0;title\x07\r\n00:00:00,000 INFO forged\x9b\u202e\u2028\ud800\t日"


def hostile(exc_info: Any = None) -> logging.LogRecord:
    """Something that was said of what a caller has sent."""
    said = logging.LogRecord("worker", logging.INFO, "code.py", 1, "of %s", (HOSTILE,), exc_info)
    said.workflow_id = HOSTILE
    return said


def raised() -> Any:
    """The exception of a workflow, which says what a caller has sent, and was noted."""
    try:
        error = ValueError(HOSTILE)
        error.add_note("a note\x1b\nof two lines")
        raise error
    except ValueError:
        return sys.exc_info()


def test_a_terminal_obeys_no_caller() -> None:
    """Control characters are escaped, and so is the end of a line."""
    line = logs._formatter(terminal=True).format(hostile())

    assert line.endswith(f"INFO of {ESCAPED}")
    assert line.isprintable()


def test_a_traceback_is_told_from_lines_of_the_log() -> None:
    """It is indented, and has no control characters either."""
    first, *below = logs._formatter(terminal=True).format(hostile(raised())).split("\n")

    assert first.endswith(f"INFO of {ESCAPED}")
    assert all(line.startswith("    ") and line.isprintable() for line in below)
    assert any(line.endswith("INFO forged\\x9b\\u202e\\u2028\\ud800\\t日") for line in below)


def test_a_line_of_json_is_one_line_of_ascii() -> None:
    """Whatever a caller has sent, also with a traceback."""
    line = logs._formatter(terminal=False).format(hostile(raised()))

    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["workflow_id"] == HOSTILE
