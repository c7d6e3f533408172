"""A PostgreSQL for the session, a migrated template, a cheap copy of it for every test."""

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from local_dev.bench.pgbouncer import installed, pgbouncer
from local_dev.bench.proxy import Proxy
from local_dev.bench.stage import copy_database, database_url, prepare
from local_dev.postgres import postgres
from tests.project import ROOT

NewDatabase = Callable[[str], str]

Pooler = Callable[..., AbstractContextManager[str]]


MOST_PROCESSES = 8
"""Each may start a PostgreSQL, a worker and a Chromium."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Two for each processor: most tests wait for processes that they have started."""
    return min(2 * (os.cpu_count() or 1), MOST_PROCESSES)


def pytest_addoption(parser: pytest.Parser) -> None:
    """What `-m chaos` can be told."""
    parser.addoption("--chaos-seconds", type=float, default=300.0, help="how long to break things")
    parser.addoption("--chaos-seed", type=int, help="repeat what was done with this seed")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of the session's PostgreSQL."""
    with postgres(tmp_path_factory.mktemp("postgres") / "data") as url:
        yield url


@pytest.fixture(scope="session")
def template(server: str) -> str:
    """The name of a database in which a worker has started once."""
    prepare(database_url(server, "template_worker"))
    return "template_worker"


@pytest.fixture(scope="session")
def new_database(server: str) -> NewDatabase:
    """Makes a copy of the database it is given; returns its URL."""
    numbers = itertools.count()

    def create(origin: str) -> str:
        return copy_database(server, origin, f"test_{next(numbers)}")

    return create


@pytest.fixture
def database(new_database: NewDatabase, template: str) -> str:
    """The URL of a database in which a worker has started once."""
    return new_database(template)


@pytest.fixture
def empty_database(new_database: NewDatabase) -> str:
    """The URL of a database in which no worker has ever started."""
    return new_database("template1")


@pytest.fixture
def roles(empty_database: str) -> Iterator[tuple[str, str]]:
    """A role for the worker and one for the functions, which own nothing."""
    suffix = urlsplit(empty_database).path.removeprefix("/")
    names = f"worker_{suffix}", f"functions_{suffix}"
    with psycopg.connect(empty_database, autocommit=True) as connection:
        for name in names:
            connection.execute(f"create role {name} login".encode())
        yield names
        for name in names:
            connection.execute(f"drop owned by {name} cascade".encode())
            connection.execute(f"drop role {name}".encode())


@pytest.fixture
def proxy(database: str) -> Iterator[Proxy]:
    """A wire to the test's database, at a TCP port, that can be measured and cut."""
    with Proxy(database) as proxy:
        yield proxy


@pytest.fixture
def pooler(database: str) -> Pooler:
    """Starts a PgBouncer in front of the test's database; without one a skip, in CI a failure."""
    program = installed()
    if program is None:
        assert not os.environ.get("CI"), "pgbouncer is needed"
        pytest.skip("pgbouncer is not installed")
    return partial(pgbouncer, program, database)


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's own directory."""
    return ROOT


def acting(role: str, url: str) -> str:
    """The same database for another role."""
    return url.replace("//postgres@", f"//{role}@")
