"""What a workflow's signature says: JSON Schemas (2020-12) for callers, a check for the worker."""

import functools
import inspect
import json
import re
import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, get_type_hints

from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError
from pydantic.json_schema import JsonSchemaMode, PydanticJsonSchemaWarning
from pydantic_core import from_json

from . import places
from .errors import (
    InexpressibleArgument,
    InexpressibleResult,
    InexpressibleSignal,
    InvalidArguments,
)
from .references import refuse_foreign

Function = Callable[..., Any]

Schema = dict[str, Any]

Arguments = tuple[tuple[Any, ...], dict[str, Any]]

Validator = Callable[[tuple[Any, ...], dict[str, Any]], Arguments]

RESERVED = {"self", "options", "conn_or_session"}
"""`DBOSClient` enqueues with parameters of these names, so no client could pass them on."""


RETURNED = ConfigDict(
    ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="constants"
)
"""Bytes that are returned are stored as base64, which holds any; in arguments they are text.

NaN is written as it is, and refused when it is read, instead of becoming null.
"""


def arguments_schema(function: Function) -> Schema:
    """The schema of an object with exactly the named arguments of `function`.

    Raises InexpressibleArgument, which names the function and the parameter.
    """
    parameters = inspect.signature(function).parameters.values()
    for parameter in parameters:
        _refuse(function, parameter, _inexpressible(parameter, function))
    schema = _schema(function, "validation")
    for parameter in parameters:
        _refuse(function, parameter, _misrepresented(parameter, schema))
        _refuse(function, parameter, _unfit_default(parameter, schema, function))
    return schema


def result_schema(function: Function) -> Schema:
    """The schema of what `function` returns; raises InexpressibleResult."""
    returned = inspect.signature(function).return_annotation
    try:
        return _schema(resolved(returned, function), "serialization", RETURNED)
    except Exception as error:  # A type's own hooks may raise anything.
        raise InexpressibleResult(function=located(function), reason=first_line(error)) from error


def signal_schema(function: Function, topic: str, hint: Any) -> Schema:
    """The schema of what `function` expects as a signal; raises InexpressibleSignal."""
    if not re.fullmatch(r"[^/\0]{1,255}", topic) or not topic.strip():
        reason = "a topic is the last part of a path: 1 to 255 characters without a slash"
        raise InexpressibleSignal(function=located(function), topic=topic, reason=reason)
    try:
        return _schema(hint, "validation")
    except Exception as error:  # A type's own hooks may raise anything.
        raise InexpressibleSignal(
            function=located(function), topic=topic, reason=first_line(error)
        ) from error


