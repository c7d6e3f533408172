"""The workflows that the project ships, as functions read them when a worker has published them."""

from dataclasses import fields

import worker.workflows
from functions.catalog import Workflow
from worker.declarations import find_workflows


def shipped() -> list[Workflow]:
    """Without what a worker publishes for itself."""
    read = [field.name for field in fields(Workflow)]
    return [
        Workflow(**{name: getattr(entry, name) for name in read})
        for entry in find_workflows(worker.workflows)
    ]
