"""JSON Schemas that were published alone, as components of one document."""

from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from ..arguments import Schema
from .names import Names, pascal

LITERAL = {"const", "default", "enum", "example", "examples"}
"""Keywords whose values are data, where `$ref` means nothing."""

REFERENCES = {"$ref", "$dynamicRef", "$recursiveRef"}

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
            return {
                keyword: _value(keyword, value, point)
                for keyword, value in schema.items()
                if not _leads_elsewhere(keyword, value)
            }
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
    match keyword, value:
        case "discriminator", {"mapping": dict(mapping)}:
            within = {tag: target for tag, target in mapping.items() if _is_within(target)}
            return value | {"mapping": {tag: point(target) for tag, target in within.items()}}
    return _pointed(value, point)


def _leads_elsewhere(keyword: str, value: Any) -> bool:
    """Whether readers of the document would look for something outside of it.

    `$id` would have them look for all references there.
    """
    return keyword == "$id" or (keyword in REFERENCES and not _is_within(value))


def _is_within(reference: Any) -> bool:
    return isinstance(reference, str) and reference.startswith("#")


def _unescaped(part: str) -> str:
    return unquote(part).replace("~1", "/").replace("~0", "~")
