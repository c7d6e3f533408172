"""What the database holds in another form than portable JSON is refused, and never unpickled.

DBOS reads each value in the form that its row names, whichever serializer it was given, and a
pickle executes code when it is read. A run with such arguments ends as soon as it is claimed;
whoever reads such a value elsewhere gets an exception, and its replay the same one.
"""

import functools
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, NamedTuple, NoReturn

from dbos._serialization import DBOSPortableJSON
from sqlalchemy import text

from . import tables
from .errors import ForeignArguments, NothingIsPickled, NothingIsUnpickled
from .exceptions import stored
from .portable import PORTABLE

Function = Callable[..., Any]

REFUSE = text(tables.REFUSE)

_consuming: ContextVar[bool] = ContextVar("consuming", default=False)
"""Whether what is read is recorded as what a run was told."""


class Unread(NamedTuple):
    """A value as the database holds it, and why it is not read."""

    text: str
    serialization: str | None
    reason: Exception


def never_unpickling(_: Function) -> Function:
    """What stands in place of `DefaultSerializer.deserialize`."""

    def deserialize(*_: Any) -> NoReturn:
        raise NothingIsUnpickled

    return deserialize


def never_pickling(_: Function) -> Function:
    """What stands in place of `DefaultSerializer.serialize`."""

    def serialize(*_: Any) -> NoReturn:
        raise NothingIsPickled

    return serialize


def portable_by_default(_: Any) -> Any:
    """What stands in place of the serializer of a datasource that was given none."""
    return type(DBOSPortableJSON)()


def refused(execute_dequeued_workflow: Function) -> Function:
    """Make of DBOS's `execute_dequeued_workflow` one that ends runs with foreign arguments.

    DBOS would fail to store the error in the form that the row names, and leave the run PENDING.
    """

    @functools.wraps(execute_dequeued_workflow)
    def execute(dbos: Any, status: Any, owner_xid: str) -> Any:
        if status["serialization"] in (None, PORTABLE):
            return execute_dequeued_workflow(dbos, status, owner_xid)
        error = ForeignArguments(serialization=status["serialization"])
        parameters = {
            "workflow": status["workflow_uuid"],
            "owner": owner_xid,
            "error": stored(error).text,
        }
        with dbos._sys_db.engine.begin() as connection:
            connection.execute(REFUSE, parameters)
        raise error

    return execute


def consumed(consume: Function) -> Function:
    """Make of `recv_consume` or `get_event_consume` one that records what it does not read.

    DBOS would record nothing, and leave a message where it is: no later one could be received.
    """

    @functools.wraps(consume)
    def consume_or_raise(*args: Any, **options: Any) -> Any:
        token = _consuming.set(True)
        try:
            value = consume(*args, **options)
        finally:
            _consuming.reset(token)
        if isinstance(value, Unread):
            raise value.reason
        return value

    return consume_or_raise


def kept_unread(deserialize_value: Function) -> Function:
    """Make of `deserialize_value` one that, there, returns as `Unread` what it cannot read."""

    @functools.wraps(deserialize_value)
    def deserialize(value: Any, serialization: str | None, serializer: Any) -> Any:
        try:
            return deserialize_value(value, serialization, serializer)
        except Exception as error:
            if not _consuming.get():
                raise
            return Unread(value, serialization, error)

    return deserialize


def recorded_unread(serialize_value_as: Function) -> Function:
    """Make of `serialize_value_as` one that records what is `Unread` as it is."""

    @functools.wraps(serialize_value_as)
    def serialize(value: Any, serialization: str | None, serializer: Any) -> Any:
        if isinstance(value, Unread):
            return value.text, value.serialization
        return serialize_value_as(value, serialization, serializer)

    return serialize
