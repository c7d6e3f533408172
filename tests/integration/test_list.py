"""`list` and `steps` against a real database, without a worker."""

import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.rows import begin, finish, record, update

from .test_waiting import launched

SHOWN = [
    *("workflow_id", "workflow", "queue", "status", "created_at", "updated_at", "started_at"),
    *("completed_at", "attempts", "application_version", "links"),
]


def listed(functions: TestClient, query: str = "") -> list[str]:
    """The ids on a page."""
    answer = functions.get(f"/list?{query}")
    assert answer.status_code == 200, answer.text
    return [each["workflow_id"] for each in answer.json()["workflows"]]


def pages(functions: TestClient, query: str) -> list[list[str]]:
    """The ids on all pages."""
    found, cursor = [], ""
    while True:
        body = functions.get(f"/list?{query}{cursor}").json()
        found.append([each["workflow_id"] for each in body["workflows"]])
        if body["next_cursor"] is None:
            return found
        cursor = f"&cursor={body['next_cursor']}"


@pytest.fixture
def ids(functions: TestClient, database: str) -> list[str]:
    """Five workflows, a second apart, the newest first."""
    made = [launched(functions, name) for name in ("greeting", "order", "report", "order", "order")]
    for number, workflow_id in enumerate(made):
        update(database, workflow_id, created_at=1_000_000 + number * 1_000)
    return made[::-1]


def test_workflows_are_listed_newest_first(
    functions: TestClient, database: str, ids: list[str]
) -> None:
    """With all of `status` that needs no result, error or event."""
    finish(database, ids[0], "SUCCESS", output='"a secret"')

    body = functions.get("/list").json()

    assert [each["workflow_id"] for each in body["workflows"]] == ids
    assert body["next_cursor"] is None
    status = functions.get(f"/status/{ids[0]}").json()
    assert list(body["workflows"][0]) == SHOWN
    assert body["workflows"][0] == {name: status[name] for name in SHOWN}


def test_an_empty_list_is_an_answer(functions: TestClient) -> None:
    """And no page follows it."""
    assert functions.get("/list").json() == {"workflows": [], "next_cursor": None}


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("workflow=order", [0, 1, 3]),
        ("workflow=greeting&workflow=report", [2, 4]),
        ("workflow=unknown", []),
        ("status=CANCELLED", [1]),
        ("status=CANCELLED&status=PENDING", [0, 1]),
        ("status=CANCELLED&workflow=order&limit=1", [1]),
        ("since=1970-01-01T00:16:42Z", [0, 1, 2]),
        ("since=1970-01-01T00:16:42.001Z", [0, 1]),
        ("until=1970-01-01T00:16:42Z", [3, 4]),
        ("since=1970-01-01T01:16:41%2B01:00&until=1970-01-01T00:16:43Z", [2, 3]),
    ],
)
def test_filters_narrow_it(
    functions: TestClient, database: str, ids: list[str], query: str, wanted: list[int]
) -> None:
    """Each alone and all together; `since` is included, `until` is not."""
    update(database, ids[0], status="PENDING")
    update(database, ids[1], status="CANCELLED")

    assert listed(functions, query) == [ids[number] for number in wanted]


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 100])
def test_pages_together_are_all(functions: TestClient, ids: list[str], limit: int) -> None:
    """None twice, none left out, and no empty page at the end."""
    found = pages(functions, f"limit={limit}")

    assert [each for page in found for each in page] == ids
    assert all(len(page) == limit for page in found[:-1])
    assert found[-1]


def test_pages_are_stable(functions: TestClient, database: str, ids: list[str]) -> None:
    """What is added or ends while somebody reads moves nothing; equal times do not, either."""
    for workflow_id in ids:
        update(database, workflow_id, created_at=1_000)
    first = functions.get("/list?limit=2").json()
    functions.post("/launch/greeting", json=[{}] * 10)
    update(database, ids[0], status="CANCELLED")

    rest = listed(functions, f"limit=100&cursor={first['next_cursor']}")

    assert {each["workflow_id"] for each in first["workflows"]} | set(rest) == set(ids)
    assert len(rest) == 3


@pytest.mark.parametrize(
    "query",
    [
        *("limit=0", "limit=101", "limit=x", "limit=", "limit=1&limit=2", "status=DONE", "status="),
        *("since=yesterday", "since=2026-11-22", "until=2026-11-22T12:00:00", "cursor=x"),
        *("cursor=0", "cursor=W10", "cursor=.YQ", "cursor=1.YQ%0A", "cursor=1.YQ==", "cursor=é"),
        *("workflow=%00", "page=2"),
    ],
)
def test_a_malformed_query_is_refused(functions: TestClient, query: str) -> None:
    """400 names the parameter."""
    answer = functions.get(f"/list?{query}")

    assert answer.status_code == 400
    assert repr(query.partition("=")[0]) in answer.json()["detail"]


def test_there_is_nothing_below_the_list(functions: TestClient) -> None:
    """404, not the list."""
    assert functions.get("/list/anything").status_code == 404


def test_of_other_applications_nothing_is_listed(
    functions: TestClient, database: str, ids: list[str]
) -> None:
    """What belongs to none is anybody's."""
    update(database, ids[0], application_name="another")
    update(database, ids[1], application_name=None)

    assert listed(functions) == ids[1:]


def test_steps_are_told_in_order(functions: TestClient, database: str) -> None:
    """With times, errors and children; results stay where they are."""
    workflow_id = launched(functions)
    begin(database, workflow_id)
    declined = {"name": "Declined", "message": "no money"}
    error = json.dumps(declined | {"public": True})
    record(database, workflow_id, 2, "pay", error=error)
    record(database, workflow_id, 1, "reserve", output='"a secret"')
    record(database, workflow_id, 3, "child", child_workflow_id="other", completed_at_epoch_ms=None)
    record(database, workflow_id, 4, "pickled", error="gASV", serialization="py_pickle")

    answer = functions.get(f"/steps/{workflow_id}")

    step: dict[str, Any] = {"error": None, "child_workflow_id": None}
    times = [
        {"started_at": f"1970-01-01T00:00:0{n}.000Z", "completed_at": f"1970-01-01T00:00:0{n}.500Z"}
        for n in range(1, 5)
    ]
    reference = f"{workflow_id}/4"
    hidden = f"The log of its worker has the reason, under the reference {reference!r}."
    pickled = {"name": "Error", "message": hidden, "reference": reference}
    assert answer.status_code == 200
    assert answer.json() == {
        "workflow_id": workflow_id,
        "steps": [
            step | {"name": "reserve"} | times[0],
            step | {"name": "pay", "error": declined} | times[1],
            step
            | {"name": "child", "child_workflow_id": "other"}
            | times[2]
            | {"completed_at": None},
            step | {"name": "pickled", "error": pickled} | times[3],
        ],
    }


def test_a_workflow_without_steps_has_none(functions: TestClient) -> None:
    """200; 404 is for those that do not exist."""
    assert functions.get(f"/steps/{launched(functions)}").json()["steps"] == []
    assert functions.get("/steps/unknown").status_code == 404
