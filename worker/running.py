"""What each thread of this process executes, kept where its witness can read it.

Each thread writes down which workflow and which step it goes on with; a coroutine does so each
time that the event loop goes on with it.
"""

import functools
import inspect
import json
import mmap
import os
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Generator, Iterator
from pathlib import Path
from types import coroutine
from typing import Any, TypeVar, cast

from dbos import DBOS
from dbos._registrations import get_dbos_func_name

from .blocks import block
from .witness import BEATS, HEAD_BYTES, SLOT, SLOT_BYTES, SLOTS, Mark
from .wrappers import wraps

Function = TypeVar("Function", bound=Callable[..., Any])

R = TypeVar("R")

SIZE_BYTES = HEAD_BYTES + SLOTS * SLOT_BYTES


class Running:
    """The marks of all threads, and a count of the signs of life of this process."""

    def __init__(self) -> None:
        self.descriptor = _shared_memory()
        self._memory = mmap.mmap(self.descriptor, SIZE_BYTES)
        self._free = list(range(SLOTS - 1, -1, -1))
        self._own = threading.local()
        self._marks: dict[int, Mark] = {}
        self._names: dict[str, str] = {}
        self._executions: Counter[str] = Counter()
        self._counting = threading.Lock()
        self._beats = 0

    def beat(self) -> None:
        """Count one more sign of life."""
        self._beats += 1
        BEATS.pack_into(self._memory, 0, self._beats)

    def of(self, thread: int) -> Mark | None:
        """What a thread executes, by the id that the system gave to it."""
        return self._marks.get(thread)

    def workflows(self) -> set[str]:
        """The ids of the workflows that are executed, also of children that were called directly
        by their parents: DBOS does not count those as active."""
        with self._counting:
            return set(self._executions)

    def executing(self, wrap: Callable[..., Function]) -> Callable[..., Function]:
        """Mark what DBOS makes of the function of a workflow that it is about to execute."""

        @functools.wraps(wrap)
        def wrap_marked(dbos: Any, function: functools.partial[Any]) -> Function:
            return self._workflow(wrap(dbos, function), get_dbos_func_name(function.func))

        return wrap_marked

    def finishing(self, prepare: Function) -> Function:
        """Count a workflow as executed until DBOS has recorded its outcome."""

        @functools.wraps(prepare)
        def prepare_counted(dbos: Any, status: Any, *args: Any) -> Any:
            finish = prepare(dbos, status, *args)

            def finish_counted(function: Any) -> Any:
                with self._counted(status["workflow_uuid"]):
                    return finish(function)

            return finish_counted

        return cast(Function, prepare_counted)

    def beginning(self, invoke: Function) -> Function:
        """Mark each attempt at a step."""

        @functools.wraps(invoke)
        def invoke_marked(dbos: Any, context: Any, step: Any, *args: Any, **options: Any) -> Any:
            workflow_id, number = context.workflow_id, context.function_id
            name = self._names.get(workflow_id, "")
            mark = Mark(workflow_id, name, number, options["step_name"])
            return invoke(dbos, context, self._step(step, mark), *args, **options)

        return cast(Function, invoke_marked)

    def _workflow(self, function: Function, name: str) -> Function:
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def execute_async() -> Any:
                with self._named(name) as mark:
                    return await self.driven(function(), mark)

            return cast(Function, execute_async)

        @functools.wraps(function)
        def execute() -> Any:
            with self._named(name) as mark, self.marked(mark):
                return function()

        return cast(Function, execute)

    def _step(self, step: Function, mark: Mark) -> Function:
        if inspect.iscoroutinefunction(step):

            @wraps(step)
            async def execute_async(*args: Any, **kwargs: Any) -> Any:
                return await self.driven(step(*args, **kwargs), mark)

            return cast(Function, execute_async)

        @wraps(step)
        def execute(*args: Any, **kwargs: Any) -> Any:
            with self.marked(mark):
                return step(*args, **kwargs)

        return cast(Function, execute)

    @block
    def _named(self, name: str) -> Iterator[Mark]:
        """Know the name of the workflow of this context; its steps may be in other threads."""
        workflow_id = str(DBOS.workflow_id)
        self._names[workflow_id] = name
        try:
            with self._counted(workflow_id):
                yield Mark(workflow_id, name)
        finally:
            self._names.pop(workflow_id, None)

    @block
    def _counted(self, workflow_id: str) -> Iterator[None]:
        with self._counting:
            self._executions[workflow_id] += 1
        try:
            yield
        finally:
            with self._counting:
                self._executions[workflow_id] -= 1
                if not self._executions[workflow_id]:
                    del self._executions[workflow_id]

    @block
    def marked(self, mark: Mark) -> Iterator[None]:
        """This thread executes `mark` during the block, and then what it did before."""
        before: Mark | None = getattr(self._own, "mark", None)
        self._note(mark)
        try:
            yield
        finally:
            self._note(before)

    @coroutine
    def driven(self, function: Coroutine[Any, Any, R], mark: Mark) -> Generator[Any, Any, R]:
        """Await a coroutine; it is marked whenever the event loop goes on with it."""
        go_on: Callable[[Any], Any] = function.send
        value: Any = None
        while True:
            with self.marked(mark):
                try:
                    awaited = go_on(value)
                except StopIteration as stop:
                    return cast(R, stop.value)
            try:
                value, go_on = (yield awaited), function.send
            except GeneratorExit:
                function.close()
                raise
            except BaseException as error:
                value, go_on = error, function.throw

    def _note(self, mark: Mark | None) -> None:
        self._own.mark = mark
        thread = threading.get_native_id()
        if mark is None:
            self._marks.pop(thread, None)
            self._leave_slot()
        else:
            self._marks[thread] = mark
            self._write(thread, json.dumps(mark).encode())

    def _write(self, thread: int, text: bytes) -> None:
        begin, free = self._slot(), SLOT_BYTES - SLOT.size
        if begin is None or len(text) > free:
            return
        SLOT.pack_into(self._memory, begin, thread, 0)  # Nothing, until it is complete.
        self._memory[begin + SLOT.size : begin + SLOT.size + len(text)] = text
        SLOT.pack_into(self._memory, begin, thread, len(text))

    def _slot(self) -> int | None:
        """Where the slot of this thread begins; one is taken if need be."""
        slot: int | None = getattr(self._own, "slot", None)
        if slot is None and self._free:
            slot = self._own.slot = self._free.pop()
        return None if slot is None else HEAD_BYTES + slot * SLOT_BYTES

    def _leave_slot(self) -> None:
        slot: int | None = getattr(self._own, "slot", None)
        if slot is not None:
            SLOT.pack_into(self._memory, HEAD_BYTES + slot * SLOT_BYTES, 0, 0)
            self._own.slot = None
            self._free.append(slot)


def _shared_memory() -> int:
    """The descriptor of memory that another process can map."""
    if sys.platform == "linux":  # No file, as the file system may be read-only.
        descriptor = os.memfd_create("dbos-functions")
    else:
        descriptor, path = tempfile.mkstemp()
        Path(path).unlink()
    os.truncate(descriptor, SIZE_BYTES)
    return descriptor
