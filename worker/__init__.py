"""The worker: executes the workflows in `worker/workflows/` durably."""

from .declarations import workflow

__all__ = ["workflow"]
