"""What can keep local_dev from starting, and its site from doing what it is told."""

from functions.errors import FunctionError


class CannotStart(Exception):
    """One sentence that says why; the command ends with it."""


class ForeignRequest(FunctionError):
    """Only the page of local_dev itself, on this machine, may do this, with application/json."""

    status = 403
    title = "Foreign request"


class ForeignHost(FunctionError):
    """This is for this machine alone: call it localhost, 127.0.0.1 or [::1], not {host!r}."""

    status = 403
    title = "Foreign host"


class NoWorkerRunning(FunctionError):
    """No worker is running at the moment."""

    status = 409
    title = "No worker running"
