"""The catalog: the workflows that workers have published."""

import json
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from psycopg.errors import UndefinedColumn
from sqlalchemy import Row, text
from sqlalchemy.exc import ProgrammingError

from .arguments import Schema, check, compiled
from .client import engine
from .errors import (
    CatalogOutdated,
    InvalidArguments,
    NoWorkerYet,
    UnknownWorkflow,
    UnusableSchema,
)
from .settings import settings

KEPT = 60.0
"""Seconds that what was read is used."""

PAUSE = 1.0
"""Seconds at least between two early reads."""

SELECT = text("""
    select name, queue, description, partitioned,
           arguments::text as arguments, result::text as result, signals::text as signals
    from catalog.workflows
    where application = :application
    order by name
""")
"""The schemas as texts: one that cannot be read must not keep the others from being read."""


@dataclass(frozen=True)
class Workflow:
    """One workflow that can be launched; what it takes and gives as JSON Schemas."""

    name: str
    queue: str
    description: str
    arguments: Schema
    result: Schema
    signals: Mapping[str, Schema]
    """What it expects to be told, by topic."""
    partitioned: bool
    """Whether its queue wants a partition key."""

    @cached_property
    def validator(self) -> Any:
        """The schema of the arguments, compiled when the first launch needs it.

        Raises UnusableSchema.
        """
        return self._compiled(self.arguments)

    @cached_property
    def signal_validators(self) -> dict[str, Any]:
        """The schemas of the signals, compiled when the first one is sent.

        Raises UnusableSchema.
        """
        return {topic: self._compiled(schema) for topic, schema in self.signals.items()}

    @cached_property
    def is_usable(self) -> bool:
        """Whether all of its schemas can be used."""
        with suppress(UnusableSchema):
            return all(map(self._compiled, [self.arguments, self.result, *self.signals.values()]))
        return False

    def _compiled(self, schema: Schema) -> Any:
        try:
            return compiled(schema)
        except ValueError as error:
            raise UnusableSchema(workflow=self.name) from error


class Catalog:
    """What `application` can launch, read from Postgres at most every KEPT seconds."""

    def __init__(self, application: str) -> None:
        self.application = application
        self._workflows: dict[str, Workflow] = {}
        self._read_at = -KEPT
        self._reading = threading.Lock()

    def workflows(self, max_age: float = KEPT) -> dict[str, Workflow]:
        """The workflows by name, as they were at most `max_age` seconds ago.

        Raises NoWorkerYet. Callers that arrive while one reads wait for what it finds.
        """
        if time.monotonic() - self._read_at >= max_age:
            with self._reading:
                if time.monotonic() - self._read_at >= max_age:
                    self._workflows = self._read()
                    self._read_at = time.monotonic()
        return self._workflows

    def accept(self, name: str, calls: Mapping[str, Any]) -> Workflow:
        """The workflow `name`, which takes the arguments of all `calls`, by their JSON pointers.

        Raises UnknownWorkflow, InvalidArguments, UnusableSchema. Nothing is refused before a
        worker that has just started had the chance to be heard.
        """
        known = self.workflows()
        try:
            return _accept(known, name, calls)
        except (UnknownWorkflow, InvalidArguments, UnusableSchema):
            newest = self.workflows(max_age=PAUSE)
            if newest is known:
                raise
            return _accept(newest, name, calls)

    def _read(self) -> dict[str, Workflow]:
        try:
            with engine().connect() as connection:
                rows = connection.execute(SELECT, {"application": self.application}).all()
        except ProgrammingError as error:
            if isinstance(error.orig, UndefinedColumn):
                raise CatalogOutdated from error
            raise
        if not rows:
            raise NoWorkerYet(application=self.application)
        return {row.name: _published(row) for row in rows}


@cache
def catalog() -> Catalog:
    """The catalog of this instance."""
    return Catalog(settings().app_name)


def _published(row: Row[Any]) -> Workflow:
    """What a row says; a schema that cannot be read is None, which is no usable one."""
    read = {name: _loaded(row._mapping[name]) for name in ("arguments", "result", "signals")}
    if not isinstance(read["signals"], dict):
        read |= {"arguments": None, "signals": {}}
    return Workflow(**{**row._mapping, **read})


def _loaded(schema: str) -> Any:
    try:
        return json.loads(schema)
    except (ValueError, RecursionError):  # Postgres nests deeper, and knows longer numbers.
        return None


def _accept(workflows: Mapping[str, Workflow], name: str, calls: Mapping[str, Any]) -> Workflow:
    if name not in workflows:
        raise UnknownWorkflow(name, list(workflows))
    check(calls, workflows[name].validator)
    return workflows[name]
