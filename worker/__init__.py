"""The worker: executes the workflows in `worker/workflows/` durably."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .declarations import workflow
    from .public import PublicError
else:

    def __getattr__(name):
        """Import what is asked for, and with it dbos, only when a module asks for it."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from .declarations import workflow
        from .public import PublicError

        return {"workflow": workflow, "PublicError": PublicError}[name]


__all__ = ["PublicError", "workflow"]
