"""The guide's two server actions, as literally in Python as they can be."""

import os

import flask
import functions_framework
from dbos import DBOSClient, EnqueueOptions, WorkflowHandle


def get_client() -> DBOSClient:
    """A client for one invocation."""
    return DBOSClient(system_database_url=os.environ["DBOS_SYSTEM_DATABASE_URL"])


@functions_framework.http
def launch(request: flask.Request) -> dict[str, str]:
    """Enqueue a greeting, also for later, which the guide does not do."""
    client = get_client()
    options: EnqueueOptions = {"workflow_name": "greeting", "queue_name": "task_queue"}
    if "delay" in request.args:
        options["delay_seconds"] = float(request.args["delay"])
    try:
        handle: WorkflowHandle[str] = client.enqueue(options, **request.get_json())
        return {"workflowID": handle.get_workflow_id()}
    finally:
        client.destroy()


@functions_framework.http
def status(request: flask.Request) -> dict[str, object]:
    """The state of a workflow, and its result."""
    client = get_client()
    try:
        handle: WorkflowHandle[object] = client.retrieve_workflow(request.path.removeprefix("/"))
        status = handle.get_status().status
        result = handle.get_result() if status == "SUCCESS" else None
        return {"status": status, "result": result}
    finally:
        client.destroy()
