"""The check of arguments against the JSON Schema that a worker has published."""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, time
from itertools import chain, islice
from typing import Any
from uuid import UUID

import jsonschema_rs

from .errors import InvalidArguments, shortened

MAX_ERRORS = 20
"""Errors of one call that are told."""

MAX_EXPLAINED_VALUES = 1000
"""Values in the wrong calls of a request up to which is told where they are wrong. Where each may
be one of several types, the errors of a mebibyte take more than a gibibyte and many seconds."""

UNEXPLAINED = "does not fit the schema; it holds too many values to tell where"

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
    "time": _parses(time.fromisoformat),
    "uuid": _parses(UUID),
}


def compiled(schema: Schema) -> Any:
    """A validator for `check`; raises ValueError for what is no schema.

    Whatever it refers to has to be in it: nothing is fetched, neither by URL nor from files.
    """
    if not isinstance(schema, dict):  # A text would be read as a schema, too.
        raise ValueError("it is not a JSON object")
    return jsonschema_rs.validator_for(schema, validate_formats=True, formats=FORMATS, offline=True)


def check(values: Mapping[str, Any], validator: Any) -> None:
    """Raise InvalidArguments unless all `values`, by the JSON pointers to them, fit the schema."""
    located = islice(chain.from_iterable(_errors(values, validator)), MAX_ERRORS)
    errors = [{"pointer": at, "message": shortened(said, limit=300)} for at, said in located]
    if errors:
        raise InvalidArguments(errors=errors)


def _errors(values: Mapping[str, Any], validator: Any) -> Iterator[Iterator[tuple[str, str]]]:
    left = MAX_EXPLAINED_VALUES
    for pointer, value in values.items():
        if validator.is_valid(value):
            continue
        left -= _counted(value)
        if left < 0:
            yield iter([(pointer, UNEXPLAINED)])
        else:
            for error in validator.iter_errors(value):
                yield ((pointer + at, message) for at, message in _located(error))


def _counted(value: Any) -> int:
    """How many values there are in `value`, itself included, if they are not too many."""
    values = [value]
    for each in values:  # It grows meanwhile.
        if len(values) > MAX_EXPLAINED_VALUES:
            break
        if isinstance(each, dict | list):
            values.extend(each.values() if isinstance(each, dict) else each)
    return len(values)


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
