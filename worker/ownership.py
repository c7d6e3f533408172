"""Which execution may begin a step: the one that its workflow belongs to.

DBOS refuses what an execution records once another has its workflow, but lets it begin a step
first. So before each step, and each further attempt at one, an execution makes sure that nobody
else can have its workflow: the lease of this process is held, and was not lost since the workflow
was claimed. If it was lost, the row says who owns the workflow, once it is held again.
"""

import asyncio
import functools
import inspect
import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

from dbos import error as dbos_error

from .lease import Lease
from .wrappers import wraps

PAUSE_SECONDS = 0.25
"""Between two looks whether the lease is back; taking it back takes about as long."""

NO_SESSION = -1
"""For an owner of which nobody knows since which session of the lease there is one."""

Function = TypeVar("Function", bound=Callable[..., Any])

OwnerOf = Callable[[str], str | None]
"""Reads who owns a workflow; None if nobody does."""


class Owner(str):
    """What DBOS writes to rows to own them (`owner_xid`), with the session of the lease in which
    it began to do so, and, for workflows that were asked for later, the last session since when
    they are certain to be owned."""

    session: int
    sessions: dict[str, int]

    def __new__(cls, owner: str, session: int) -> "Owner":
        """An owner that is not written to any row yet."""
        new = super().__new__(cls, owner)
        new.session, new.sessions = session, {}
        return new


class Ownership:
    """Lets executions of this process begin steps as long as they own their workflows."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease

    def claiming(self, generate: Callable[[], str]) -> Callable[[], Owner]:
        """Make of what generates the owner of the next claim one that remembers the session."""

        def generate_owner() -> Owner:
            return Owner(generate(), self._lease.session)

        return generate_owner

    def starting(self, init: Function) -> Function:
        """Do the same for what begins a workflow without a claim, as a child."""

        @functools.wraps(init)
        def init_owned(dbos: Any, context: Any, **options: Any) -> Any:
            session = self._lease.session
            begun = init(dbos, context, **options)
            if context.owner_xid is not None:
                context.owner_xid = Owner(context.owner_xid, session)
            return begun

        return cast(Function, init_owned)

    def beginning(self, invoke: Function) -> Function:
        """Guard each attempt at a step."""

        @functools.wraps(invoke)
        def invoke_owned(dbos: Any, context: Any, step: Any, *args: Any, **options: Any) -> Any:
            begin = self.guard(step, context, dbos._sys_db.get_workflow_owner)
            return invoke(dbos, context, begin, *args, **options)

        return cast(Function, invoke_owned)

    def calling(self, call: Function) -> Function:
        """Guard what DBOS does as a step, such as to cancel another workflow."""

        @functools.wraps(call)
        def call_owned(database: Any, function: Any, name: str, context: Any) -> Any:
            begin = self.guard(function, context, database.get_workflow_owner)
            return call(database, begin, name, context)

        return cast(Function, call_owned)

    def guard(self, function: Function, context: Any, owner_of: OwnerOf) -> Function:
        """Wrap what begins a step of the workflow of a context so that only its owner begins it.

        It waits while the lease is not held, and raises DBOSWorkflowConflictIDError, with which
        DBOS waits for the result of the other execution, if that has taken the workflow over.
        """
        if context is None or context.owner_xid is None:
            return function  # Called by no workflow: there is no step.
        workflow, owner = context.workflow_id, context.owner_xid
        if not isinstance(owner, Owner):
            owner = Owner(owner, NO_SESSION)
        ask = functools.partial(self._ask, workflow, owner, owner_of)
        if inspect.iscoroutinefunction(function):

            @wraps(function)
            async def begin_async(*args: Any, **kwargs: Any) -> Any:
                while not self._owns(workflow, owner):
                    if not await asyncio.to_thread(ask):
                        await asyncio.sleep(PAUSE_SECONDS)
                return await function(*args, **kwargs)

            return cast(Function, begin_async)

        @wraps(function)
        def begin(*args: Any, **kwargs: Any) -> Any:
            while not self._owns(workflow, owner):
                if not ask():
                    time.sleep(PAUSE_SECONDS)
            return function(*args, **kwargs)

        return cast(Function, begin)

    def _owns(self, workflow: str, owner: Owner) -> bool:
        return self._lease.held_since(owner.sessions.get(workflow, owner.session))

    def _ask(self, workflow: str, owner: Owner, owner_of: OwnerOf) -> bool:
        """Have the row say who owns a workflow; returns False while there is no lease.

        Nobody can take the workflow over between the answer and the next loss of the lease.
        """
        if not self._lease.held:
            return False
        session = self._lease.session
        if owner_of(workflow) != owner:
            raise dbos_error.DBOSWorkflowConflictIDError(workflow)
        owner.sessions[workflow] = session
        return True
