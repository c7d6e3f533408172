"""A copy of the project, so that tests may add workflows and edit code."""

import shutil
from pathlib import Path

ROOT = Path(__file__).parent.parent

WORKFLOWS = Path(__file__).parent / "workflows"


def copy_project(directory: Path) -> Path:
    """Copy the deployables to `directory`, and the tests' own workflows among them."""
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("functions", "worker", "local_dev"):
        shutil.copytree(ROOT / name, directory / name, ignore=ignored)
    for file in WORKFLOWS.glob("*.py"):
        shutil.copy(file, directory / "worker" / "workflows")
    return directory
