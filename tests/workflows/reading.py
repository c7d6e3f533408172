"""Workflows that read what others have written, in whatever form."""

from dbos import DBOS, WorkflowSerializationFormat

from worker import workflow


def read(what: str, workflow_id: str) -> object:
    """Read one value of a kind."""
    if what == "signal":
        return DBOS.recv("go", timeout_seconds=60)
    if what == "result":
        return DBOS.retrieve_workflow(workflow_id).get_result()
    if what == "event":
        return DBOS.get_event(workflow_id, "progress", timeout_seconds=60)
    return list(DBOS.read_stream(workflow_id, "log"))


@workflow(queue="order_queue")
def reads(what: str, workflow_id: str = "") -> list[str]:
    """Read a value, and a signal after it; tell the exceptions, or the values."""
    told = []
    for kind in (what, "signal"):
        try:
            told.append(repr(read(kind, workflow_id)))
        except Exception as error:
            told.append(f"{type(error).__name__}: {error}")
    return told


@DBOS.step()
def number() -> int:
    """A step."""
    return 1


@workflow(queue="order_queue")
def steps_once() -> int:
    """Execute one step."""
    return number()


@workflow(queue="order_queue")
def asks_status(workflow_id: str) -> int:
    """Ask for the status and the steps of another run, and for a list of all."""
    status = DBOS.get_workflow_status(workflow_id)
    steps = DBOS.list_workflow_steps(workflow_id)
    return len([status, *DBOS.list_workflows(), *steps])


@workflow(queue="order_queue")
def pickles() -> None:
    """Ask DBOS to store a pickle."""
    DBOS.set_event("progress", 1, serialization_type=WorkflowSerializationFormat.NATIVE)


@DBOS.workflow(name="private")
def private() -> None:
    """A workflow that the catalog does not have."""
