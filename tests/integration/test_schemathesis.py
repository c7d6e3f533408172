"""Schemathesis asks the functions what their OpenAPI document allows, and what it does not."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import psycopg
import pytest
import schemathesis
from dbos import DBOSClient
from hypothesis import HealthCheck, settings
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import positive_data_acceptance
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from functions import asgi
from functions.openapi import document
from functions.waiting import LONGEST as LONGEST_WAIT
from tests.shipped import shipped

from .conftest import Serve

CALLER, KEY = "schemathesis", "secret"

STATES = {
    "cancelled": "CANCELLED",
    "0": "ENQUEUED",
    "given-up": "MAX_RECOVERY_ATTEMPTS_EXCEEDED",
    "pending": "PENDING",
    "delayed": "DELAYED",
    "succeeded": "SUCCESS",
    "failed": "ERROR",
}
"""The ids of the workflows that there are, and their states; `0` is the first that is tried."""

METHODS = ["GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "TRACE"]
"""Those that are answered with 405 where they are not documented."""

CONFIG = {
    "seed": 1,
    "generation": {"deterministic": True, "max-examples": 20},
    "phases": {"coverage": {"unexpected-methods": METHODS}},
    "dictionaries": {"ids": {"values": [*STATES]}},
    "parameters": {"path.workflow_id": {"dictionary": "ids", "probability": 0.8}},
    "auth": {"openapi": {"bearer": {"bearer": KEY}}},
}

LONG = 0.05
"""Seconds; no worker is there, so nothing comes of waiting."""


async def functions_of_the_test(scope: Scope, receive: Receive, send: Send) -> None:
    """The functions as one application, on the database of the test that runs."""
    if scope["type"] == "http":
        await asgi.application()(scope, receive, send)


def published() -> dict[str, Any]:
    """The document of the shipped workflows."""
    return document(shipped(), auth="api_key")


api = schemathesis.openapi.from_dict(published(), config=SchemathesisConfig.from_dict(CONFIG))
api.app = functions_of_the_test


@pytest.fixture
def functions(serve: Serve, database: str) -> Iterator[TestClient]:
    """The functions, for one caller."""
    keys = json.dumps({CALLER: hashlib.sha256(KEY.encode()).hexdigest()})
    with serve(database, AUTH="api_key", API_KEYS=keys) as client:
        client.headers["Authorization"] = f"Bearer {KEY}"
        yield client


@pytest.fixture
def workflows(functions: TestClient, database: str) -> None:
    """Orders of the caller in every state that there is."""
    client = DBOSClient(system_database_url=database)
    for workflow_id in STATES:
        client.enqueue(
            {
                "workflow_name": "order",
                "queue_name": "order_queue",
                "workflow_id": workflow_id,
                "authenticated_user": CALLER,
            }
        )
    client.destroy()
    with psycopg.connect(database) as connection:
        connection.cursor().executemany(
            "update dbos.workflow_status set status = %s where workflow_uuid = %s",
            [(state, workflow_id) for workflow_id, state in STATES.items()],
        )


@pytest.fixture
def answers() -> Iterator[Counter[int]]:
    """How often each status code was answered; nothing was tested if all was refused."""
    counted = Counter[int]()
    yield counted
    assert counted[200] + counted[202] > 0


@pytest.mark.usefixtures("workflows")
@api.parametrize()
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_answers_are_as_documented(case: schemathesis.Case[Any], answers: Counter[int]) -> None:
    """And what does not fit is refused, with every method and with none of the credentials."""
    with suppress(ValueError):
        if LONG < float(str(case.query.get("wait"))) <= LONGEST_WAIT:
            case.query["wait"] = LONG

    answer = case.call()

    answers[answer.status_code] += 1
    if is_inexpressible(answer):
        case.validate_response(answer, excluded_checks=[positive_data_acceptance])
    else:
        case.validate_response(answer)


def is_inexpressible(answer: schemathesis.Response) -> bool:
    """Whether something was refused that no schema of a single parameter can tell."""
    said = answer.json()["detail"] if answer.status_code in (400, 422) else ""
    reasons = "cannot be used with (a batch|an Idempotency-Key)|Key has been used"
    return re.search(reasons, said) is not None


def test_the_document_is_served(functions: TestClient) -> None:
    """The one that the requests come from."""
    assert functions.get("/openapi.json").json() == published()
