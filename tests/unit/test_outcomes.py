"""What a workflow may return and raise."""

import asyncio
import json
import math
import sys
from typing import Any

import pytest
from dbos import DBOSPortableJSONSerializer
from dbos import error as dbos_error

from worker.errors import WorkflowExited
from worker.outcomes import contained, portable

SERIALIZER = DBOSPortableJSONSerializer()

serialize = portable(DBOSPortableJSONSerializer.serialize)


@pytest.mark.parametrize("value", [None, True, 1.5, ["é"], {"a": ["NaN"]}, "Infinity", "\0"])
def test_portable_values_are_stored_as_they_are(value: Any) -> None:
    """Also words that only look like numbers."""
    assert json.loads(serialize(SERIALIZER, value)) == value


ENDLESS: list[Any] = []
ENDLESS.append(ENDLESS)


@pytest.mark.parametrize(
    "value", [object(), {1: "key"}, math.nan, [math.inf], {"a": -math.inf}, ENDLESS, b"bytes"]
)
def test_other_values_are_refused(value: Any) -> None:
    """Whatever no JSON reader could read."""
    with pytest.raises((TypeError, ValueError, RecursionError)):
        serialize(SERIALIZER, value)


def test_any_string_can_be_stored() -> None:
    """Half a character becomes an escape, since UTF-8 cannot hold it."""
    text = serialize(SERIALIZER, "é \ud800")

    assert text.encode() == b'"\xc3\xa9 \\ud800"'
    assert json.loads(text) == "é \ud800"


class Unusual(BaseException):
    """Not an Exception."""


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), GeneratorExit(), Unusual()])
def test_whatever_would_end_a_thread_is_an_error_of_the_workflow(error: BaseException) -> None:
    """In sync and async workflows."""

    def workflow() -> None:
        raise error

    async def async_workflow() -> None:
        raise error

    with pytest.raises(WorkflowExited, match=f"workflow ended with {type(error).__name__}"):
        contained(workflow)()
    with pytest.raises(WorkflowExited, match=f"async_workflow ended with {type(error).__name__}"):
        asyncio.run(contained(async_workflow)())


@pytest.mark.parametrize(
    "error",
    [
        ValueError("own"),
        dbos_error.DBOSWorkflowCancelledError("cancelled"),
        asyncio.CancelledError(),
    ],
)
def test_other_errors_pass_untouched(error: BaseException) -> None:
    """The workflow's own, and those with which DBOS and asyncio stop it."""

    def workflow() -> None:
        raise error

    with pytest.raises(type(error)) as raised:
        contained(workflow)()

    assert raised.value is error


def test_a_coroutine_function_stays_one() -> None:
    """DBOS runs it on its event loop."""

    async def workflow() -> int:
        return sys.maxsize

    assert asyncio.run(contained(workflow)()) == sys.maxsize
