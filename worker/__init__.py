"""The worker: executes the workflows in `worker/workflows/` durably."""

from .catalog import workflow

__all__ = ["workflow"]
