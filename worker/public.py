"""Which exceptions callers may read. Of all others they get the name and a reference."""

from dbos import error as dbos_error

from . import errors
from .errors import ValueLost, ValueUnwritten, WorkerError
from .values import NOT_JSON


class PublicError(Exception):
    """An exception whose message is written for whoever launches the workflow.

    Callers read the message of a subclass as it is; not what it was raised from, nor its notes.
    """


OF_DBOS = (
    dbos_error.DBOSAwaitedWorkflowCancelledError,
    dbos_error.DBOSAwaitedWorkflowMaxRecoveryAttemptsExceeded,
    dbos_error.DBOSMaxStepRetriesExceeded,
    dbos_error.DBOSStepNondeterminismError,
    dbos_error.DBOSStepTimeoutError,
    dbos_error.DBOSUnexpectedStepError,
    dbos_error.MaxRecoveryAttemptsExceededError,
)
"""Errors of DBOS whose messages hold names of steps, ids of workflows and numbers. Those of the
others hold what code has passed to DBOS, such as deduplication ids and keys."""


def is_public(error: BaseException) -> bool:
    """Whether callers may read the message of an exception."""
    kind = type(error)
    if issubclass(kind, WorkerError):
        return kind.__module__ == errors.__name__ and not issubclass(kind, ValueUnwritten)
    return issubclass(kind, PublicError) or kind in OF_DBOS or _is_not_json(error)


def _is_not_json(error: BaseException) -> bool:
    """Whether `values` has refused a value with an error that begins as DBOS's own does."""
    if type(error) not in NOT_JSON or type(error.__cause__) is not ValueLost:
        return False
    told = str(error)
    return "portable JSON" in told and told.endswith(f"; {error.__cause__.remedy}")
