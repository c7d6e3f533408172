"""A run that waits ends when it is cancelled, and not when its wait would.

DBOS looks whether a run is cancelled before and after a wait, which may take days. Meanwhile the
run holds its place in its queue, and a sync one its thread. So whatever waits for a run is known
here, and Postgres is asked, once for all, which of these runs their executions have no longer:
those that are cancelled, taken over or deleted. Only then their waits end, with what DBOS raises at
the next step. Nothing is recorded of such a wait: a run that is resumed waits again, until the same
time.

A run may also wait in a child that it has called directly, and that is not cancelled. Then both
executions end, and the child has stopped without an end: it is enqueued again (`orphans`), and goes
on by itself.
"""

import functools
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from dbos import error as dbos_error
from dbos._utils import LoopAwareEvent
from sqlalchemy import Engine

from . import tables
from .blocks import block, within
from .waiters import Run, callers, executed, waited_for

LOOK_SECONDS = 0.75
"""From one look to the next while anything waits, so that what is cancelled ends within a second.
Nothing is looked for while nothing waits."""

logger = logging.getLogger("worker")


class Ending:
    """A wait that can be ended by an error, which is raised in who waits."""

    error: BaseException | None = None

    def end(self, error: BaseException) -> None:
        """Have who waits raise an error, unless it raises one already."""
        self.error = self.error or error
        self.set()

    def set(self) -> None:
        """Have who waits go on."""
        raise NotImplementedError


class CallerLost(dbos_error.DBOSBaseException):
    """Ends the execution of a child, and of those between, whose caller was lost."""

    def __init__(self, caller: Run, error: BaseException) -> None:
        self.caller, self.error = caller, error
        super().__init__(str(error))


class Called(NamedTuple):
    """A wait that ends with a caller of the run that waits."""

    caller: Run
    ending: Ending

    def end(self, error: BaseException) -> None:
        """Have who waits raise what no execution takes for its own end, but that of the caller."""
        self.ending.end(CallerLost(self.caller, error))


def caller_ended(make: Callable[..., Any]) -> Callable[..., Any]:
    """Make of DBOS's way to record an outcome one that tells a caller why it ends."""

    @functools.wraps(make)
    def get_workflow_invocation(dbos: Any, status: Any, *args: Any, **more: Any) -> Any:
        invoke = make(dbos, status, *args, **more)
        told = functools.partial(_told, status["workflow_uuid"])
        return lambda function: invoke(within(told, function))

    return get_workflow_invocation


@block
def _told(workflow_id: str) -> Iterator[None]:
    try:
        yield
    except CallerLost as lost:
        if lost.caller.workflow_id == workflow_id:
            raise lost.error from None
        raise


class Cancellations:
    """Ends the waits of the runs that this process has no longer."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._changed = threading.Condition()
        self._waits: defaultdict[Run, set[Ending | Called]] = defaultdict(set)

    def start(self) -> None:
        """Look in a thread from now on, as long as anything waits."""
        threading.Thread(target=self._keep_looking, name="cancellations", daemon=True).start()

    def events(self, event: type[LoopAwareEvent]) -> type[LoopAwareEvent]:
        """Make of what DBOS waits for, in threads and on its event loop, something that ends."""
        watched = self._watched

        class Event(event, Ending):  # type: ignore[misc, valid-type]
            def wait(self, timeout: float | None = None) -> bool:
                with watched(self):
                    return bool(super().wait(timeout))

            async def wait_async(self, timeout: float) -> bool:
                with watched(self):
                    return bool(await super().wait_async(timeout))

        return Event

    @contextmanager
    def _watched(self, ending: Ending) -> Iterator[None]:
        """End what waits in this block when the run is lost for which it waits."""
        run = waited_for() or executed()
        if run is None:
            yield
            return
        endings = {run: ending} | {each: Called(each, ending) for each in callers()}
        with self._changed:
            for each, its_ending in endings.items():
                self._waits[each].add(its_ending)
            self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                for each, its_ending in endings.items():
                    self._waits[each].discard(its_ending)
                    if not self._waits[each]:
                        del self._waits[each]
        if ending.error:
            raise ending.error

    def _keep_looking(self) -> None:
        failing = False
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waits)
            time.sleep(LOOK_SECONDS)
            try:
                self._look()
                failing = False
            except Exception as error:  # Without looks, cancelled runs would keep their threads.
                if not failing:
                    logger.warning("cannot look who is cancelled: %s", type(error).__name__)
                failing = True

    def _look(self) -> None:
        """End what waits for a run that its execution has no longer."""
        with self._changed:
            # What begins to wait later may do so for a run that was resumed meanwhile.
            waits = {run: [*endings] for run, endings in self._waits.items()}
        runs = list(waits)
        ends = [
            (ending, _error(runs[number - 1].workflow_id, cancelled=cancelled))
            for number, cancelled in self._lost(runs)
            for ending in waits[runs[number - 1]]
        ]
        # A child that is cancelled with its caller ends as one that is cancelled.
        for ending, error in sorted(ends, key=lambda each: isinstance(each[0], Called)):
            ending.end(error)

    def _lost(self, runs: list[Run]) -> Iterable[Any]:
        if not runs:
            return []
        parameters = {
            "runs": [run.workflow_id for run in runs],
            "owners": [run.owner and str(run.owner) for run in runs],
        }
        with self._engine.connect() as connection:
            return connection.execute(tables.LOST, parameters).all()


def _error(workflow_id: str, *, cancelled: bool) -> BaseException:
    """What DBOS raises when such a run begins something, or would record it."""
    if cancelled:
        return dbos_error.DBOSWorkflowCancelledError(f"Workflow {workflow_id} is cancelled.")
    return dbos_error.DBOSWorkflowConflictIDError(workflow_id)
