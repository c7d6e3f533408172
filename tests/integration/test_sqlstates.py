"""What the functions say of an error that Postgres answers."""

import psycopg
import pytest
from starlette.testclient import TestClient

RAISE = """
    create function refuse() returns trigger language plpgsql as
        $$ begin raise exception 'secret' using errcode = '{state}'; end $$;
    create trigger refuse before insert on dbos.workflow_status
        for each row execute function refuse()
"""


@pytest.mark.parametrize(
    ("state", "status", "problem"),
    [
        ("54000", 400, "beyond-limits"),
        ("54001", 400, "beyond-limits"),
        ("55000", 503, "database-refused"),
        ("39000", 503, "database-refused"),
        ("08006", 503, "database-unavailable"),
        ("25006", 503, "database-unavailable"),
        ("28000", 503, "database-unavailable"),
        ("40001", 503, "database-unavailable"),
        ("40P01", 503, "database-unavailable"),
        ("53100", 503, "database-unavailable"),
        ("53200", 503, "database-unavailable"),
        ("55P03", 503, "database-unavailable"),
        ("57014", 503, "database-unavailable"),
        ("57P01", 503, "database-unavailable"),
        ("58030", 503, "database-unavailable"),
    ],
)
def test_only_what_may_be_over_later_is_called_unavailable(
    functions: TestClient, database: str, state: str, status: int, problem: str
) -> None:
    """Whatever it is, the answer says nothing of what Postgres has said."""
    with psycopg.connect(database) as connection:
        connection.execute(RAISE.format(state=state).encode())

    answer = functions.post("/launch/greeting")

    assert answer.status_code == status
    assert answer.json()["type"] == f"urn:dbos-functions:problem:{problem}"
    assert "secret" not in answer.text
    assert ("Retry-After" in answer.headers) == (status == 503)


@pytest.mark.parametrize("first", ["A", "é", "日", "😀"])
def test_no_deduplication_id_is_too_large_for_its_index(functions: TestClient, first: str) -> None:
    """The longest that is taken is stored, whatever its characters."""
    longest = "".join(chr(ord(first) + number % 25) for number in range(512))

    answer = functions.post("/launch/greeting", params={"deduplication_id": longest})

    assert answer.status_code == 202
