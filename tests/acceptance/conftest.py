"""What the documented commands run in and on."""

from pathlib import Path

import pytest

from tests.project import copy_project


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project with the tests' own workflows."""
    return copy_project(tmp_path / "project")


@pytest.fixture
def environ(database: str) -> dict[str, str]:
    """The settings of a worker and of functions on the test's database."""
    return {"DBOS_SYSTEM_DATABASE_URL": database, "AUTH": "none"}
