"""What workflows are given and give back, the first time and after a takeover.

A workflow that is called or started directly is given Python objects, and its caller gets one;
one that was taken over, or has waited in a queue, gets what JSON has made of them. Here all of
them are read from the JSON that is stored, by the hints of the function.
"""

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, NamedTuple, cast

from dbos import DBOS, WorkflowSerializationFormat, _dbos
from dbos._context import assert_current_dbos_context
from dbos._outcome import DeferredResult, NoResult
from dbos._registrations import DBOSFuncType, get_func_info
from dbos._sys_db import SystemDatabase, db_retry
from dbos._utils import GlobalParams
from sqlalchemy import select

from .blocks import block
from .limits import limits_of
from .portable import is_portable
from .statuses import recorded, restored
from .steps import stores_portable_json
from .values import Form, form_of_result, hinted, jsonable

Function = Callable[..., Any]

GIVEN = "given"
"""Where the context of a workflow that begins keeps its arguments as they were stored."""

executed: ContextVar[Function | None] = ContextVar("executed", default=None)
"""The function of the workflow that is being executed."""

as_stored: ContextVar[bool] = ContextVar("as_stored", default=False)
"""Whether results of workflows are wanted as they are stored."""


class Given(NamedTuple):
    """Arguments by position and by name."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Forms:
    """The forms of what a workflow is given, and of its result."""

    def __init__(self, function: Function) -> None:
        parameters = list(inspect.signature(function).parameters.values())
        info = get_func_info(function)
        if info and info.func_type in (DBOSFuncType.Class, DBOSFuncType.Instance):
            parameters = parameters[1:]  # DBOS passes the class or the instance by itself.
        self._validate = info and info.validate_args
        self._named = {each.name: self._form(function, each) for each in parameters}
        self._positional = [
            self._named[each.name]
            for each in parameters
            if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)
        ]
        self._more = self._of_kind(parameters, inspect.Parameter.VAR_POSITIONAL)
        self._others = self._of_kind(parameters, inspect.Parameter.VAR_KEYWORD)
        self.result = form_of_result(function)

    def dumped(self, given: Given, name: str) -> Given:
        """Arguments as they are stored; raises what `Form.dump` raises."""
        return self._each(given, lambda form, value: _dumped(form, value, name))

    def loaded(self, stored: Given) -> Given:
        """Arguments as the workflow gets them whenever it begins."""
        if self._validate:
            return Given(*self._validate(stored.args, stored.kwargs))
        return self._each(stored, Form.load)

    def _each(self, given: Given, change: Callable[[Form, Any], Any]) -> Given:
        surplus = len(given.args) - len(self._positional)
        forms = [*self._positional, *[self._more] * surplus]
        args = tuple(change(form, value) for form, value in zip(forms, given.args, strict=False))
        named = ((key, self._named.get(key, self._others)) for key in given.kwargs)
        return Given(args, {key: change(form, given.kwargs[key]) for key, form in named})

    @staticmethod
    def _form(function: Function, parameter: inspect.Parameter) -> Form:
        owner = f"the hint of {parameter.name} in {function.__qualname__}"
        return hinted(function, parameter.name, owner)

    def _of_kind(self, parameters: list[inspect.Parameter], kind: object) -> Form:
        forms = (self._named[each.name] for each in parameters if each.kind is kind)
        return next(forms, Form(Any, "its hint"))


def _dumped(form: Form, value: Any, workflow: str) -> Any:
    what = f"an argument of the workflow {workflow!r}"
    try:
        return form.dump(value, what)
    except Exception:
        with suppress(Exception):
            stored = Form(Any, form.owner).dump(value, what)
            if not form.fits(stored):  # DBOS lets callers ignore hints, and so does `Form.load`.
                return stored
        raise


@functools.cache
def forms_of(function: Function) -> Forms:
    """The forms of a workflow's function, which lives as long as the program."""
    return Forms(function)


def known(dbos: DBOS, name: str) -> Forms | None:
    """The forms of the workflow that is registered here under a name."""
    function = dbos._registry.workflow_info_map.get(name)
    return forms_of(hinting(function)) if function else None


