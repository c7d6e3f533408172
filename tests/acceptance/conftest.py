"""What the documented commands run in and on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fleet import Fleet, fleet
from tests.project import copy_project


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project with the tests' own workflows."""
    return copy_project(tmp_path / "project")


@pytest.fixture
def environ(database: str) -> dict[str, str]:
    """The settings of a worker and of functions on the test's database."""
    return {"DBOS_SYSTEM_DATABASE_URL": database, "AUTH": "none"}


@pytest.fixture
def workers(project: Path, database: str) -> Iterator[Fleet]:
    """Workers on the test's database."""
    with fleet(project, database) as started:
        yield started
