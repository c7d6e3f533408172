"""The OpenAPI document of a catalog."""

import enum
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, Generic, Literal, TypeVar
from urllib.parse import quote, unquote

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import BaseModel, Field

from functions import errors
from functions.catalog import Workflow
from functions.openapi import document
from tests.shipped import shipped
from worker.signatures import arguments_schema, result_schema

T = TypeVar("T")


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Item:
    sku: str
    colour: Colour = Colour.RED


class Cat(BaseModel):
    kind: Literal["cat"]


class Dog(BaseModel):
    kind: Literal["dog"]
    above: "Dog | None" = None


class Box(BaseModel, Generic[T]):
    content: T
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]


def typed(box: Box[Item], more: list[Item], day: date | None = None) -> Box[Dog]:
    """Types of all kinds."""
    raise NotImplementedError


LINE = {"type": "object", "properties": {"sku": {"type": "string"}}, "required": ["sku"]}

NODE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "$ref": {"type": "string"},
        "value": {"const": {"$ref": "#/$defs/Line"}},
        "line": {"$ref": "#/$defs/Line"},
        "above": {"$ref": "#"},
        "children": {"type": "array", "items": {"$ref": "#/$defs/a~1b~0c"}},
    },
}

TREE = {"$ref": "#/$defs/a~1b~0c", "$defs": {"a/b~c": NODE, "Line": LINE}}

UNDOCUMENTED = {500}
"""What no caller who keeps to the document can get, unless there is a mistake in the functions."""

NASTY = ["send mail/é", "send-mail-e", "a{b}", "{}", "日本", "%2F", "#", "status", "2fa", "x" * 300]


def made(name: str, **told: Any) -> Workflow:
    """A workflow that takes and gives anything, unless told otherwise."""
    usual: dict[str, Any] = {
        "arguments": {"type": "object"},
        "result": {},
        "signals": {},
        "partitioned": False,
    }
    return Workflow(name=name, queue="task_queue", description="", **usual | told)


def of(function: Callable[..., Any]) -> Workflow:
    """What a worker would publish of a function."""
    return made(
        function.__name__, arguments=arguments_schema(function), result=result_schema(function)
    )


def valid(workflows: list[Workflow], auth: str = "none") -> dict[str, Any]:
    """The document, after OpenAPI's own JSON Schema and rules have been applied to it."""
    described = document(workflows, auth=auth)
    assert [error.message for error in OpenAPIV31SpecValidator(described).iter_errors()] == []
    return described


