"""A copy of the project, so that tests may add workflows and edit code."""

import shutil
from pathlib import Path

ROOT = Path(__file__).parent.parent

WORKFLOWS = Path(__file__).parent / "workflows"

BUILT = shutil.ignore_patterns("__pycache__", "node_modules", ".next")
"""What is made from the project, and may be large."""


def copy_project(directory: Path) -> Path:
    """Copy the deployables to `directory`, and the tests' own workflows among them."""
    for name in ("functions", "worker", "local_dev"):
        shutil.copytree(ROOT / name, directory / name, ignore=BUILT)
    for file in WORKFLOWS.glob("*.py"):
        shutil.copy(file, directory / "worker" / "workflows")
    return directory
