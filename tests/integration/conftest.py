"""The functions in this process, on a database of the test's choice."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from starlette.testclient import TestClient

from functions import asgi
from functions.catalog import catalog
from functions.client import engine
from functions.settings import settings

Serve = Callable[[str], AbstractContextManager[TestClient]]

PER_INSTANCE = (settings, engine, catalog, asgi.application)


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Starts a new instance of the functions on a database."""

    @contextmanager
    def instance(url: str) -> Iterator[TestClient]:
        monkeypatch.setenv("DBOS_SYSTEM_DATABASE_URL", url)
        monkeypatch.setenv("AUTH", "none")
        for cached in PER_INSTANCE:
            cached.cache_clear()
        with TestClient(asgi.application()) as client:
            yield client
        engine().dispose()
        for cached in PER_INSTANCE:
            cached.cache_clear()

    return instance


@pytest.fixture
def functions(serve: Serve, database: str) -> Iterator[TestClient]:
    """The functions on a database in which a worker has started once."""
    with serve(database) as client:
        yield client
