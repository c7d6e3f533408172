"""What the caller of a step or a transaction gets, the first time and after a takeover."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

from dbos import DBOS
from dbos._context import get_local_dbos_context
from dbos._dbos import _get_dbos_instance

from .limits import Limit, limits_of
from .portable import is_portable
from .values import Form, form_of_result, is_refusal

Function = Callable[..., Any]


def stores_portable_json(dbos: DBOS) -> bool:
    """Whether a DBOS stores portable JSON; what it stores in another form is left alone."""
    return is_portable(dbos._serializer)


def kept_results(invoke_step: Function) -> Function:
    """Make of DBOS's `invoke_step` one that stores a result by its hint, and reads it again."""

    @functools.wraps(invoke_step)
    def invoke(dbos: DBOS, step_ctx: Any, func: Function, *arguments: Any, **options: Any) -> Any:
        if not stores_portable_json(dbos):
            return invoke_step(dbos, step_ctx, func, *arguments, **options)
        form = form_of_result(func)
        what = f"the result of the step {options['step_name']!r}"
        stored = dumping(func, form, what, limits_of(dbos._serializer).results)
        options["should_retry"] = unless_refused(options.get("should_retry"))
        return loaded(form, invoke_step(dbos, step_ctx, stored, *arguments, **options))

    return invoke


def kept_transactions(run_tx_step: Function) -> Function:
    """Make of a datasource's `run_tx_step` one that does so, too; also of the async one."""

    @functools.wraps(run_tx_step)
    def run(self: Any, ds_options: Any, func: Function, *args: Any, **kwargs: Any) -> Any:
        context = get_local_dbos_context()
        in_workflow = context is not None and context.is_workflow()
        if not in_workflow or not stores_portable_json(_get_dbos_instance()):
            return run_tx_step(self, ds_options, func, *args, **kwargs)
        form = form_of_result(func)
        name = (ds_options or {}).get("name") or func.__qualname__
        flushed = flushing(self, func)  # A generated key is part of the result.
        what = f"the result of the transaction {name!r}"
        stored = dumping(flushed, form, what, limits_of(_get_dbos_instance()._serializer).results)
        return loaded(form, run_tx_step(self, ds_options, stored, *args, **kwargs))

    return run


def dumping(function: Function, form: Form, what: str, limit: Limit) -> Function:
    """A function that returns what is stored of the result of `function`."""
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def dump_async(*args: Any, **kwargs: Any) -> Any:
            return form.dump(await function(*args, **kwargs), what, limit)

        return dump_async

    @functools.wraps(function)
    def dump(*args: Any, **kwargs: Any) -> Any:
        return form.dump(function(*args, **kwargs), what, limit)

    return dump


def flushing(datasource: Any, function: Function) -> Function:
    """A function after which all that was added to the session is in the database."""
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def flush_async(*args: Any, **kwargs: Any) -> Any:
            result = await function(*args, **kwargs)
            await datasource.sql_session().flush()
            return result

        return flush_async

    @functools.wraps(function)
    def flush(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        datasource.sql_session().flush()
        return result

    return flush


def loaded(form: Form, outcome: Any) -> Any:
    """What was stored as the caller gets it, or a coroutine that ends in it."""
    if not inspect.iscoroutine(outcome):
        return form.load(outcome)

    async def load() -> Any:
        return form.load(await outcome)

    return load()


def unless_refused(should_retry: Function | None) -> Function:
    """A `should_retry` that does not repeat a step because of what it returned."""
    if should_retry is None:
        return lambda error: not is_refusal(error)
    if inspect.iscoroutinefunction(should_retry):

        @functools.wraps(should_retry)
        async def retry_async(error: BaseException) -> Any:
            return not is_refusal(error) and await should_retry(error)

        return retry_async

    @functools.wraps(should_retry)
    def retry(error: BaseException) -> Any:
        return not is_refusal(error) and should_retry(error)

    return retry
