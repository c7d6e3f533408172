"""Calls of workflows that DBOS takes and that cannot go well: from a step, or to no queue."""

import functools
from collections.abc import Callable
from typing import Any

from dbos import DBOS
from dbos._context import DBOSContext
from dbos._sys_db import SystemDatabase, db_retry
from sqlalchemy import select

from . import places
from .children import executed
from .errors import UnknownQueue, WorkflowInStep
from .queues import INTERNAL, QUEUES, names_of_queues

Function = Callable[..., Any]

CALLED_AT = "called_at"
"""Where the context of a workflow that is started keeps the line that did it."""


def outside_of_steps(create_child: Function) -> Function:
    """Make of `create_start_workflow_child` one that raises WorkflowInStep, and notes who calls."""

    @functools.wraps(create_child)
    def create(context: DBOSContext | None) -> DBOSContext:
        place = _place()
        if context is not None and context.is_within_workflow() and context.is_step():
            raise WorkflowInStep(place=place)
        child: DBOSContext = create_child(context)
        setattr(child, CALLED_AT, place)  # A thread may do the rest, whose stack does not tell.
        return child

    return create


def initialized(init_workflow: Function) -> Function:
    """Make of `_init_workflow` one that raises UnknownQueue instead of leaving a run there."""

    @functools.wraps(init_workflow)
    def init(dbos: DBOS, context: DBOSContext, **options: Any) -> Any:
        _check(dbos, context, options["queue"])
        return init_workflow(dbos, context, **options)

    return init


def persisted(persist_enqueue: Function) -> Function:
    """Make of `_persist_enqueue_with_options` one that raises UnknownQueue."""

    @functools.wraps(persist_enqueue)
    def persist(dbos: DBOS, context: DBOSContext, status: Any, options: Any) -> Any:
        _check(dbos, context, status["queue_name"])
        return persist_enqueue(dbos, context, status, options)

    return persist


def _check(dbos: DBOS, context: DBOSContext, queue: str | None) -> None:
    declared = {INTERNAL, *(each.name for each in QUEUES), *dbos._registry.internal_queue_map}
    if queue is None or queue in declared or _is_registered(dbos._sys_db, queue):
        return
    place = getattr(context, CALLED_AT, None) or _place()
    raise UnknownQueue(place=place, queue=queue, known=names_of_queues())


@db_retry()
def _is_registered(system_database: SystemDatabase, queue: str) -> bool:
    """Whether the code of this application, or another, has registered the queue by itself."""
    name = system_database.tables.queues.c.name
    with system_database.engine.connect() as connection:
        return connection.execute(select(name).where(name == queue)).first() is not None


def _place() -> str:
    """The line that calls; in a task of its own, where the workflow begins."""
    function = executed.get()
    return places.of_call() or (places.of_function(function) if function else "outside")
