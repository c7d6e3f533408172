"""The catalog: the workflows that workers have published, and the check of their arguments."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from datetime import time as clock
from functools import cache, cached_property
from itertools import chain, islice
from typing import Any
from uuid import UUID

import jsonschema_rs
from sqlalchemy import Engine, text

from .client import engine
from .errors import InvalidArguments, NoWorkerYet, UnknownWorkflow
from .settings import settings

KEPT = 60.0
"""Seconds that what was read is used."""

PAUSE = 1.0
"""Seconds at least between two early reads."""

MAX_ERRORS = 20
"""Errors of one call that are told."""

SMALL = 64 * 1024
"""Characters up to which all errors are looked for; in a larger call they could take seconds."""

Schema = dict[str, Any]


def _parses(parse: Callable[[str], object]) -> Callable[[str], bool]:
    """Whether `parse` takes a text."""

    def check(value: str) -> bool:
        try:
            parse(value)
        except ValueError:
            return False
        return True

    return check


FORMATS = {
    # As lenient as the workers' pydantic, where RFC 3339 wants an offset and a UUID dashes.
    "date-time": _parses(datetime.fromisoformat),
    "time": _parses(clock.fromisoformat),
    "uuid": _parses(UUID),
}

SELECT = text("""
    select name, queue, description, arguments, result
    from catalog.workflows
    where application = :application
    order by name
""")


@dataclass(frozen=True)
class Workflow:
    """One workflow that can be launched; `arguments` and `result` are JSON Schemas."""

    name: str
    queue: str
    description: str
    arguments: Schema
    result: Schema

    @cached_property
    def validator(self) -> Any:
        """The schema of the arguments, compiled when the first launch needs it."""
        return jsonschema_rs.validator_for(self.arguments, validate_formats=True, formats=FORMATS)

    def check(self, arguments: Mapping[str, Any]) -> None:
        """Raise InvalidArguments unless `arguments` fit the schema."""
        try:
            self.validator.validate(arguments)
        except jsonschema_rs.ValidationError as first:
            small = len(json.dumps(arguments)) <= SMALL
            errors = self.validator.iter_errors(arguments) if small else [first]
            located = islice(chain.from_iterable(map(_located, errors)), MAX_ERRORS)
            raise InvalidArguments(
                errors=[{"pointer": at, "message": _shortened(message)} for at, message in located]
            ) from None


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
                    self._workflows = self._read(engine())
                    self._read_at = time.monotonic()
        return self._workflows

    def accept(self, name: str, arguments: Mapping[str, Any]) -> Workflow:
        """The workflow `name`, which takes `arguments`; raises UnknownWorkflow, InvalidArguments.

        Nothing is refused before a worker that has just started had the chance to be heard.
        """
        known = self.workflows()
        try:
            return _accept(known, name, arguments)
        except (UnknownWorkflow, InvalidArguments):
            newest = self.workflows(max_age=PAUSE)
            if newest is known:
                raise
            return _accept(newest, name, arguments)

    def _read(self, engine: Engine) -> dict[str, Workflow]:
        with engine.connect() as connection:
            rows = connection.execute(SELECT, {"application": self.application}).all()
        if not rows:
            raise NoWorkerYet(application=self.application)
        return {row.name: Workflow(**row._mapping) for row in rows}


@cache
def catalog() -> Catalog:
    """The catalog of this instance."""
    return Catalog(settings().app_name)


def _accept(workflows: Mapping[str, Workflow], name: str, arguments: Mapping[str, Any]) -> Workflow:
    if name not in workflows:
        raise UnknownWorkflow(name, list(workflows))
    workflows[name].check(arguments)
    return workflows[name]


def _located(error: jsonschema_rs.ValidationError) -> Iterator[tuple[str, str]]:
    """JSON pointers (RFC 6901) and messages; a missing or extra argument has a pointer, too."""
    here = "".join(f"/{_escaped(part)}" for part in error.instance_path)
    match error.kind:
        case jsonschema_rs.ValidationErrorKind.Required(property=name):
            yield f"{here}/{_escaped(name)}", "is required"
        case jsonschema_rs.ValidationErrorKind.AdditionalProperties(unexpected=names):
            yield from ((f"{here}/{_escaped(name)}", "is not an argument") for name in names)
        case jsonschema_rs.ValidationErrorKind.AnyOf(context=[errors, [null]]) if _is_null(null):
            # "Something or null": what is wrong with the something says more.
            yield from chain.from_iterable(map(_located, errors))
        case _:
            yield here, error.message


def _is_null(error: jsonschema_rs.ValidationError) -> bool:
    return error.message.endswith('is not of type "null"')


def _escaped(part: str | int) -> str:
    return str(part).replace("~", "~0").replace("/", "~1")


def _shortened(message: str, limit: int = 300) -> str:
    return message if len(message) <= limit else f"{message[:limit]}…"
