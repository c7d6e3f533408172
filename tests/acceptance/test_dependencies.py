"""What a workflow needs is added by `uv add`, and deployed with the worker alone."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.project import ROOT

ADDED = "iniconfig"
"""A small package without dependencies, which only pytest needs here."""

UV = os.environ.get("UV", "uv")


@pytest.fixture(scope="module")
def added(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the builder of an image is sent first, after `uv add`."""
    directory = tmp_path_factory.mktemp("added")
    for file in ("pyproject.toml", "uv.lock"):
        shutil.copy(ROOT / file, directory)
    run(directory, UV, "add", "--quiet", "--no-sync", ADDED)
    return directory


@pytest.mark.parametrize(("deployable", "imports"), [("worker", True), ("functions", False)])
def test_the_image_of_the_worker_alone_has_what_was_added(
    added: Path, deployable: str, imports: bool
) -> None:
    """Each installs with the command of its Dockerfile."""
    dockerfile = (ROOT / deployable / "Dockerfile").read_text()
    installing = re.findall(r"^ +uv (sync .+)$", dockerfile, re.MULTILINE)
    look = f"from importlib.util import find_spec; print(find_spec({ADDED!r}) is not None)"

    run(added, UV, *installing[0].split(), "--quiet", "--python", sys.executable)
    found = run(added, str(added / ".venv" / "bin" / "python"), "-c", look)

    assert len(installing) == 1
    assert found == f"{imports}\n"


def test_the_release_says_that_the_worker_alone_has_what_was_added(added: Path) -> None:
    """In the files that name what each deployable is made of."""
    (added / ".github").mkdir()
    shutil.copy(ROOT / ".github" / "sbom", added / ".github")

    run(added, str(added / ".github" / "sbom"), str(added / "sbom"))

    names = {
        file.name.partition(".")[0]: {
            each["name"] for each in json.loads(file.read_text())["components"]
        }
        for file in (added / "sbom").iterdir()
    }
    assert len(names) == 5
    assert all({"dbos", "psycopg"} <= each for each in names.values())
    assert [name for name, each in names.items() if ADDED in each] == ["worker"]


def run(directory: Path, *command: str) -> str:
    """What a command writes that succeeds."""
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout
