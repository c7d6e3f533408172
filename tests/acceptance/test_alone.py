"""`functions/` deploys by itself: its files, its requirements, nothing else."""

import os
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from local_dev.bench.processes import wait_until, worker
from tests.processes import serve

FUNCTIONS = (
    *("launch", "status", "cancel", "resume", "signal"),
    *("list", "steps", "explain", "openapi"),
)

PLATFORMS = {
    "aws": ("lambda_function.py", ["mangum"]),
    "azure": ("function_app.py", ["azure"]),
    "vercel": ("platforms/vercel/index.py", []),
}
"""The file that each platform starts, and what it needs that others do not."""

ADAPTERS = ["azure", "functions_framework", "mangum", "uvicorn"]


@pytest.fixture(scope="module")
def source(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`functions/` in an empty directory, as a FaaS platform has it."""
    copied = tmp_path_factory.mktemp("alone") / "source"
    shutil.copytree(root / "functions", copied, ignore=shutil.ignore_patterns("__pycache__"))
    return copied


def test_every_function_deploys_alone(
    root: Path, source: Path, tmp_path: Path, environ: dict[str, str]
) -> None:
    """Each a target of functions-framework, with nothing but its requirements."""
    ignored = (root / "functions" / ".gcloudignore").read_text().split("\n")[1:]
    uploaded = tmp_path / "uploaded"
    names = [name.rstrip("/") for name in ignored if name]
    shutil.copytree(source, uploaded, ignore=shutil.ignore_patterns(*names))
    framework = install(uploaded / "requirements.txt", tmp_path / "venv") / "functions-framework"
    options = ("--source", "main.py", "--port", "{port}", "--target")
    with ExitStack() as stack:
        stack.enter_context(worker(root, environ))
        alone = {
            name: stack.enter_context(serve((str(framework), *options, name), uploaded, environ))
            for name in FUNCTIONS
        }
        launched = alone["launch"].post("/order", json={"payment_timeout": 60})
        path = f"/{launched.json()['workflow_id']}"
        reason = wait_until(lambda: waits(alone["explain"].get(path).json()))
        signalled = alone["signal"].post(f"{path}/payment", json={"paid": True})
        events = alone["status"].get(path, headers={"Accept": "text/event-stream"})
        status = alone["status"].get(path, params={"wait": 30})
        steps = alone["steps"].get(path).json()["steps"]
        listed = alone["list"].get("/", params={"status": "SUCCESS"}).json()["workflows"]
        documents = [alone["openapi"].get(url).json() for url in ("/", "/openapi.json")]
        ended = [alone[name].post(path).status_code for name in ("cancel", "resume")]
        elsewhere = {name: client.get("/some/thing/else") for name, client in alone.items()}

    assert launched.headers["Location"] == f"/status{path}"
    assert reason["reason"] == "waiting_for_signal"
    assert signalled.status_code == 202
    assert "event: end" in events.text
    assert status.json()["result"]["state"] == "shipped"
    assert {"reserve", "ship"} <= {step["name"] for step in steps}
    assert [f"/{each['workflow_id']}" for each in listed] == [path]
    assert documents[0] == documents[1]
    assert "/launch/order" in documents[0]["paths"]
    assert ended == [409, 409]
    assert {answer.status_code for answer in elsewhere.values()} == {404, 405}


@pytest.mark.parametrize("platform", PLATFORMS)
def test_every_platform_starts_with_nothing_but_its_requirements(
    platform: str, source: Path, tmp_path: Path, environ: dict[str, str]
) -> None:
    """As the deploy page lays them out, and without what only other platforms need."""
    adapter, own = PLATFORMS[platform]
    directory = tmp_path / platform
    files = source / "platforms" / platform
    if platform == "vercel":
        shutil.copytree(source, directory)
    else:
        shutil.copytree(files, directory)
        shutil.copytree(source, directory / "functions")
    python = install(files / "requirements.txt", tmp_path / "venv") / "python"
    look = f"[name for name in {ADAPTERS} if importlib.util.find_spec(name)]"
    code = f"import runpy, importlib.util; runpy.run_path({adapter!r}); print({look})"

    started = subprocess.run(
        [python, "-c", code], cwd=directory, env=environ, capture_output=True, text=True
    )

    assert started.stdout == f"{own}\n", started.stderr


def waits(explained: dict[str, Any]) -> dict[str, Any] | None:
    """The explanation of a workflow that waits for a signal."""
    return explained if explained.get("reason") == "waiting_for_signal" else None


def install(requirements: Path, directory: Path) -> Path:
    """A new virtual environment of this Python; returns where its commands are."""
    uv = os.environ.get("UV", "uv")
    python = str(directory / "bin" / "python")
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, directory], check=True)
    subprocess.run(
        [uv, "pip", "install", "--quiet", "--python", python, "-r", str(requirements)], check=True
    )
    return directory / "bin"
