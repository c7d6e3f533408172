"""The catalog: the workflows that workers have published."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from psycopg.errors import UndefinedColumn
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from .arguments import Schema, check, compiled
from .client import engine
from .errors import CatalogOutdated, InvalidArguments, NoWorkerYet, UnknownWorkflow
from .settings import settings

KEPT = 60.0
"""Seconds that what was read is used."""

PAUSE = 1.0
"""Seconds at least between two early reads."""

SELECT = text("""
    select name, queue, description, arguments, result, signals, partitioned
    from catalog.workflows
    where application = :application
    order by name
""")


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
        """The schema of the arguments, compiled when the first launch needs it."""
        return compiled(self.arguments)

    @cached_property
    def signal_validators(self) -> dict[str, Any]:
        """The schemas of the signals, compiled when the first one is sent."""
        return {topic: compiled(schema) for topic, schema in self.signals.items()}


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

        Raises UnknownWorkflow, InvalidArguments. Nothing is refused before a worker that has just
        started had the chance to be heard.
        """
        known = self.workflows()
        try:
            return _accept(known, name, calls)
        except (UnknownWorkflow, InvalidArguments):
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
        return {row.name: Workflow(**row._mapping) for row in rows}


@cache
def catalog() -> Catalog:
    """The catalog of this instance."""
    return Catalog(settings().app_name)


def _accept(workflows: Mapping[str, Workflow], name: str, calls: Mapping[str, Any]) -> Workflow:
    if name not in workflows:
        raise UnknownWorkflow(name, list(workflows))
    check(calls, workflows[name].validator)
    return workflows[name]