def hinting(workflow: Function) -> Function:
    """The function that has the hints of a workflow.

    DBOS makes a workflow without hints of a step that is started by itself.
    """
    function: Function = getattr(workflow, "__orig_func", workflow)
    if str(getattr(function, "dbos_function_name", "")).startswith("<temp>."):
        return cast(Function, inspect.getclosurevars(function).nonlocals["wrapper"])
    return function


def in_portable_json(dbos: DBOS, serialization: object) -> bool:
    """Whether what is stored in this way is portable JSON."""
    native = WorkflowSerializationFormat.NATIVE
    return stores_portable_json(dbos) and serialization not in (native, native.value, "py_pickle")


def stored_arguments(init_workflow: Function) -> Function:
    """Make of `_init_workflow` one that stores arguments by hint, and hands them on as stored."""

    @functools.wraps(init_workflow)
    def init(dbos: DBOS, ctx: Any, **options: Any) -> Any:
        is_ours = in_portable_json(dbos, options["serialization_type"])
        if forms := known(dbos, options["wf_name"]) if is_ours else None:
            args, kwargs = options["inputs"]["args"], options["inputs"]["kwargs"]
            own = args[:1] if options["class_name"] else ()
            stored = forms.dumped(Given(args[len(own) :], kwargs), options["wf_name"])
            if options["queue"] is None:
                given = forms.loaded(stored)
                setattr(ctx, GIVEN, Given((*own, *given.args), given.kwargs))
            options["inputs"] = Given((*own, *stored.args), stored.kwargs)._asdict()
        return init_workflow(dbos, ctx, **options)

    return init


def stored_elsewhere(build_enqueue: Function) -> Function:
    """Make of `_build_enqueue_with_options` one that stores arguments by hint.

    Where the function is not known here, they are stored by their own types.
    """

    @functools.wraps(build_enqueue)
    def build(dbos: DBOS, ctx: Any, options: Any, args: Any, kwargs: Any) -> Any:
        if in_portable_json(dbos, options.get("serialization_type")):
            name = options["workflow_name"]
            own = options.get("application_name") in (None, GlobalParams.app_name)
            if forms := known(dbos, name) if own else None:
                args, kwargs = forms.dumped(Given(args, kwargs), name)
            else:
                what = f"an argument of the workflow {name!r}"
                args = tuple(jsonable(value, what) for value in args)
                kwargs = {key: jsonable(value, what) for key, value in kwargs.items()}
        return build_enqueue(dbos, ctx, options, args, kwargs)

    return build


def loaded_arguments(coerce: Function) -> Function:
    """Replace DBOS's reading of arguments from portable JSON, which knows dates only."""

    @functools.wraps(coerce)
    def load(wf_func: Function, inputs: Any) -> Any:
        stored = Given(tuple(inputs["args"]), inputs["kwargs"])
        return forms_of(hinting(wf_func)).loaded(stored)._asdict()

    return load


def begun_as_stored(dropping_checkpoints: Function) -> Function:
    """Make of DBOS's wrapper of a workflow's body one that begins it with what was stored."""

    @functools.wraps(dropping_checkpoints)
    def begin(dbos: DBOS, func: functools.partial[Any]) -> Any:
        if not stores_portable_json(dbos):
            return dropping_checkpoints(dbos, func)
        return dropping_checkpoints(dbos, _beginning(func))

    return begin


def _beginning(func: functools.partial[Any]) -> Function:
    def given() -> Given:
        unchanged = Given(func.args, func.keywords)
        return cast(Given, getattr(assert_current_dbos_context(), GIVEN, unchanged))

    if inspect.iscoroutinefunction(func):

        async def execute_async() -> Any:
            with _set(executed, func.func):
                args, kwargs = given()
                return await func.func(*args, **kwargs)

        return execute_async

    def execute() -> Any:
        with _set(executed, func.func):
            args, kwargs = given()
            return func.func(*args, **kwargs)

    return execute