def operations(described: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """All operations, by their ids."""
    found = [operation for path in described["paths"].values() for operation in path.values()]
    by_id = {operation["operationId"]: operation for operation in found}
    assert len(by_id) == len(found)
    return by_id


def references(node: Any) -> Iterator[str]:
    """All `$ref`s, but not what merely has that name."""
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for keyword, value in node.items():
            if keyword != "const":
                yield from references(value)
    elif isinstance(node, list):
        for each in node:
            yield from references(each)


def fits(described: dict[str, Any], component: str, value: Any) -> bool:
    """Whether `value` is valid for a component."""
    root = {
        "$ref": f"#/components/schemas/{component}",
        "components": described["components"],
    }
    return bool(jsonschema_rs.is_valid(root, value))


@pytest.mark.parametrize("auth", ["none", "api_key", "jwt"])
def test_the_shipped_workflows_make_a_valid_document(auth: str) -> None:
    """However callers authenticate."""
    described = valid(shipped(), auth)

    assert {"launchGreeting", "launchOrder", "launchReport"} < operations(described).keys()
    assert described["paths"]["/launch/greeting"]["post"]["description"] == "Greet someone by name."


RUN = {
    "workflow_id": "1",
    "workflow": "greeting",
    "queue": "task_queue",
    "status": "SUCCESS",
    "created_at": "2026-11-22T12:00:00.000Z",
    "updated_at": None,
    "started_at": None,
    "completed_at": None,
    "attempts": 1,
    "application_version": "1",
    "progress": None,
    "links": {"status": "/status/1"},
}


def test_arguments_and_results_are_typed() -> None:
    """As the worker has published them; a result belongs to the workflow's name."""
    described, run = valid(shipped()), RUN

    assert fits(described, "GreetingArguments", {"name": "World"})
    assert not fits(described, "GreetingArguments", {"name": 1})
    assert not fits(described, "ReportArguments", {"title": "x" * 201})
    assert fits(described, "GreetingStatus", run | {"result": "Hello, World!"})
    assert not fits(described, "GreetingStatus", run | {"result": 1})
    assert not fits(described, "GreetingStatus", run)
    assert not fits(described, "OrderStatus", run | {"result": "Hello, World!"})
    assert fits(described, "Status", run | {"result": 1})
    assert fits(described, "GreetingStatus", run | {"status": "DELAYED"})
    assert not fits(described, "GreetingStatus", run | {"status": "ERROR"})


def test_what_is_too_large_is_documented() -> None:
    """It is null, and only then, beside its size."""
    described = valid(shipped())
    run = RUN | {"result": None, "events": {"a": None}, "events_bytes": {"a": 5_000_000}}

    assert fits(described, "GreetingStatus", run | {"result_bytes": 5_000_000})
    assert not fits(described, "GreetingStatus", run)
    assert not fits(described, "GreetingStatus", run | {"result_bytes": "large"})
    assert not fits(described, "Status", run | {"progress_bytes": -1})
    assert fits(described, "Page", {"workflows": [RUN | {"progress": 1}], "next_cursor": None})


def test_a_body_is_required_where_an_argument_is() -> None:
    """An object of exactly the arguments, or a batch of them."""
    described = valid(
        [made("must", arguments={"type": "object", "required": ["x"]}), made("may")],
    )

    bodies = {id: operations(described)[id]["requestBody"] for id in ("launchMust", "launchMay")}
    assert bodies["launchMust"]["required"] is True
    assert bodies["launchMay"]["required"] is False
    [_, batch] = bodies["launchMust"]["content"]["application/json"]["schema"]["anyOf"]
    assert batch == {
        "type": "array",
        "items": {"$ref": "#/components/schemas/MustArguments"},
        "minItems": 1,
        "maxItems": 1000,
    }


def test_names_may_hold_anything() -> None:
    """Paths lead back to them; what generators make identifiers of is made of letters."""
    described = valid([made(name, result=TREE) for name in NASTY])

    paths = [path for path in described["paths"] if path.startswith("/launch/")]
    assert {unquote(path.removeprefix("/launch/")) for path in paths} == set(NASTY)
    assert all(re.fullmatch("[A-Za-z][A-Za-z0-9]*", id) for id in operations(described))


def test_definitions_become_components() -> None:
    """Recursive ones, those with odd names, and those of the same name but other content."""
    other = {"type": "integer", "$defs": {"Line": {"type": "integer"}}, "$ref": "#/$defs/Line"}
    described = valid([made("one", result=TREE), made("two", result=other)])

    schemas = described["components"]["schemas"]
    assert all(reference.startswith("#/components/") for reference in references(described))
    assert not any("$defs" in schema for schema in schemas.values())
    assert schemas["OneResultABC"]["properties"]["value"] == NODE["properties"]["value"]
    assert fits(described, "OneResult", {"children": [{"children": [], "line": {"sku": "1"}}]})
    assert not fits(described, "OneResult", {"children": [{"line": {}}]})
    assert not fits(described, "OneResult", {"above": {"line": 1}})
    assert fits(described, "TwoResult", 1)
    assert not fits(described, "TwoResult", "1")


def test_every_type_of_python_is_kept() -> None:
    """Enums, dataclasses, models that are nested, generic, recursive, or told apart by a tag."""
    described = valid([of(typed)])

    item = {"sku": "1", "colour": "red"}
    dog = {"kind": "dog", "above": {"kind": "dog", "above": None}}
    assert fits(described, "TypedArguments", {"box": {"content": item, "pet": dog}, "more": [item]})
    assert not fits(described, "TypedArguments", {"box": {"content": 1, "pet": dog}, "more": []})
    assert not fits(described, "TypedArguments", {"box": {"content": item, "pet": {}}, "more": []})
    assert fits(described, "TypedResult", {"content": dog, "pet": {"kind": "cat"}})
    assert not fits(described, "TypedResult", {"content": item, "pet": {"kind": "cat"}})
    box = described["components"]["schemas"]["TypedArgumentsBoxItem"]
    assert box["properties"]["pet"]["discriminator"]["mapping"] == {
        "cat": "#/components/schemas/TypedArgumentsCat",
        "dog": "#/components/schemas/TypedArgumentsDog",
    }


def test_a_partition_key_belongs_to_a_partitioned_queue() -> None:
    """Where it is required, and where there is no deduplication."""
    described = valid([made("apart", partitioned=True), made("together")])

    names = {
        id: {each["$ref"].rpartition("/")[2] for each in operations(described)[id]["parameters"]}
        for id in ("launchApart", "launchTogether")
    }
    assert names["launchApart"] - names["launchTogether"] == {"PartitionKey"}
    assert names["launchTogether"] - names["launchApart"] == {"DeduplicationId", "OnDuplicate"}
    assert described["components"]["parameters"]["PartitionKey"]["required"] is True


def test_a_declared_signal_has_a_path_of_its_own() -> None:
    """Two workflows may listen to the same topic; any other topic takes anything."""
    described = valid(
        [made("one", signals={"pay/é": LINE}), made("two", signals={"pay/é": {"type": "null"}})]
    )

    body = operations(described)["signalPayE"]["requestBody"]["content"]["application/json"]
    assert "/signal/{workflow_id}/pay%2F%C3%A9" in described["paths"]
    assert body["schema"]["anyOf"] == [
        {"$ref": "#/components/schemas/OnePayESignal"},
        {"$ref": "#/components/schemas/TwoPayESignal"},
    ]
    assert "/signal/{workflow_id}/{topic}" in described["paths"]


@pytest.mark.parametrize(
    ("auth", "schemes"), [("none", []), ("api_key", ["bearer", "apiKey"]), ("jwt", ["bearer"])]
)
def test_callers_are_told_how_to_authenticate(auth: str, schemes: list[str]) -> None:
    """401 is there where it can happen."""
    described = valid(shipped(), auth)

    assert described.get("security", []) == [{name: []} for name in schemes]
    assert all(
        ("401" in operation["responses"]) == bool(schemes)
        for operation in operations(described).values()
    )


def test_every_error_is_documented() -> None:
    """By its title, under its status code, with the headers that it has."""
    described = valid(shipped(), "api_key")

    answers = {
        code: described["components"]["responses"][f"Problem{code}"]
        for operation in operations(described).values()
        for code in map(int, operation["responses"])
        if code >= 400
    }
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    for kind in kinds:
        if issubclass(kind, errors.FunctionError) and kind.status not in UNDOCUMENTED:
            assert kind.title in answers[kind.status]["description"]
            assert kind.headers.keys() <= answers[kind.status].get("headers", {}).keys()


def test_the_version_is_that_of_the_document() -> None:
    """It changes when something else does, and only then."""
    versions = [
        document(workflows, auth=auth)["info"]["version"]
        for workflows, auth in [
            ([made("a"), made("b")], "none"),
            ([made("b"), made("a")], "none"),
            ([made("a")], "none"),
            ([made("a"), made("b")], "jwt"),
        ]
    ]

    assert versions[0] == versions[1]
    assert len(set(versions)) == 3


@given(st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=5, unique=True))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_no_two_names_become_one(names: list[str]) -> None:
    """Whatever they have in common, each has an operation and components of its own."""
    definitions = {name: {"const": name} for name in names}
    choice = {"anyOf": [{"$ref": f"#/$defs/{escaped(name)}"} for name in names]}
    workflows = [made(name, result=choice | {"$defs": definitions}) for name in names]

    described = document(workflows, auth="none")

    assert len([id for id in operations(described) if id.startswith("launch")]) == len(names)
    schemas = described["components"]["schemas"]
    assert len([name for name in schemas if "const" in schemas[name]]) == len(names) ** 2
    assert all(re.fullmatch("[A-Za-z0-9]+", name) for name in schemas)
    results = [name for name in schemas if schemas[name].keys() == {"anyOf"}]
    assert all(fits(described, result, name) for result in results for name in names)


def escaped(name: str) -> str:
    """As a part of a JSON pointer in a URL."""
    return quote(name.replace("~", "~0").replace("/", "~1"))
