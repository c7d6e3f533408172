"""JSON Schemas that were published alone, as components of one document."""

from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from ..arguments import Schema
from .names import Names, pascal

LITERAL = {"const", "default", "enum", "example", "examples"}
"""Keywords whose values are data, where `$ref` means nothing."""

NAMED = {"$defs", "dependentSchemas", "patternProperties", "properties"}
"""Keywords whose values are schemas by name, where `$ref` is just another name."""

Point = Callable[[str], str]


def component(name: str) -> Schema:
    """A reference to the component `name`."""
    return {"$ref": f"#/components/schemas/{name}"}


def hoisted(schema: Schema, root: str, names: Names) -> dict[str, Schema]:
    """The component `root`, and one for each of its `$defs`, whose names begin with `root`."""
    definitions = schema.get("$defs", {})
    moved = {name: names.free(root + pascal(name)) for name in definitions}

    def point(reference: str) -> str:
        match reference.split("/"):
            case ["#", "$defs", name, *rest] if _unescaped(name) in moved:
                target = moved[_unescaped(name)]
            case ["#", *rest]:
                target = root
            case _:
                return reference
        return "/".join([component(target)["$ref"], *rest])

    rest = {key: value for key, value in schema.items() if key != "$defs"}
    return {root: _pointed(rest, point)} | {
        moved[name]: _pointed(definition, point) for name, definition in definitions.items()
    }


def _pointed(schema: Any, point: Point) -> Any:
    """The schema with `point` applied to its references."""
    match schema:
        case dict():
            return {keyword: _value(keyword, value, point) for keyword, value in schema.items()}
        case list():
            return [_pointed(each, point) for each in schema]
    return schema


def _value(keyword: str, value: Any, point: Point) -> Any:
    if keyword in LITERAL:
        return value
    if keyword in NAMED:
        return {name: _pointed(schema, point) for name, schema in value.items()}
    if keyword == "$ref":
        return point(value)
    if keyword == "discriminator":
        mapping = value.get("mapping", {})
        return value | {"mapping": {tag: point(target) for tag, target in mapping.items()}}
    return _pointed(value, point)


def _unescaped(part: str) -> str:
    return unquote(part).replace("~1", "/").replace("~0", "~")
