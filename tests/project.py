"""A copy of the project, so that tests may add workflows and edit code."""

import shutil
from pathlib import Path

ROOT = Path(__file__).parent.parent

WORKFLOWS = Path(__file__).parent / "workflows"

BUILT = shutil.ignore_patterns("__pycache__", "node_modules", ".next")
"""What is made from the project, and may be large."""


SHIPPED = {"__init__.py", "greeting.py", "order.py", "report.py"}
"""The files of worker/workflows that are the project's own."""


PARTITIONED = '''
from dbos import DBOS

from worker import workflow


@workflow(queue="tenant_queue")
def tenant(number: int) -> str | None:
    """Tell the queue's partition."""
    return DBOS.workflow_id
'''
"""A workflow in a queue that has limits for each partition."""


def copy_project(directory: Path, root: Path = ROOT) -> Path:
    """Copy the deployables to `directory`, with the tests' own workflows.

    The files that a fork has added to worker/workflows stay out: the names of its workflows may be
    those of the tests.
    """

    def left_out(copied: str, names: list[str]) -> set[str]:
        added = Path(copied) == root / "worker" / "workflows"
        return {*BUILT(copied, names), *(set(names) - SHIPPED if added else ())}

    for name in ("functions", "worker", "local_dev"):
        shutil.copytree(root / name, directory / name, ignore=left_out)
    for file in WORKFLOWS.glob("*.py"):
        shutil.copy(file, directory / "worker" / "workflows")
    return directory


def add_partitioned(project: Path) -> None:
    """Declare `tenant_queue`, and the workflow `tenant` in it, in a copy of the project."""
    queues = project / "worker" / "queues.py"
    declared = queues.read_text().replace(
        "QUEUES = (", 'QUEUES = (\n    Queue("tenant_queue", partition_concurrency=1),\n    '
    )
    queues.write_text(declared)
    (project / "worker" / "workflows" / "tenant.py").write_text(PARTITIONED)
