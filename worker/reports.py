"""What callers may not read of an exception is logged under the reference that they get instead.

A reference is the id of a workflow and the number of the step that has failed; where none has, as
in the code between the steps, it is the id alone. It is logged where the exception is stored, since
only there it is known which step stores it.
"""

import functools
import json
import logging
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

from dbos._sys_db import SystemDatabase
from sqlalchemy.exc import SQLAlchemyError

from . import tables
from .blocks import block
from .exceptions import last_cause
from .public import is_public
from .replay import place_of_result

Function = Callable[..., Any]

LARGEST_ERROR_BYTES = 1_000_000
"""Size of the largest error of a step that is compared with that of its workflow; what is stored of
an exception is smaller."""

MOST_STEPS = 10
"""How many of the steps that failed last are compared with the error of their workflow."""

logger = logging.getLogger("worker")


class Unreported:
    """The exception that was stored last, until it is known where."""

    def __init__(self, text: str, error: Exception) -> None:
        self.text = text
        self.error: Exception | None = error

    def take(self, text: str | None) -> Exception | None:
        """The exception, once, if this is what was stored of it; it holds the frames that it has
        passed."""
        error, self.error = self.error, None
        return error if text == self.text else None


_UNREPORTED: ContextVar[Unreported | None] = ContextVar("unreported", default=None)
"""Where it is stored in a thread for an async run, a copy of the context leads to the same."""


def note(text: str, error: Exception) -> None:
    """Note what was made of an exception, which is about to be stored."""
    _UNREPORTED.set(Unreported(text, error))


def of_steps(record: Function) -> Function:
    """Make of DBOS's `record_operation_result` one that reports the error of a step."""

    @functools.wraps(record)
    def record_operation_result(
        database: SystemDatabase, result: Any, *args: Any, **more: Any
    ) -> None:
        reference = f"{result['workflow_uuid']}/{result['function_id']}"
        with _reported(reference, f"step {result['function_name']!r}", result["error"]):
            record(database, result, *args, **more)

    return record_operation_result


def of_results(record: Function) -> Function:
    """Make of DBOS's `record_get_result` one that reports the error of a child to its parent."""

    @functools.wraps(record)
    def record_get_result(
        database: SystemDatabase,
        result_workflow_id: str,
        output: str | None,
        error: str | None,
        serialization: str | None,
        ctx: Any = None,
        **more: Any,
    ) -> None:
        place = place_of_result(ctx)
        reference = f"{place[0]}/{place[1]}" if place else None
        with _reported(reference, f"the child {result_workflow_id!r}", error):
            record(database, result_workflow_id, output, error, serialization, ctx, **more)

    return record_get_result


def of_workflows(update: Function) -> Function:
    """Make of DBOS's `update_workflow_outcome` one that stores beside the error of a workflow which
    step has raised it, or reports the error if none has."""

    @functools.wraps(update)
    def update_workflow_outcome(
        database: SystemDatabase,
        workflow_id: str,
        status: str,
        *,
        error: str | None = None,
        **more: Any,
    ) -> bool:
        step = None if error is None else failed_step(database, workflow_id, error)
        stored = error
        if error is not None and step is not None:
            stored = json.dumps(json.loads(error) | {"step": step})
        with _reported(workflow_id if step is None else None, "the workflow", error) as outcome:
            outcome.append(update(database, workflow_id, status, error=stored, **more))
        return outcome[0]

    return update_workflow_outcome


def failed_step(database: SystemDatabase, workflow_id: str, error: str) -> int | None:
    """The number of the last step that has raised the error of its workflow, if one has."""
    if (raised := _raised(error)) is None:
        return None
    parameters = {"workflow": workflow_id, "bytes": LARGEST_ERROR_BYTES, "steps": MOST_STEPS}
    try:
        with database.engine.connect() as connection:
            failed = connection.exec_driver_sql(tables.FAILED_STEPS, parameters).all()
    except SQLAlchemyError:  # DBOS tries again to store the error; without the step it is stored.
        return None
    found = (row.function_id for row in failed if _raised(row.error) == raised)
    return next(found, None)


def _raised(text: str) -> tuple[Any, Any] | None:
    """Name and message of what is stored as portable JSON; None for anything else."""
    try:
        record = json.loads(text)
        return record["name"], record["message"]
    except (ValueError, TypeError, LookupError, RecursionError):
        return None


@block
def _reported(reference: str | None, what: str, text: str | None) -> Iterator[list[bool]]:
    """Log what was noted as soon as it has been stored; without a reference it is logged elsewhere,
    and the outcome False says that it was not stored."""
    unreported, outcome = _UNREPORTED.get(), list[bool]()
    error = unreported.take(text) if unreported else None
    yield outcome
    if error is not None and reference is not None and all(outcome):
        _report(error, reference, what)


def _report(error: BaseException, reference: str, what: str) -> None:
    if last := last_cause(error):
        error, what = last, f"{what}, retried in vain,"
    if not is_public(error):
        name = type(error).__name__
        logger.error("%s failed with %s, reference %r", what, name, reference, exc_info=error)
