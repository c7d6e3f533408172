"""JSON Schemas (2020-12) of a workflow's arguments and result, made from its type hints."""

import inspect
import json
import math
import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, get_type_hints

from pydantic import PydanticUserError, TypeAdapter
from pydantic.json_schema import JsonSchemaMode, PydanticJsonSchemaWarning
from pydantic_core import SchemaError

from .errors import InexpressibleArgument, InexpressibleResult

Schema = dict[str, Any]

NO_SCHEMA = (PydanticUserError, SchemaError, NameError, TypeError, ValueError)

RESERVED = {"self", "options"}
"""`DBOSClient.enqueue` has parameters of these names, so no client could pass them on."""


def arguments_schema(function: Callable[..., Any]) -> Schema:
    """The schema of an object with exactly the named arguments of `function`.

    Raises InexpressibleArgument, which names the function and the parameter.
    """
    for parameter in inspect.signature(function).parameters.values():
        if reason := _inexpressible(parameter, function):
            raise InexpressibleArgument(
                function=qualified(function), parameter=parameter.name, reason=reason
            )
    return _schema(function, "validation")


def result_schema(function: Callable[..., Any]) -> Schema:
    """The schema of what `function` returns; raises InexpressibleResult."""
    returned = inspect.signature(function).return_annotation
    try:
        return _schema(_resolved(returned, function), "serialization")
    except NO_SCHEMA as error:
        raise InexpressibleResult(
            function=qualified(function), reason=_first_line(error)
        ) from error


def qualified(function: Callable[..., Any]) -> str:
    """The full name of `function`, for messages."""
    return f"{function.__module__}.{function.__qualname__}"


def _inexpressible(parameter: inspect.Parameter, function: Callable[..., Any]) -> str | None:
    if parameter.kind is parameter.POSITIONAL_ONLY:
        return "it has no name for callers; drop the '/' from the signature"
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        return "give each argument a name and a type of its own"
    if parameter.name in RESERVED:
        return "DBOS uses this name itself; choose another"
    if isinstance(parameter.default, float) and not math.isfinite(parameter.default):
        return f"its default {parameter.default} is not a JSON number"
    try:
        _schema(_resolved(parameter.annotation, function), "validation")
    except NO_SCHEMA as error:
        return f"its type has no JSON Schema ({_first_line(error)})"
    return None


def _resolved(annotation: Any, function: Callable[..., Any]) -> Any:
    """The type behind one annotation, which may be a string; no annotation allows anything."""
    if annotation is inspect.Signature.empty:
        return Any
    annotated = SimpleNamespace(__annotations__={"it": annotation})
    names = inspect.unwrap(function).__globals__
    return get_type_hints(annotated, globalns=names, include_extras=True)["it"]


def _schema(hint: Any, mode: JsonSchemaMode) -> Schema:
    with warnings.catch_warnings():
        # A default that is not JSON is left out of the schema; the function still has it.
        warnings.simplefilter("ignore", PydanticJsonSchemaWarning)
        schema = TypeAdapter(hint).json_schema(mode=mode)
    json.dumps(schema, allow_nan=False)  # Python's infinities are no JSON.
    return schema


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
