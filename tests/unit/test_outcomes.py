"""What a workflow may return and raise."""

import asyncio
import datetime
import math
import sys
from typing import Any

import pytest
from dbos import PortableWorkflowError

from worker.errors import NotPortable, WorkflowExited
from worker.outcomes import portable


@pytest.mark.parametrize(
    "result", [None, True, 1, 1.5, "text", ["é"], {"a": [1]}, datetime.date(2026, 1, 1)]
)
def test_portable_results_pass(result: Any) -> None:
    """JSON values, and the few types that DBOS turns into JSON itself."""
    assert portable(lambda: result)() == result


ENDLESS: list[Any] = []
ENDLESS.append(ENDLESS)


@pytest.mark.parametrize(
    "result", [object(), {1: "key"}, math.nan, [math.inf], "\ud800", ENDLESS, b"bytes"]
)
def test_other_results_are_an_error_that_names_the_workflow(result: Any) -> None:
    """Whatever no JSON reader could read."""

    def workflow() -> Any:
        return result

    with pytest.raises(NotPortable, match="workflow returned what is not portable JSON: "):
        portable(workflow)()


def test_an_async_workflow_is_checked_too() -> None:
    """And it stays a coroutine function, as DBOS needs it."""

    async def workflow() -> float:
        return math.nan

    with pytest.raises(NotPortable):
        asyncio.run(portable(workflow)())


def test_exit_is_an_error_of_the_workflow() -> None:
    """It must not end the thread without an outcome."""

    def workflow() -> None:
        sys.exit("bye")

    with pytest.raises(WorkflowExited, match=r"workflow called sys.exit\(\)"):
        portable(workflow)()


def test_an_error_that_utf8_cannot_hold_is_escaped() -> None:
    """Postgres could not store it as it is."""

    def workflow() -> None:
        raise ValueError("half a character: \ud800")

    with pytest.raises(PortableWorkflowError, match=r"half a character: \\ud800") as raised:
        portable(workflow)()

    assert raised.value.name == "ValueError"


def test_other_errors_pass_untouched() -> None:
    """The workflow's own error is what its caller sees."""
    error = ValueError("wrong")

    def workflow() -> None:
        raise error

    with pytest.raises(ValueError, match="wrong") as raised:
        portable(workflow)()

    assert raised.value is error
