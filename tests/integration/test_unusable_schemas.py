"""Schemas in the catalog that no worker of this project publishes."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.testclient import TestClient

from local_dev.bench.processes import wait_until

from .test_waiting import launched


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Somebody who would notice that a schema is fetched."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        yield listening


def nested(levels: int) -> str:
    """A schema within a schema, and so on."""
    return levels * '{"items": ' + "{}" + levels * "}"


UNUSABLE = [
    '{"$ref": "URL"}',
    '{"$ref": "URL#/$defs/Name"}',
    '{"$ref": "FILE"}',
    '{"properties": {"name": {"$ref": "URL"}}}',
    '{"$id": "URL", "$ref": "other.json"}',
    '{"$id": "URL", "$ref": "#/$defs/Name"}',
    '{"$schema": "URL"}',
    '{"$dynamicRef": "URL"}',
    '{"$ref": "relative.json"}',
    '{"$ref": "#/$defs/Missing"}',
    '{"$ref": 1}',
    '{"type": "nonsense"}',
    '{"minLength": 1e999}',
    f'{{"minLength": {"1" * 5000}}}',
    '{"pattern": "("}',
    '"text"',
    "null",
    "true",
    "[1]",
    nested(2000),
]


def publish(database: str, column: str, schema: str) -> None:
    """Write a schema of the workflow `greeting` as somebody with a worker's role might."""
    statement = f"update catalog.workflows set {column} = %s where name = 'greeting'"
    with psycopg.connect(database) as connection:
        connection.execute(statement.encode(), (schema,))


def filled(schema: str, listener: socket.socket, file: Path) -> str:
    """The schema with an address that leads to the test, in place of `URL` and `FILE`."""
    file.write_text("{}")
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/schema.json"
    return schema.replace("URL", url).replace("FILE", file.as_uri())


def fetched(listener: socket.socket) -> bool:
    """Whether somebody has called."""
    try:
        listener.accept()
    except BlockingIOError:
        return False
    return True


@pytest.mark.parametrize("schema", UNUSABLE, ids=lambda schema: schema[:40])
def test_an_unusable_schema_is_the_end_of_its_workflow_alone(
    functions: TestClient, database: str, listener: socket.socket, tmp_path: Path, schema: str
) -> None:
    """503 with a type of its own; nothing is fetched, and the document is without it."""
    publish(database, "arguments", filled(schema, listener, tmp_path / "schema.json"))

    answer = functions.post("/launch/greeting", json={"name": "World"})
    other = functions.post("/launch/report", json={"length": 1})
    described = functions.get("/openapi.json")

    assert answer.status_code == 503
    assert answer.json()["type"] == "urn:dbos-functions:problem:unusable-schema"
    assert answer.headers["Retry-After"] == "30"
    assert "greeting" in answer.json()["detail"]
    assert other.status_code == 202
    assert "/launch/report" in described.json()["paths"]
    assert "/launch/greeting" not in described.json()["paths"]
    assert not fetched(listener)


@pytest.mark.parametrize("schema", ['{"$ref": "URL"}', "null", nested(2000)], ids=str.__len__)
@pytest.mark.parametrize("column", ["result", "signals"])
def test_the_other_schemas_are_not_fetched_either(
    functions: TestClient, database: str, listener: socket.socket, column: str, schema: str
) -> None:
    """No answer is a 500, whatever is in the row."""
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/schema.json"
    topic = json.dumps({"topic": {"$ref": url}})
    publish(database, column, topic if column == "signals" else schema.replace("URL", url))
    workflow_id = launched(functions, "report")

    answers = [
        functions.post("/launch/greeting", json={"name": "World"}),
        functions.get("/openapi.json"),
        functions.post(f"/signal/{workflow_id}/topic", json=1),
    ]

    assert [answer.status_code for answer in answers] == [202, 200, 202]
    assert "/launch/greeting" not in answers[1].json()["paths"]
    assert not fetched(listener)


def test_a_signal_is_not_checked_by_a_schema_from_elsewhere(
    functions: TestClient, database: str, listener: socket.socket
) -> None:
    """503, since nobody can say whether it fits."""
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/schema.json"
    publish(database, "signals", json.dumps({"topic": {"$ref": url}}))
    workflow_id = launched(functions)

    answer = functions.post(f"/signal/{workflow_id}/topic", json=1)

    assert answer.status_code == 503
    assert answer.json()["type"] == "urn:dbos-functions:problem:unusable-schema"
    assert not fetched(listener)


def test_a_schema_that_is_mended_is_seen_at_once(functions: TestClient, database: str) -> None:
    """A worker that has just published must not wait for a minute."""
    publish(database, "arguments", "null")
    assert functions.post("/launch/greeting").status_code == 503
    publish(database, "arguments", "{}")

    wait_until(lambda: functions.post("/launch/greeting").status_code == 202)


@pytest.mark.parametrize("levels", [50, 200, 250])
def test_a_deep_schema_is_described_or_left_out(
    functions: TestClient, database: str, levels: int
) -> None:
    """The document is an answer in any case."""
    publish(database, "arguments", nested(levels))

    assert functions.get("/openapi.json").status_code == 200


def test_the_document_sends_nobody_elsewhere(functions: TestClient, database: str) -> None:
    """Not even where what is said to be elsewhere is in the schema."""
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {
            "$id": {"$id": "http://elsewhere.example/a", "type": "string"},
            "name": {"$ref": "http://elsewhere.example/a"},
            "meta": {"$ref": "https://json-schema.org/draft/2020-12/schema"},
            "pet": {
                "oneOf": [{"$ref": "#/$defs/Cat"}],
                "discriminator": {
                    "propertyName": "kind",
                    "mapping": {"cat": "#/$defs/Cat", "dog": "http://elsewhere.example/dog"},
                },
            },
        },
        "$defs": {"Cat": {"type": "object"}},
    }
    publish(database, "arguments", json.dumps(schema))

    described = functions.get("/openapi.json").json()

    assert "/launch/greeting" in described["paths"]
    assert "elsewhere.example" not in json.dumps(described)
    assert "json-schema.org" not in json.dumps(described)
    assert [error.message for error in OpenAPIV31SpecValidator(described).iter_errors()] == []
