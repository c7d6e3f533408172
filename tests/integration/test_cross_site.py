"""What a page of another origin can send without being able to read the answer."""

import hashlib
import json
from collections.abc import Iterator

import psycopg
import pytest
from starlette.testclient import TestClient

from .conftest import Serve

PAGE = "https://app.example.com"

EVIL = "https://evil.example.com"

NOWHERE = "postgresql://someone@127.0.0.1:1/nowhere"

FORM = {"Content-Type": "text/plain"}
"""What a page may send without a preflight."""

PATHS = ["/launch/greeting", "/cancel/some-id", "/resume/some-id", "/signal/some-id/topic"]


@pytest.fixture
def functions(serve: Serve, database: str) -> Iterator[TestClient]:
    """The functions for the pages of one origin."""
    with serve(database, CORS_ORIGINS=PAGE) as client:
        yield client


def launches(database: str) -> int:
    """How many workflows there are."""
    with psycopg.connect(database) as connection:
        row = connection.execute("select count(*) from dbos.workflow_status").fetchone()
    assert row
    return int(row[0])


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize("path", PATHS)
def test_a_post_of_another_page_is_refused(serve: Serve, site: str, path: str) -> None:
    """403 with a type of its own, before the database is asked."""
    with serve(NOWHERE) as functions:
        answer = functions.post(path, headers=FORM | {"Sec-Fetch-Site": site, "Origin": EVIL})

    assert answer.status_code == 403
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["type"] == "urn:dbos-functions:problem:cross-site-request"


@pytest.mark.parametrize(
    "origin", [{"Origin": EVIL}, {"Origin": "null"}, {"Origin": f"{PAGE}.evil.example.com"}, {}]
)
def test_a_page_that_is_not_allowed_launches_nothing(
    functions: TestClient, database: str, origin: dict[str, str]
) -> None:
    """Also while the pages of other origins are allowed; and it may not read why."""
    answer = functions.post("/launch/greeting", headers=origin | {"Sec-Fetch-Site": "cross-site"})

    assert answer.status_code == 403
    assert not any(header.startswith("access-control") for header in answer.headers)
    assert launches(database) == 0


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_page_that_cors_allows_may_launch(functions: TestClient, site: str) -> None:
    """And reads the answer."""
    answer = functions.post("/launch/greeting", headers={"Sec-Fetch-Site": site, "Origin": PAGE})

    assert answer.status_code == 202
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE


def test_any_page_may_launch_where_all_are_allowed(serve: Serve, database: str) -> None:
    """With `CORS_ORIGINS=*`."""
    with serve(database, CORS_ORIGINS="*") as functions:
        headers = {"Sec-Fetch-Site": "cross-site", "Origin": EVIL}
        answer = functions.post("/launch/greeting", headers=headers)

    assert answer.status_code == 202


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_the_own_page_and_the_user_may_launch(functions: TestClient, site: str) -> None:
    """As may everything that is no browser, which sends no such header."""
    assert functions.post("/launch/greeting", headers={"Sec-Fetch-Site": site}).status_code == 202
    assert functions.post("/launch/greeting").status_code == 202


def test_a_link_from_another_page_may_be_followed(functions: TestClient) -> None:
    """A GET changes nothing, and without CORS no other page can read its answer."""
    headers = {"Sec-Fetch-Site": "cross-site"}

    assert functions.get("/list", headers=headers).status_code == 200
    assert functions.head("/list", headers=headers).status_code == 200


def test_a_key_changes_nothing(serve: Serve, database: str) -> None:
    """A page of another origin that has somebody's key is not allowed for that."""
    digests = {"alice": hashlib.sha256(b"key").hexdigest()}
    with serve(database, AUTH="api_key", API_KEYS=json.dumps(digests)) as functions:
        headers = {"X-API-Key": "key", "Sec-Fetch-Site": "cross-site", "Origin": EVIL}
        answer = functions.post("/launch/greeting", headers=headers)

    assert answer.status_code == 403
