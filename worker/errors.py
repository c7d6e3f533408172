"""What can go wrong in the worker. A docstring is the message, filled with the attributes."""

from inspect import cleandoc
from typing import Any

import psycopg
from dbos import error as dbos_error
from sqlalchemy.exc import SQLAlchemyError

from .options import UNLOADABLE


class WorkerError(Exception):
    """The worker, or one of its workflows, cannot go on."""

    exit_code = 1

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)
        super().__init__(cleandoc(type(self).__doc__ or "").format(**attributes))


class BadSetting(WorkerError):
    """{variable} {problem}"""


class DatabaseUnreachable(WorkerError):
    """the database in DBOS_SYSTEM_DATABASE_URL cannot be reached: {reason}"""


class TransactionPooler(WorkerError):
    """DBOS_SYSTEM_DATABASE_URL leads to a pooler in transaction mode; use a direct connection"""


class DatabaseNotMigrated(WorkerError):
    """{reason}: have the owner of the database run python -m worker migrate --worker-role ROLE"""


class UnknownRole(WorkerError):
    """there is no role {role!r} in the database: create it first, with create role"""


class LeaseHeld(WorkerError):
    """another worker is running with the EXECUTOR_ID {executor_id!r}; give this one another"""


class RoleMayNot(WorkerError):
    """this role may not migrate: {reason}; where the owner has done it, set MIGRATE=false"""


class CodePlanted(WorkerError):
    """{what} may run code as this role, and is not dbos's: see who has made it, then {remedy}"""


class OtherApplication(WorkerError):
    """the database belongs to the application {other!r}, and APP_NAME is {application!r}"""


class CatalogBusy(WorkerError):
    """other workers go on publishing their catalog; look for a frozen one"""


class UnknownVersion(WorkerError):
    """no worker of version {version!r} has ever run; known versions: {known}"""


class PortInUse(WorkerError):
    """nothing can listen on HEALTH_PORT {port}: {reason}"""


class VersionAlive(WorkerError):
    """a worker of version {version!r} is alive, and executes its workflows"""


class SameVersion(WorkerError):
    """{version!r} is the current version; APP_VERSION says to which one workflows are moved"""


class DuplicateWorkflow(WorkerError):
    """two workflows are named {name!r}: {first} and {second}; give one another name="""


class BrokenModule(WorkerError):
    """{place}: {module} cannot be loaded: {reason}"""


class BadDeclaration(WorkerError):
    """{place}: @workflow {problem}"""


class UnloadableWorkflows(WorkerError):
    """{reason}"""

    exit_code = UNLOADABLE


class UndeclaredQueue(WorkerError):
    """{function}: the queue {queue!r} is not declared in worker/queues.py, as are {known}"""


class InexpressibleArgument(WorkerError):
    """{function}: the parameter {parameter!r} cannot be launched over HTTP: {reason}"""


class InexpressibleResult(WorkerError):
    """{function}: its return type has no JSON Schema: {reason}"""


class InexpressibleSignal(WorkerError):
    """{function}: its signal '{topic}' cannot be published: {reason}"""


class NotAtTheTop(WorkerError):
    """{function}: a workflow that can be launched is a function at the top of its module"""


class WorkflowInStep(WorkerError):
    """{place}: a step cannot call, start or enqueue a workflow; do it outside of the step"""


class UnknownQueue(WorkerError):
    """{place}: the queue {queue!r} does not exist; worker/queues.py declares {known}"""


class InvalidArguments(WorkerError):
    """{function} was called with wrong arguments: {problem}"""


class WorkflowExited(WorkerError):
    """{function} ended with {error}; a workflow returns or raises an Exception"""


class ValueLost(WorkerError):
    """{what} {problem}: {remedy}"""

    remedy: str


class ValueUnwritten(ValueLost):
    # The problem is in the words of the value's own type, so callers do not read them.
    """{what} {problem}: {remedy}"""


class NothingIsUnpickled(WorkerError):
    """a value that is stored as 'py_pickle' is not read; only portable JSON is"""


class NothingIsPickled(WorkerError):
    """nothing is stored as 'py_pickle'; portable JSON is, so give no other serialization"""


class ForeignArguments(WorkerError):
    """the arguments are stored as {serialization!r} and not read; only portable JSON is"""


class ValueTooLarge(WorkerError):
    """{what} is {size} bytes of JSON, and {setting} allows {limit}: keep it elsewhere"""


class UnfitSignal(WorkerError):
    """the signal {topic!r} does not fit its declared type: {reason}"""


EXPECTED = (WorkerError, dbos_error.DBOSException, psycopg.Error, SQLAlchemyError)
"""What ends a worker with a sentence instead of a traceback."""


def sentence(error: BaseException) -> str:
    """What an error has to say, without the statement that a database error comes with."""
    reason = getattr(error, "orig", None) or error
    if isinstance(reason, psycopg.Error):
        return str(reason).partition("\n")[0]
    return str(reason)
