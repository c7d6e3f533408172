"""Postgres goes away and comes back."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from local_dev.bench.processes import wait_until, worker
from local_dev.postgres import postgres
from tests.calls import finished, launched
from tests.processes import ALL, serve


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[tuple[str, ExitStack]]:
    """A PostgreSQL of the test's own, which stops when the stack is closed."""
    with ExitStack() as running:
        yield running.enter_context(postgres(tmp_path / "data")), running


def test_all_goes_on_when_postgres_comes_back(
    root: Path, tmp_path: Path, own_server: tuple[str, ExitStack]
) -> None:
    """503 meanwhile; neither the functions nor the worker are started again."""
    url, running = own_server
    environ = {"DBOS_SYSTEM_DATABASE_URL": url, "AUTH": "none"}
    with worker(root, environ), serve(ALL, root, environ) as functions:
        before = finished(functions, launched(functions, "greeting"))
        running.close()
        away = functions.post("/launch/greeting")
        with postgres(tmp_path / "data"):
            wait_until(lambda: functions.get("/status/any").status_code == 404)
            after = finished(functions, launched(functions, "greeting"))

    assert away.status_code == 503
    assert away.headers["Retry-After"]
    assert (before["status"], after["status"]) == ("SUCCESS", "SUCCESS")
