"""Who may call with `AUTH=api_key`, and whose workflows they see."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from starlette.testclient import TestClient

from .conftest import Serve

KEYS = {"alice": "alice's key", "bob": "bob's key", "carol": "ключ"}

DIGESTS = {name: hashlib.sha256(key.encode()).hexdigest() for name, key in KEYS.items()}

ACCESS = {"AUTH": "api_key", "API_KEYS": json.dumps(DIGESTS), "ADMINS": "carol"}

NOWHERE = "postgresql://someone@127.0.0.1:1/nowhere"

CHALLENGE = 'Bearer realm="dbos-functions"'

INVALID = f'{CHALLENGE}, error="invalid_token"'


@pytest.fixture
def functions(serve: Serve, database: str) -> Iterator[TestClient]:
    """The functions for those who have a key."""
    with serve(database, **ACCESS) as client:
        yield client


def key(name: str) -> dict[str, Any]:
    """The header of a caller; keys may have any characters."""
    return {"X-API-Key": KEYS[name].encode()}


@pytest.mark.parametrize(
    ("headers", "challenge"),
    [
        ({}, CHALLENGE),
        ({"Authorization": ""}, CHALLENGE),
        ({"Authorization": "Bearer"}, CHALLENGE),
        ({"Authorization": "Bearer  "}, CHALLENGE),
        ({"Authorization": "Basic YWxpY2U6a2V5"}, CHALLENGE),
        ({"Authorization": "alice's key"}, CHALLENGE),
        ({"X-API-Key": ""}, CHALLENGE),
        ({"Authorization": "Bearer wrong"}, INVALID),
        ({"Authorization": "Bearer ключ2".encode()}, INVALID),
        ({"Authorization": b"Bearer \xff\xfe"}, INVALID),
        ({"Authorization": f"Bearer {DIGESTS['alice']}"}, INVALID),
        ({"Authorization": b"Bearer alice's key\xa0"}, INVALID),
        ({"Authorization": b"Bearer \xa0alice's key"}, INVALID),
        ({"Authorization": b"\xa0Bearer alice's key"}, CHALLENGE),
        ({"Authorization": b"Bearer\xa0alice's key"}, CHALLENGE),
        ({"Authorization": b"Bearer alice's key\x85"}, INVALID),
        ({"X-API-Key": b"alice's key\xa0"}, INVALID),
        ({"X-API-Key": "wrong"}, INVALID),
        ({"X-API-Key": "alice"}, INVALID),
        ({"X-API-Key": "x" * 1_000_000}, INVALID),
        ({"X-API-Key": "wrong", "Authorization": "Bearer bob's key"}, INVALID),
    ],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/launch/greeting"),
        ("POST", "/launch/unknown?unknown=1"),
        ("PUT", "/launch/greeting"),
        ("GET", "/status/unknown"),
        ("OPTIONS", "/status/unknown"),
    ],
)
def test_without_a_key_nothing_is_looked_at(
    serve: Serve, headers: dict[str, Any], challenge: str, method: str, path: str
) -> None:
    """401 says how to authenticate, before method, parameters, body and database count."""
    with serve(NOWHERE, **ACCESS) as functions:
        answer = functions.request(method, path, headers=headers, content=b"{")

    assert answer.status_code == answer.json()["status"] == 401
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["WWW-Authenticate"] == challenge
    assert len(answer.content) < 200


@pytest.mark.parametrize(
    "headers",
    [
        {"X-API-Key": "alice's key"},
        {"Authorization": "Bearer alice's key"},
        {"Authorization": "bearer   alice's key \t"},
        {"X-API-Key": "alice's key", "Authorization": "Bearer of the platform's own"},
        {"X-API-Key": "ключ".encode()},
        {"Authorization": "Bearer ключ".encode()},
    ],
)
def test_a_key_comes_in_either_header(functions: TestClient, headers: dict[str, Any]) -> None:
    """`X-API-Key` leaves `Authorization` to a platform that wants it for itself."""
    assert functions.post("/launch/greeting", headers=headers).status_code == 202


@pytest.mark.parametrize(("length", "status"), [(16_384, 404), (16_385, 401)])
@pytest.mark.parametrize("header", ["X-API-Key", "Authorization"])
def test_a_key_that_is_too_long_is_not_looked_at(
    serve: Serve, database: str, header: str, length: int, status: int
) -> None:
    """401, even if it were known: megabytes would be decoded and hashed while others wait."""
    long = "k" * length
    keys = json.dumps({"alice": hashlib.sha256(long.encode()).hexdigest()})
    sent = long if header == "X-API-Key" else f"Bearer {long}"

    with serve(database, AUTH="api_key", API_KEYS=keys) as functions:
        answer = functions.get("/status/unknown", headers={header: sent})

    assert answer.status_code == status


@pytest.mark.parametrize("header", ["Authorization", "X-API-Key"])
@pytest.mark.parametrize("order", [1, -1])
def test_two_sets_of_credentials_are_none(serve: Serve, header: str, order: int) -> None:
    """400 names the header: whoever is in front may have looked at the other one."""
    scheme = "Bearer " if header == "Authorization" else ""
    values = [f"{scheme}alice's key", f"{scheme}wrong"][::order]
    with serve(NOWHERE, **ACCESS) as functions:
        answer = functions.post("/launch/greeting", headers=[(header, each) for each in values])

    assert answer.status_code == 400
    assert answer.json()["detail"] == f"The header {header} has to be given once."


def test_the_caller_is_the_workflows_user(functions: TestClient, database: str) -> None:
    """Workflows can ask for name and roles."""
    functions.post("/launch/greeting", headers=key("alice"))
    functions.post("/launch/greeting", headers=key("carol"))

    with psycopg.connect(database) as connection:
        users = connection.execute(
            "select authenticated_user, authenticated_roles from dbos.workflow_status order by 1"
        ).fetchall()
    assert users == [("alice", None), ("carol", '["admin"]')]


def test_a_workflow_of_someone_else_does_not_exist(functions: TestClient) -> None:
    """404, word for word as for one that nobody has launched; but admins see all."""
    url = functions.post("/launch/greeting", headers=key("alice")).headers["Location"]
    of_admin = functions.post("/launch/greeting", headers=key("carol")).headers["Location"]

    own = functions.get(url, headers=key("alice"))
    others = functions.get(url, headers=key("bob"))
    unknown = functions.get("/status/unknown", headers=key("bob"))

    assert own.status_code == 200
    assert others.status_code == unknown.status_code == 404
    assert others.text.replace(url.rpartition("/")[2], "unknown") == unknown.text
    assert functions.get(url, headers=key("carol")).status_code == 200
    assert functions.get(of_admin, headers=key("alice")).status_code == 404


def test_without_a_policy_all_see_all(serve: Serve, database: str) -> None:
    """With `AUTH=none` the platform has decided; also what has an owner is seen."""
    with serve(database, **ACCESS) as functions:
        url = functions.post("/launch/greeting", headers=key("alice")).headers["Location"]
    with serve(database) as functions:
        assert functions.get(url).status_code == 200


def test_keys_are_neither_logged_nor_answered(
    functions: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither good nor bad ones, nor their digests."""
    caplog.set_level("DEBUG")

    good = functions.post("/launch/unknown", headers=key("alice"))
    bad = functions.post("/launch/unknown", headers={"Authorization": "Bearer a bad key"})

    told = caplog.text + good.text + bad.text + str(good.headers) + str(bad.headers)
    assert (good.status_code, bad.status_code) == (404, 401)
    assert "alice's key" not in told
    assert "a bad key" not in told
    assert DIGESTS["alice"] not in told
