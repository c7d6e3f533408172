"""`functions/` deploys by itself: its files, its requirements, nothing else."""

import os
import shutil
import subprocess
import sys
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
    """A new virtual environment of this Python; returns where its commands are."""
    uv = os.environ.get("UV", "uv")
    python = str(directory / "bin" / "python")
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, directory], check=True)
    subprocess.run(
        [uv, "pip", "install", "--quiet", "--python", python, "-r", str(requirements)], check=True
    )
    return directory / "bin"
