"""What browsers let pages of other origins do with the functions."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from functions.cors import shared

from .conftest import Serve

PAGE = "https://app.example.com"

ORIGIN = {"Origin": PAGE}

PREFLIGHT = ORIGIN | {"Access-Control-Request-Method": "POST"}

DIGEST = hashlib.sha256(b"key").hexdigest()

ACCESS = {"AUTH": "api_key", "API_KEYS": json.dumps({"alice": DIGEST})}

KEY = {"X-API-Key": "key"}

NOWHERE = "postgresql://someone@127.0.0.1:1/nowhere"

SHOWN = "Location, Retry-After, ETag, Idempotency-Replayed, WWW-Authenticate"


@pytest.fixture
def functions(serve: Serve, database: str) -> Iterator[TestClient]:
    """The functions for the pages of two origins."""
    origins = f"http://localhost:3000,{PAGE}"
    with serve(database, CORS_ORIGINS=origins, **ACCESS) as client:
        yield client


@pytest.mark.parametrize("path", ["/launch/greeting", "/status/unknown", "/elsewhere"])
def test_a_preflight_needs_no_credentials(functions: TestClient, path: str) -> None:
    """Browsers send none with it."""
    asked = {"Access-Control-Request-Headers": "authorization,content-type,idempotency-key"}

    answer = functions.options(path, headers=PREFLIGHT | asked)

    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE
    assert answer.headers["Access-Control-Allow-Methods"] == "GET, HEAD, POST"
    allowed = answer.headers["Access-Control-Allow-Headers"].split(", ")
    assert {"Authorization", "X-API-Key", "Last-Event-ID", "traceparent"} <= set(allowed)
    assert "Origin" in answer.headers["Vary"]
    assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"Origin": "https://evil.example.com"}, "origin"),
        ({"Origin": "null"}, "origin"),
        ({"Origin": f"{PAGE}.evil.example.com"}, "origin"),
        ({"Access-Control-Request-Method": "DELETE"}, "method"),
        ({"Access-Control-Request-Headers": "x-other"}, "headers"),
    ],
)
def test_other_preflights_are_refused(
    functions: TestClient, headers: dict[str, str], reason: str
) -> None:
    """400 says why to people; browsers take it for a no."""
    answer = functions.options("/launch/greeting", headers=PREFLIGHT | headers)

    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["detail"].endswith(f"Disallowed CORS {reason}.")


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "status"),
    [
        ("POST", "/launch/greeting", KEY, {}, 202),
        ("POST", "/launch/greeting", KEY, {"name": 1}, 422),
        ("POST", "/launch/greeting?unknown=1", KEY, {}, 400),
        ("POST", "/launch/greeting", {}, {}, 401),
        ("POST", "/launch/greeting", {"X-API-Key": "wrong"}, {}, 401),
        ("GET", "/status/unknown", KEY, None, 404),
        ("GET", "/elsewhere", KEY, None, 404),
        ("DELETE", "/status/unknown", KEY, None, 405),
        ("OPTIONS", "/status/unknown", KEY, None, 405),
    ],
)
def test_a_page_may_read_every_answer(
    functions: TestClient, method: str, path: str, headers: dict[str, str], body: Any, status: int
) -> None:
    """Errors, too, and the headers that it needs."""
    answer = functions.request(method, path, headers=ORIGIN | headers, json=body)

    assert answer.status_code == status
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE
    assert answer.headers["Access-Control-Expose-Headers"] == SHOWN
    assert answer.headers["Vary"] == "Origin"


def test_a_page_may_read_a_status(functions: TestClient) -> None:
    """200 for a GET and a HEAD."""
    url = functions.post("/launch/greeting", headers=KEY).headers["Location"]

    answers = [functions.request(method, url, headers=ORIGIN | KEY) for method in ("GET", "HEAD")]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert {answer.headers["Access-Control-Allow-Origin"] for answer in answers} == {PAGE}


def test_a_page_may_read_that_the_database_is_away(serve: Serve) -> None:
    """503 with `Retry-After`."""
    with serve(NOWHERE, CORS_ORIGINS=PAGE) as functions:
        answer = functions.post("/launch/greeting", headers=ORIGIN)

    assert answer.status_code == 503
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE
    assert "Retry-After" in answer.headers["Access-Control-Expose-Headers"]


@pytest.mark.parametrize("headers", [{}, {"Origin": "https://evil.example.com"}])
def test_other_origins_may_read_nothing(functions: TestClient, headers: dict[str, str]) -> None:
    """And caches have to know that it depends on the origin."""
    answer = functions.post("/launch/greeting", headers=headers | KEY)

    assert answer.status_code == 202
    assert answer.headers["Vary"] == "Origin"
    assert not any(header.startswith("access-control") for header in answer.headers)


def test_all_origins_may_be_allowed(serve: Serve) -> None:
    """With `*`."""
    with serve(NOWHERE, CORS_ORIGINS="*", **ACCESS) as functions:
        preflight = functions.options("/launch/greeting", headers=PREFLIGHT)
        answer = functions.post("/launch/greeting", headers=ORIGIN)

    assert (preflight.status_code, answer.status_code) == (200, 401)
    assert preflight.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("path", ["/launch/greeting", "/status/unknown"])
def test_without_origins_there_is_no_cors(serve: Serve, path: str) -> None:
    """A preflight is a method that is not allowed."""
    with serve(NOWHERE) as functions:
        preflight = functions.options(path, headers=PREFLIGHT)
        answer = functions.put(path, headers=ORIGIN)

    assert (preflight.status_code, answer.status_code) == (405, 405)
    for headers in (preflight.headers, answer.headers):
        assert "Vary" not in headers
        assert not any(header.startswith("access-control") for header in headers)


def test_a_page_may_read_a_stream(functions: TestClient) -> None:
    """Server-sent events have the headers, too, beside their own."""

    @shared
    async def events(request: Request) -> Response:
        return EventSourceResponse(iter([{"data": "1"}]), headers={"Vary": "Accept"})

    with TestClient(Starlette(routes=[Route("/", events)])) as client:
        answer = client.get("/", headers=ORIGIN)

    assert "data: 1" in answer.text
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE
    assert answer.headers["Vary"] == "Accept, Origin"
