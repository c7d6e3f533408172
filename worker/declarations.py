"""Workflows that can be launched: how they are declared, how they are found."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any, NamedTuple, ParamSpec, TypeVar

from dbos import DBOS, error

from .catalog import Entry
from .errors import BrokenModule, DuplicateWorkflow, NotAtTheTop, UndeclaredQueue
from .outcomes import contained
from .queues import QUEUES, TASKS
from .signatures import (
    arguments_schema,
    arguments_validator,
    qualified,
    result_schema,
    signal_schema,
)
from .sources import digest

P = ParamSpec("P")
R = TypeVar("R")

DECLARATION = "__declaration__"


class Declaration(NamedTuple):
    """What `workflow` was told; it stays on the function until the worker starts."""

    name: str
    queue: str
    function: Callable[..., Any]
    signals: Mapping[str, Any]


def workflow(
    *,
    queue: str = TASKS.name,
    name: str | None = None,
    signals: Mapping[str, Any] | None = None,
    **options: Any,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """`DBOS.workflow`, and the workflow can be launched over HTTP.

    It is published as `name` (default: the function's own name) and runs on `queue`. Its
    arguments are validated against their type hints before it runs; its docstring is its
    description. `signals` are the types of what it receives with `DBOS.recv`, by topic. All
    other options are those of `DBOS.workflow`.
    """

    def declare(function: Callable[P, R]) -> Callable[P, R]:
        if "." in function.__qualname__:
            raise NotAtTheTop(function=qualified(function))
        declaration = Declaration(name or function.__name__, queue, function, signals or {})
        validated = {"validate_args": arguments_validator(function)} | options
        executed = contained(function)
        setattr(executed, DECLARATION, declaration)  # What DBOS makes of it has it, too.
        return DBOS.workflow(name=declaration.name, **validated)(executed)

    return declare


def find_workflows(package: ModuleType) -> list[Entry]:
    """Import every module of `package`; return the workflows declared there, by name.

    Raises BrokenModule, NotAtTheTop, DuplicateWorkflow, UndeclaredQueue,
    InexpressibleArgument, InexpressibleResult, InexpressibleSignal.
    """
    found: dict[str, Declaration] = {}
    for declared in _declarations(package):
        other = found.setdefault(declared.name, declared)
        if other is not declared:
            first, second = qualified(other.function), qualified(declared.function)
            raise DuplicateWorkflow(name=declared.name, first=first, second=second)
        if declared.queue not in {queue.name for queue in QUEUES}:
            raise UndeclaredQueue(function=qualified(declared.function), queue=declared.queue)
    return [_entry(found[name]) for name in sorted(found)]


def _declarations(package: ModuleType) -> Iterator[Declaration]:
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        functions = filter(inspect.isfunction, vars(_load(module.name)).values())
        for function in functions:
            if declaration := getattr(function, DECLARATION, None):
                yield declaration


def _load(module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except (error.DBOSException, SyntaxError, ImportError) as reason:
        raise BrokenModule(module=module, reason=reason) from reason


def _entry(declared: Declaration) -> Entry:
    name, queue, function, signals = declared
    return Entry(
        name=name,
        queue=queue,
        description=inspect.getdoc(function) or "",
        arguments=arguments_schema(function),
        result=result_schema(function),
        signals={topic: signal_schema(function, topic, hint) for topic, hint in signals.items()},
        partitioned=any(each.partitioned for each in QUEUES if each.name == queue),
        source_digest=digest(function),
    )
