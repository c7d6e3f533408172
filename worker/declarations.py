"""Workflows that can be launched: how they are declared, how they are found."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any, NamedTuple, Never, ParamSpec, TypeVar

from dbos import DBOS

from . import places
from .catalog import Entry
from .errors import BrokenModule, DuplicateWorkflow, NotAtTheTop, UndeclaredQueue, WorkerError
from .misuse import misuse, refuse, unfit
from .outcomes import contained
from .queues import QUEUES, TASKS, names_of_queues
from .signatures import (
    arguments_schema,
    arguments_validator,
    located,
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
    *misplaced: Never,
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

    Raises BadDeclaration; what it returns raises that, or NotAtTheTop.
    """
    refuse(misuse(misplaced, queue, name, signals, options))

    def declare(function: Callable[P, R]) -> Callable[P, R]:
        refuse(unfit(function))
        if "." in function.__qualname__:
            raise NotAtTheTop(function=located(function))
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
            first, second = located(other.function), located(declared.function)
            raise DuplicateWorkflow(name=declared.name, first=first, second=second)
        if declared.queue not in {queue.name for queue in QUEUES}:
            function, known = located(declared.function), names_of_queues()
            raise UndeclaredQueue(function=function, queue=declared.queue, known=known)
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
    except WorkerError:
        raise
    except (Exception, SystemExit) as error:  # It is the user's code, and may raise anything.
        place = places.of_error(error) or module
        reason = f"{type(error).__name__}: {places.said(error)}"
        raise BrokenModule(place=place, module=module, reason=reason) from error


def _entry(declared: Declaration) -> Entry:
    name, queue, function, signals = declared
    result = result_schema(function)  # The first to fail: arguments cannot be read without it.
    return Entry(
        name=name,
        queue=queue,
        description=inspect.getdoc(function) or "",
        arguments=arguments_schema(function),
        result=result,
        signals={topic: signal_schema(function, topic, hint) for topic, hint in signals.items()},
        partitioned=any(each.partitioned for each in QUEUES if each.name == queue),
        source_digest=digest(function),
    )
