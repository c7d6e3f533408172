"""The rules that keep the deployables apart and their modules inert."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = {"references", "platforms"}
"""Directories of modules that are started, not imported."""

MODULES = [
    path.relative_to(root).with_suffix("").as_posix().replace("/", ".")
    for root in [Path(__file__).parent.parent.parent]
    for package in ("functions", "worker", "local_dev")
    for path in (root / package).rglob("*.py")
    if path.stem != "__main__" and not PROGRAMS & {*path.parts}
]

REQUIREMENTS = sorted((Path(__file__).parents[2] / "functions").rglob("requirements.txt"))


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [("functions", {"worker", "local_dev"}), ("worker", {"functions", "local_dev"})],
)
def test_a_deployable_imports_no_other(root: Path, package: str, forbidden: set[str]) -> None:
    """Each deploys alone; what they agree on is data in Postgres."""
    imported = {
        name for path in (root / package).rglob("*.py") for name in imports(path.read_text())
    }

    assert imported & forbidden == set()


def test_importing_connects_to_nothing_and_reads_no_settings(root: Path) -> None:
    """Every module can be imported with no setting at all."""
    environ = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    code = f"import importlib; [importlib.import_module(name) for name in {MODULES}]"

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, env=environ, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "modules",
    [
        {"jwt", "cryptography"},
        {"sse_starlette", "functions.signals", "functions.explanation", "functions.openapi"},
        {"functions_framework", "flask"},
    ],
    ids=["tokens", "other functions", "another server"],
)
def test_a_cold_start_pays_only_for_what_it_needs(root: Path, modules: set[str]) -> None:
    """The rest is imported when somebody asks for it."""
    code = f"import sys, functions.asgi; print({modules} & set(sys.modules))"

    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)

    assert done.stdout == "set()\n", done.stderr


def test_garbage_is_collected_once_all_is_imported(root: Path) -> None:
    """It is not while functions start, which would take longer."""
    code = "import gc, functions.main; print(gc.isenabled(), gc.get_freeze_count() > 0)"

    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)

    assert done.stdout == "True True\n", done.stderr


@pytest.mark.parametrize("file", REQUIREMENTS, ids=lambda file: file.parent.name)
def test_requirements_are_those_of_the_lock(root: Path, file: Path) -> None:
    """Each `requirements.txt` is exported from `uv.lock`; its second line says how."""
    header, *requirements = file.read_text().splitlines()[1:]
    command = header.removeprefix("#").split()
    to_stdout = command[1 : command.index("-o")]

    exported = subprocess.run(
        [os.environ.get("UV", "uv"), *to_stdout], cwd=root, capture_output=True, text=True
    )

    assert exported.stdout.splitlines()[2:] == requirements, f"stale; run: {' '.join(command)}"
    assert command[-1] == file.relative_to(root).as_posix()


@pytest.mark.parametrize("file", REQUIREMENTS, ids=lambda file: file.parent.name)
def test_every_requirement_is_locked_with_its_hashes(file: Path) -> None:
    """One with a hash makes pip demand a hash of all."""
    entries = file.read_text().replace("\\\n", "").splitlines()
    required = [entry for entry in entries if not entry.lstrip().startswith("#")]

    assert required
    assert [entry for entry in required if "==" not in entry or "--hash=sha256:" not in entry] == []


def imports(source: str) -> set[str]:
    """The top-level names that `source` imports."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return {name.partition(".")[0] for name in names}