def stored_result(get_wf_invoke_func: Function) -> Function:
    """Make of `_get_wf_invoke_func` one that stores a result by hint, and gives what was stored."""

    @functools.wraps(get_wf_invoke_func)
    def get(dbos: DBOS, status: Any, *rest: Any, **options: Any) -> Function:
        persist: Function = get_wf_invoke_func(dbos, status, *rest, **options)
        is_ours = in_portable_json(dbos, status["serialization"])
        forms = known(dbos, status["name"]) if is_ours else None
        if forms is None:
            return persist
        form, what = forms.result, f"the result of the workflow {status['name']!r}"

        # Who starts a workflow from outside of one reads the JSON that was announced.
        dump = form.dump if status["parent_workflow_id"] else form.announce
        limit = limits_of(dbos._serializer).results

        def stored(func: Function) -> Function:
            async def store_async() -> Any:
                return dump(await func(), what, limit)

            if inspect.iscoroutinefunction(func):
                return store_async
            return lambda: dump(func(), what, limit)

        def keep(func: Function) -> Any:
            result = persist(stored(func))
            return result if isinstance(result, DeferredResult) else form.load(result)

        return keep

    return get


def loaded_result(check_workflow_result: Function) -> Function:
    """Make of `check_workflow_result` one that reads a result by the hint of its workflow."""

    @functools.wraps(check_workflow_result)
    def check(self: Any, workflow_id: str, **options: Any) -> Any:
        result = check_workflow_result(self, workflow_id, **options)
        if result is None or isinstance(result, NoResult) or as_stored.get():
            return result
        form = _result_form(self, workflow_id)
        return form.load(result) if form else result

    return check


def _result_form(system_database: Any, workflow_id: str) -> Form | None:
    dbos = _dbos._dbos_global_instance
    if dbos is None or dbos._sys_db is not system_database or not stores_portable_json(dbos):
        return None
    run = _run(system_database, workflow_id)
    if run is None or run.application_name not in (None, GlobalParams.app_name):
        return None
    forms = known(dbos, run.name) if in_portable_json(dbos, run.serialization) else None
    return forms.result if forms else None


@db_retry()
def _run(system_database: SystemDatabase, workflow_id: str) -> Any:
    """Only what is needed of a run; its arguments and its result may be large."""
    runs = system_database.tables.workflow_status.c
    statement = select(runs.name, runs.serialization, runs.application_name)
    with system_database.engine.connect() as connection:
        return connection.execute(statement.where(runs.workflow_uuid == workflow_id)).first()


def recorded_as_stored(call_as_step: Function) -> Function:
    """Make of `call_function_as_step` one that records results of workflows as they are stored.

    A later execution is given what was recorded, of a workflow that only its id names.
    """
    if inspect.iscoroutinefunction(call_as_step):

        @functools.wraps(call_as_step)
        async def call_async(*args: Any, **kwargs: Any) -> Any:
            with _set(as_stored, True):
                return await call_as_step(*args, **kwargs)

        return call_async

    @functools.wraps(call_as_step)
    def call(self: Any, fn: Function, function_name: str, ctx: Any) -> Any:
        in_workflow = ctx is not None and ctx.is_workflow()
        with _set(as_stored, True):
            if not in_workflow or not is_portable(self.serializer):
                return call_as_step(self, fn, function_name, ctx)
            return restored(call_as_step(self, lambda: recorded(fn()), function_name, ctx))

    return call


def serialized_by_type(serialize_value: Function) -> Function:
    """Make of `serialize_value` one that knows what hints have made of results.

    DBOS tells with it what a parent got; whoever executes the parent again asks the child. So what
    has no JSON by its own type is told by the name of that: the parent has got it, and goes on.
    """

    @functools.wraps(serialize_value)
    def serialize(value: Any, serialization_type: Any, serializer: Any) -> Any:
        try:
            return serialize_value(value, serialization_type, serializer)
        except TypeError:
            if not is_portable(serializer):
                raise
        try:
            plain = jsonable(value, "a result")
            return serialize_value(plain, serialization_type, serializer)
        except Exception:  # A type's own hooks may raise anything.
            return serialize_value(type(value).__name__, serialization_type, serializer)

    return serialize


@block
def _set(variable: ContextVar[Any], value: Any) -> Iterator[None]:
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)
