"""What is logged, and how often."""

import json
import logging

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
