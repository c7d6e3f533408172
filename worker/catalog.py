"""The catalog: which workflows the functions may launch, published in Postgres."""

import importlib
import inspect
import pkgutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NamedTuple, ParamSpec, TypeVar

import psycopg
from dbos import DBOS, error, pydantic_args_validator
from psycopg.types.json import Json

from .errors import DuplicateWorkflow, RefusedByDBOS, UndeclaredQueue
from .outcomes import portable
from .queues import QUEUES, TASKS
from .schemas import Schema, arguments_schema, qualified, result_schema

P = ParamSpec("P")
R = TypeVar("R")

DECLARATION = "__declaration__"


class Declaration(NamedTuple):
    """What `workflow` was told; it stays on the function until the worker starts."""

    name: str
    queue: str
    function: Callable[..., Any]


@dataclass(frozen=True)
class Entry:
    """One workflow that can be launched, as it is published."""

    name: str
    queue: str
    description: str
    arguments: Schema
    result: Schema


def workflow(
    *, queue: str = TASKS.name, name: str | None = None, **options: Any
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """`DBOS.workflow`, and the workflow can be launched over HTTP.

    It is published as `name` (default: the function's own name) and runs on `queue`. Its
    arguments are validated against their type hints before it runs; its docstring is its
    description. All other options are those of `DBOS.workflow`.
    """

    def declare(function: Callable[P, R]) -> Callable[P, R]:
        declaration = Declaration(name or function.__name__, queue, function)
        validated = {"validate_args": pydantic_args_validator} | options
        declared = DBOS.workflow(name=declaration.name, **validated)(portable(function))
        setattr(declared, DECLARATION, declaration)
        return declared

    return declare


def find_workflows(package: ModuleType) -> list[Entry]:
    """Import every module of `package`; return the workflows declared there, by name.

    Raises DuplicateWorkflow, RefusedByDBOS, UndeclaredQueue, InexpressibleArgument,
    InexpressibleResult.
    """
    found: dict[str, Declaration] = {}
    for declared in _declarations(package):
        other = found.setdefault(declared.name, declared)
        if other is not declared:
            first, second = qualified(other.function), qualified(declared.function)
            raise DuplicateWorkflow(name=declared.name, first=first, second=second)
        if declared.queue not in {queue.name for queue in QUEUES}:
            raise UndeclaredQueue(function=qualified(declared.function), queue=declared.queue)
    return [_entry(*found[name]) for name in sorted(found)]


def _declarations(package: ModuleType) -> Iterator[Declaration]:
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        for value in vars(_load(module.name)).values():
            if isinstance(declaration := getattr(value, DECLARATION, None), Declaration):
                yield declaration


def _load(module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except error.DBOSException as refusal:
        raise RefusedByDBOS(module=module, reason=refusal) from refusal


def _entry(name: str, queue: str, function: Callable[..., Any]) -> Entry:
    return Entry(
        name=name,
        queue=queue,
        description=inspect.getdoc(function) or "",
        arguments=arguments_schema(function),
        result=result_schema(function),
    )


CREATE = """
create schema if not exists catalog;
create table if not exists catalog.workflows (
    application text not null,
    name text not null,
    queue text not null,
    description text not null,
    arguments json not null,
    result json not null,
    application_version text not null,
    primary key (application, name)
);
"""

REMOVE = "delete from catalog.workflows where application = %s and name <> all(%s)"

UPSERT = """
insert into catalog.workflows
    (application, name, queue, description, arguments, result, application_version)
values (%s, %s, %s, %s, %s, %s, %s)
on conflict (application, name) do update set
    queue = excluded.queue,
    description = excluded.description,
    arguments = excluded.arguments,
    result = excluded.result,
    application_version = excluded.application_version
"""

LOCK = "select pg_try_advisory_xact_lock(hashtext('catalog.workflows'))"


def publish(entries: Iterable[Entry], *, database_url: str, application: str, version: str) -> None:
    """Make `entries` the catalog of `application`, in one transaction."""
    rows = [
        (
            application,
            entry.name,
            entry.queue,
            entry.description,
            Json(entry.arguments),
            Json(entry.result),
            version,
        )
        for entry in entries
    ]
    with psycopg.connect(database_url) as connection, connection.cursor() as cursor:
        _take_turns(cursor)
        cursor.execute(CREATE)
        cursor.execute(REMOVE, (application, [name for _, name, *_ in rows]))
        cursor.executemany(UPSERT, rows)


def _take_turns(cursor: psycopg.Cursor[Any]) -> None:
    """Publish one worker after the other, also those that start together.

    Waiting inside `pg_advisory_lock` would block another worker's migration for ever.
    """
    while cursor.execute(LOCK).fetchone() != (True,):
        time.sleep(0.05)
