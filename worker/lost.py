"""A run that another worker has now ends here; whoever waits for its result asks the database.

DBOS would have it wait for what the other records, perhaps for days, though nobody may ask.
"""

import functools
from collections.abc import Callable
from typing import Any, NoReturn

from dbos import error as dbos_error
from dbos._outcome import DeferredResult

Persist = Callable[[Callable[[], Any]], Any]


def let_go(get_persist: Callable[..., Persist]) -> Callable[..., Persist]:
    """Make of DBOS's way to record an outcome one that does not wait for that of another run."""

    @functools.wraps(get_persist)
    def get(dbos: Any, status: Any, *release: Callable[[], None]) -> Persist:
        persist = get_persist(dbos, status, *release)
        if not release or status["status"] != "PENDING":
            return persist  # Its caller waits for the result, or it is there already.

        def persist_or_let_go(function: Callable[[], Any]) -> Any:
            outcome = persist(function)
            if not isinstance(outcome, DeferredResult):
                return outcome
            workflow_id = status["workflow_uuid"]
            if dbos._sys_db.get_workflow_status(workflow_id) is None:  # Nobody will end it.
                raise dbos_error.DBOSNonExistentWorkflowError("target", workflow_id)
            return _nothing()

        return persist_or_let_go

    return get


def _nothing() -> DeferredResult[Any]:
    def end() -> NoReturn:
        # With this, DBOS has whoever waits for the result look for it in the database.
        raise dbos_error.DBOSWorkflowCancelledError("another worker executes this workflow")

    async def end_async() -> NoReturn:
        end()

    return DeferredResult(end, end_async)
