"""The references in a JSON Schema, which have to lead to somewhere in it."""

from collections.abc import Iterator
from typing import Any

REFERENCES = {"$ref", "$dynamicRef", "$recursiveRef"}

LITERAL = {"const", "default", "enum", "example", "examples"}
"""Keywords whose values are data, where `$ref` means nothing."""

NAMED = {"$defs", "dependentSchemas", "patternProperties", "properties"}
"""Keywords whose values are schemas by name, where `$ref` is just another name."""


def refuse_foreign(schema: Any) -> None:
    """Raise ValueError for a reference that leads out of `schema`: nobody fetches what is there."""
    for reference in _references(schema):
        if not str(reference).startswith("#"):
            raise ValueError(f"its $ref {str(reference)!r} does not begin with #")


def _references(schema: Any) -> Iterator[Any]:
    match schema:
        case dict():
            for keyword, value in schema.items():
                yield from _under(keyword, value)
        case list():
            for each in schema:
                yield from _references(each)


def _under(keyword: str, value: Any) -> Iterator[Any]:
    if keyword in REFERENCES:
        yield value
    elif keyword in NAMED and isinstance(value, dict):
        for schema in value.values():
            yield from _references(schema)
    elif keyword not in LITERAL:
        yield from _references(value)
