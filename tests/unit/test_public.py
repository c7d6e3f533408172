"""Which exceptions callers may read."""

import json
from itertools import count
from typing import Any

import pytest
from dbos import PortableWorkflowError
from dbos import error as dbos_error
from pydantic import BaseModel, TypeAdapter, ValidationError, field_validator

from worker import PublicError
from worker.errors import InvalidArguments, ValueLost, WorkerError, WorkflowExited
from worker.exceptions import LARGEST_CAUSE_CHARACTERS, replayed, stored
from worker.public import is_public
from worker.signatures import arguments_validator
from worker.values import Form, jsonable

SECRET = "insert into card values ('4111')"


class Declined(PublicError):
    def __init__(self, reason: str, *, card: str) -> None:
        super().__init__(f"declined: {reason}")
        self.card = card


class OfUser(WorkerError):
    """{secret}"""


class Strict(BaseModel):
    card: str

    @field_validator("card")
    @classmethod
    def refuse(cls, card: str) -> str:
        """Say what a caller must not read."""
        raise ValueError(SECRET)


def raised(function: Any, *args: Any) -> Exception:
    """What a function raises."""
    with pytest.raises(Exception) as caught:
        function(*args)
    return caught.value


def counted(number: int) -> None:
    """Nothing."""


def retried(last: Exception) -> Exception:
    """A step was retried in vain."""
    return dbos_error.DBOSMaxStepRetriesExceeded("pay", 2, [KeyError(1), last])


def imitated() -> Exception:
    """An error that begins as one of a value that is no JSON does, and goes on as it likes."""
    error = TypeError(f"is not portable JSON {SECRET}")
    error.__cause__ = ValueLost(what="a", problem="b", remedy="c")
    return error


@pytest.mark.parametrize(
    "error",
    [
        PublicError("said"),
        Declined("stolen", card=SECRET),
        raised(arguments_validator(counted), ("one",), {}),
        raised(arguments_validator(counted), (), {}),
        WorkflowExited(function="pay", error="SystemExit"),
        raised(jsonable, object(), "the result"),
        raised(jsonable, float("nan"), "the result"),
        raised(Form(int, "the hint").dump, "one", "the result"),
        retried(OSError(SECRET)),
        dbos_error.DBOSStepTimeoutError("pay", 1.0),
        dbos_error.DBOSAwaitedWorkflowCancelledError("id"),
    ],
    ids=count(),
)
def test_what_is_written_for_callers_is_marked(error: Exception) -> None:
    """Also in a replay."""
    written = stored(error).text

    assert is_public(error)
    assert json.loads(written)["public"] is True
    assert is_public(replayed(json.loads(written)))


@pytest.mark.parametrize(
    "error",
    [
        OSError(SECRET),
        raised(TypeAdapter(int).validate_python, SECRET),
        raised(Form(Strict, "the hint").dump, Strict.model_construct(card="1"), "the result"),
        OfUser(secret=SECRET),
        imitated(),
        ExceptionGroup("both", [PublicError("said"), OSError(SECRET)]),
        PortableWorkflowError(SECRET, "PublicError", None, {"public": True}),
        dbos_error.DBOSQueueDeduplicatedError("id", "queue", SECRET),
        dbos_error.DBOSNotAuthorizedError(SECRET),
        dbos_error.DBOSException(SECRET),
    ],
    ids=count(),
)
def test_everything_else_is_not_marked(error: Exception) -> None:
    """Nor what stands for it in a replay."""
    record = json.loads(stored(error).text)

    assert not is_public(error)
    assert "public" not in record
    assert not is_public(replayed(record))


def test_the_arguments_that_a_caller_sent_are_public_and_others_are_not() -> None:
    """Pydantic's own error may be of anything."""
    error = raised(arguments_validator(counted), (SECRET,), {})

    assert isinstance(error, InvalidArguments)
    assert isinstance(error.__cause__, ValidationError)
    assert (is_public(error), is_public(error.__cause__)) == (True, False)


def test_a_public_error_replays_with_its_attributes() -> None:
    """The mark changes nothing of what a workflow catches."""
    error = Declined("stolen", card=SECRET)

    first = stored(error)
    later = replayed(json.loads(first.text))

    assert first.replayed is error
    assert (type(later), str(later), vars(later)) == (Declined, str(error), vars(error))


@pytest.mark.parametrize(
    ("last", "cause"),
    [
        (OSError("cut"), {"name": "OSError", "message": "cut"}),
        (Declined("stolen", card=SECRET), {"name": "Declined", "message": "declined: stolen"}),
        (OSError("x" * 50_000), {"name": "OSError", "message": "x" * LARGEST_CAUSE_CHARACTERS}),
    ],
    ids=count(),
)
def test_a_step_that_was_retried_in_vain_tells_why(last: Exception, cause: dict[str, Any]) -> None:
    """How often it was tried, and the last cause with a mark of its own; as itself in a replay."""
    error = retried(last)

    first = stored(error)
    record = json.loads(first.text)

    assert first.replayed is error
    assert record["attempts"] == 2
    mark = {"public": True} if isinstance(last, PublicError) else {}
    assert record["cause"] == cause | mark


@pytest.mark.parametrize("errors", [[], None, ["text"], "text"], ids=count())
def test_retries_without_a_cause_tell_none(errors: Any) -> None:
    """Code may build what it likes of DBOS's class."""
    record = json.loads(stored(dbos_error.DBOSMaxStepRetriesExceeded("pay", 2, errors)).text)

    assert "cause" not in record
