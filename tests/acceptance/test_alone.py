"""`functions/` deploys by itself: its files, its requirements, nothing else."""

import os
import shutil
import subprocess
from pathlib import Path

from tests.calls import finished
from tests.processes import serve, worker


def test_functions_run_with_only_their_requirements(
    root: Path, tmp_path: Path, environ: dict[str, str]
) -> None:
    """Copied to an empty directory, as a FaaS platform does."""
    source = tmp_path / "source"
    shutil.copytree(root / "functions", source, ignore=shutil.ignore_patterns("__pycache__"))
    framework = install(source / "requirements.txt", tmp_path / "venv") / "functions-framework"
    options = ("--source", "main.py", "--port", "{port}")

    with (
        worker(root, environ),
        serve((str(framework), *options, "--target", "launch"), source, environ) as launch,
        serve((str(framework), *options, "--target", "status"), source, environ) as status,
    ):
        answer = launch.post("/greeting", json={"name": "World"})
        body = finished(status, f"/{answer.json()['workflow_id']}")
        refused = launch.post("/greeting", json={"name": 1})

    assert body["result"] == "Hello, World!"
    assert refused.json()["errors"][0]["pointer"] == "/name"


def install(requirements: Path, directory: Path) -> Path:
    """A new virtual environment; returns where its commands are."""
    uv = os.environ.get("UV", "uv")
    subprocess.run([uv, "venv", "--quiet", directory], check=True)
    install = [uv, "pip", "install", "--quiet", "--requirements", str(requirements)]
    subprocess.run(install, check=True, env=os.environ | {"VIRTUAL_ENV": str(directory)})
    return directory / "bin"