def arguments_validator(function: Function) -> Validator:
    """A `validate_args` for `DBOS.workflow`: arguments become what the type hints say.

    Unlike DBOS's own it knows constraints in `Annotated`, as the published schema does. It
    raises InvalidArguments.
    """

    @functools.cache  # Not before the first call: hints may name what is defined further down.
    def declared() -> tuple[inspect.Signature, dict[str, TypeAdapter[Any]]]:
        signature = inspect.signature(function)
        return signature, {
            parameter.name: TypeAdapter(resolved(parameter.annotation, function))
            for parameter in signature.parameters.values()
        }

    def validate(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
        signature, adapters = declared()
        try:
            bound = signature.bind(*args, **kwargs)
            for name, value in bound.arguments.items():
                bound.arguments[name] = _read(adapters[name], value)
        except ValidationError as error:
            told = error.errors(include_url=False, include_input=False)
            problem = "; ".join(f"{name}: {each['msg']}" for each in told)
            raise InvalidArguments(function=qualified(function), problem=problem) from error
        except TypeError as error:
            raise InvalidArguments(function=qualified(function), problem=error) from error
        return bound.args, bound.kwargs

    return validate


def _read(adapter: TypeAdapter[Any], value: Any) -> Any:
    """What a value of JSON stands for, read as whoever has stored it has made sure that it is.

    Read as Python objects, unions would become other types, and strict types would refuse text.
    """
    text = _text(value)
    if text is None:
        return adapter.validate_python(value)
    read = functools.partial(adapter.validate_json, text, by_alias=True, by_name=True)
    try:
        return read()
    except ValidationError as error:
        if any(each["type"] != "extra_forbidden" for each in error.errors()):
            raise
        known = read(extra="ignore")
        if json.loads(adapter.dump_json(known, by_alias=True)) != value:
            raise
        return known  # All that is too much is what the type writes itself: computed fields.


def _text(value: Any) -> bytes | None:
    """The JSON text of a value of JSON, if pydantic can read it.

    It reads no half characters; and what was stored in another way may be no JSON.
    """
    try:
        text = json.dumps(value).encode()
        return text if from_json(text) == value else None
    except (TypeError, ValueError):
        return None


def qualified(function: Function) -> str:
    """The full name of `function`, for messages."""
    return f"{function.__module__}.{function.__qualname__}"


def located(function: Function) -> str:
    """The full name of `function` after its file and line, for whoever writes it."""
    return f"{places.of_function(function)}: {qualified(function)}"


def _refuse(function: Function, parameter: inspect.Parameter, reason: str | None) -> None:
    if reason:
        raise InexpressibleArgument(
            function=located(function), parameter=parameter.name, reason=reason
        )


def _inexpressible(parameter: inspect.Parameter, function: Function) -> str | None:
    if parameter.kind is parameter.POSITIONAL_ONLY:
        return "it has no name for callers; drop the '/' from the signature"
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        return "give each argument a name and a type of its own"
    if parameter.name in RESERVED:
        return "DBOS uses this name itself; choose another"
    if parameter.annotation is parameter.empty:
        return f"it has no type hint; write one, as in '{parameter.name}: int'"
    try:
        _schema(resolved(parameter.annotation, function), "validation")
    except Exception as error:  # A type's own hooks may raise anything.
        return f"its type has no JSON Schema ({first_line(error)})"
    return None


def _misrepresented(parameter: inspect.Parameter, schema: Schema) -> str | None:
    if parameter.name not in schema["properties"]:
        return "its Field has an alias; callers use the parameter's own name"
    required = parameter.name in schema.get("required", [])
    if required != (parameter.default is parameter.empty):
        return "its default belongs into the signature, not into its Field"
    try:
        json.dumps(
            schema["properties"][parameter.name], allow_nan=False, ensure_ascii=False
        ).encode()
    except ValueError:
        return "its default or constraints are not JSON"
    return None


def _unfit_default(parameter: inspect.Parameter, schema: Schema, function: Function) -> str | None:
    if "default" not in schema["properties"][parameter.name]:
        return None  # There is none, or it is no JSON: only the function knows what it means.
    try:
        TypeAdapter(resolved(parameter.annotation, function)).validate_python(parameter.default)
    except ValidationError as error:
        told = error.errors(include_url=False, include_input=False)[0]["msg"]
        return f"its default {parameter.default!r} does not fit its type hint ({told})"
    return None


def resolved(annotation: Any, function: Function) -> Any:
    """The type behind an annotation, which may be a string; no annotation allows anything.

    What cannot be resolved raises whatever it raises, most often NameError.
    """
    if annotation is inspect.Signature.empty:
        return Any
    annotated = SimpleNamespace(__annotations__={"it": annotation})
    names = inspect.unwrap(function).__globals__
    return get_type_hints(annotated, globalns=names, include_extras=True)["it"]


def type_adapter(hint: Any, config: ConfigDict | None = None) -> TypeAdapter[Any]:
    """What pydantic makes of a hint; a class that says how it is configured is left alone."""
    try:
        return TypeAdapter(hint, config=config)
    except PydanticUserError as error:
        if error.code != "type-adapter-config-unused":
            raise
        return TypeAdapter(hint)


def _schema(hint: Any, mode: JsonSchemaMode, config: ConfigDict | None = None) -> Schema:
    with warnings.catch_warnings():
        # A default that is not JSON is left out of the schema; the function still has it.
        warnings.simplefilter("ignore", PydanticJsonSchemaWarning)
        schema = type_adapter(hint, config).json_schema(mode=mode)
    refuse_foreign(schema)
    return schema


def first_line(error: BaseException) -> str:
    """The first line of what an error says, or the name of its class."""
    return next(iter(str(error).splitlines()), type(error).__name__)
