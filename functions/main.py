"""The functions: each parses its request, uses a client of its own, and answers."""

import uuid

from dbos import DBOSClient, EnqueueOptions
from starlette.requests import Request
from starlette.responses import Response

from . import answers
from .body import json_object
from .catalog import catalog
from .client import engine, use_client
from .errors import UnknownWorkflowId
from .settings import settings
from .tables import outcome
from .target import argument, target, workflow_id
from .tracing import trace_context


@target("POST")
async def launch(request: Request) -> Response:
    """`POST /{workflow}` with its named arguments in JSON: enqueue it."""
    name, arguments, new_id = argument(request), await json_object(request), str(uuid.uuid4())

    def enqueue(client: DBOSClient) -> None:
        options: EnqueueOptions = {
            "workflow_name": name,
            "queue_name": catalog().accept(name, arguments).queue,
            "workflow_id": new_id,
        }
        if trace := trace_context(request):
            options["otel_context"] = trace
        client.enqueue(options, **arguments)

    await use_client(enqueue)
    return answers.launched(new_id, name)


@target("GET")
async def status(request: Request) -> Response:
    """`GET /{workflow_id}`: its state, whether it runs, has finished or has failed."""
    wanted = workflow_id(request)

    def read(client: DBOSClient) -> Response:
        found = client.list_workflows(workflow_ids=[wanted], load_input=False, load_output=False)
        if not found:
            raise UnknownWorkflowId(workflow_id=wanted)
        return answers.status(found[0], outcome(engine(), wanted))

    return await use_client(read)


if __name__ == "main":  # The name that functions-framework gives it: an instance is starting.
    settings()
