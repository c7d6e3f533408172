"""The functions in this process, on a database of the test's choice."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

import pytest
from starlette.testclient import TestClient

from functions import asgi
from functions.catalog import catalog
from functions.client import engine, statements
from functions.settings import settings
from functions.tokens import keys
from functions.waiting import watch

PER_INSTANCE = (settings, engine, statements, catalog, keys, watch, asgi.application)


class Serve(Protocol):
    """Starts a new instance of the functions on a database, with settings of the test's choice."""

    def __call__(self, url: str, **environ: str) -> AbstractContextManager[TestClient]: ...


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Starts a new instance of the functions on a database."""

    @contextmanager
    def instance(url: str, **environ: str) -> Iterator[TestClient]:
        with monkeypatch.context() as patch:
            patch.setenv("DBOS_SYSTEM_DATABASE_URL", url)
            patch.setenv("AUTH", "none")
            for name, value in environ.items():
                patch.setenv(name, value)
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
