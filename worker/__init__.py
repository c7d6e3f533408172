"""The worker: executes the workflows in `worker/workflows/` durably."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .declarations import workflow
else:

    def __getattr__(name):
        """Import `workflow`, and with it dbos, only when a module asks for it."""
        if name != "workflow":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from .declarations import workflow

        return workflow


__all__ = ["workflow"]
