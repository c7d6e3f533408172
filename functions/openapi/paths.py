"""The operations: one for each workflow that can be launched, and the other functions."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any
from urllib.parse import quote

from ..arguments import Schema
from .bodies import ANYTHING, Typed, either
from .definitions import component
from .names import Names, pascal
from .responses import FORBIDDEN, answer, refusals

TAGS = [
    {"name": "launch", "description": "Start workflows."},
    {"name": "follow", "description": "See how workflows are, whether or not a worker is alive."},
    {"name": "control", "description": "Intervene in workflows."},
    {"name": "about", "description": "This document."},
]

LAUNCH_OPTIONS = ("Delay", "Timeout", "Priority", "Wait", "IdempotencyKey")

DEDUPLICATION = ("DeduplicationId", "OnDuplicate")
"""What a partitioned queue has not; it has partition keys instead."""

LIST_FILTERS = ("Status", "Workflow", "Since", "Until", "Limit", "Cursor", "Progress")

EVENTS = """
Server-sent events, each with an id, after which `Last-Event-ID` goes on:

- `status`: the status as in JSON, at once and whenever it changes
- `progress`: the progress, whenever it changes
- `stream`: `{"key", "offset", "value"}`, each value that the workflow writes to a stream; one that
  is too large is null, beside its size, `value_bytes`
- `end`: `{"status"}`, the last event
- `reconnect`: `{}`, before the server closes the stream of a workflow that has not ended
"""

ACCEPTED = {"202": {"$ref": "#/components/responses/Accepted"}}

Operation = dict[str, Any]

Answers = dict[str, dict[str, Any]]

Errors = Callable[..., Answers]


def paths(workflows: list[Typed], auth: str) -> dict[str, dict[str, Operation]]:
    """All paths, each with its operation."""
    refused = partial(refusals, auth)
    return {
        **{f"/launch/{_encoded(each.workflow.name)}": _launch(each, refused) for each in workflows},
        "/status/{workflow_id}": _status(workflows, refused),
        "/steps/{workflow_id}": _look("getSteps", "Its steps, in order", "Steps", refused),
        "/explain/{workflow_id}": _look(
            "explainWorkflow", "Why it is not further", "Explanation", refused
        ),
        "/list": _list(refused),
        "/cancel/{workflow_id}": _control(
            "cancelWorkflow", "Cancel a workflow that has not ended", refused, "CancelChildren"
        ),
        "/resume/{workflow_id}": _control(
            "resumeWorkflow", "Go on with a workflow that was cancelled or given up", refused
        ),
        **_signals(workflows, refused),
        "/openapi.json": _about(refused),
    }


def _operation(
    name: str,
    tag: str,
    summary: str,
    answers: Answers,
    parameters: Iterable[str] = (),
    **more: Any,
) -> Operation:
    """An operation, which takes `parameters` by the names of their components."""
    return {
        "operationId": name,
        "tags": [tag],
        "summary": summary,
        **more,
        "parameters": [{"$ref": f"#/components/parameters/{each}"} for each in parameters],
        "responses": answers,
    }


def _json(schema: Schema, *, required: bool) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": schema}}, "required": required}


def _launch(typed: Typed, refused: Errors) -> dict[str, Operation]:
    workflow = typed.workflow
    answers = {
        "200": answer("It has ended within `wait` seconds.", typed.status, ["ETag"]),
        "202": answer(
            "Enqueued: one, or all of a batch.",
            either(component("Launched"), component("Batch")),
            ["Location", "Retry-After", "Idempotency-Replayed"],
        ),
        **refused(FORBIDDEN, 404, 408, 409, 413, 415, 422),
    }
    return {
        "post": _operation(
            f"launch{typed.label}",
            "launch",
            f"Launch {workflow.name}",
            answers,
            [*LAUNCH_OPTIONS, *(["PartitionKey"] if workflow.partitioned else DEDUPLICATION)],
            description=workflow.description,
            requestBody=_json(typed.calls, required=bool(workflow.arguments.get("required"))),
        )
    }


def _status(workflows: list[Typed], refused: Errors) -> dict[str, Operation]:
    known = either(*[each.status for each in workflows], component("Status"))
    found = answer("Its state, whatever that is.", known, ["ETag", "Retry-After"])
    found["content"]["text/event-stream"] = {"schema": {"type": "string", "description": EVENTS}}
    answers = {
        "200": found,
        "204": answer("The stream of events has ended before."),
        "304": answer("It is still as it was.", headers=["ETag", "Retry-After"]),
        **refused(404),
    }
    parameters = ("WorkflowId", "Wait", "Events", "IfNoneMatch", "LastEventId")
    return {
        "get": _operation("getStatus", "follow", "How a workflow is", answers, parameters),
    }


def _look(name: str, summary: str, body: str, refused: Errors) -> dict[str, Operation]:
    answers = {"200": answer(f"{summary}.", component(body)), **refused(404)}
    return {"get": _operation(name, "follow", summary, answers, ["WorkflowId"])}


def _list(refused: Errors) -> dict[str, Operation]:
    answers = {"200": answer("A page, newest first.", component("Page")), **refused()}
    return {"get": _operation("listWorkflows", "follow", "List workflows", answers, LIST_FILTERS)}


def _control(name: str, summary: str, refused: Errors, *parameters: str) -> dict[str, Operation]:
    answers = ACCEPTED | refused(FORBIDDEN, 404, 409)
    return {"post": _operation(name, "control", summary, answers, ["WorkflowId", *parameters])}


def _signals(workflows: list[Typed], refused: Errors) -> dict[str, dict[str, Operation]]:
    """A path for any topic with any value, and one for each that a workflow declares."""
    names = Names("signalWorkflow")
    topics: dict[str, list[Schema]] = {}
    for each in workflows:
        for topic, schema in each.signals.items():
            topics.setdefault(topic, []).append(schema)
    declared = {
        f"/signal/{{workflow_id}}/{_encoded(topic)}": _signal(
            names.free(f"signal{pascal(topic)}"),
            f"Send {topic} to a workflow that listens for it",
            either(*schemas),
            ["WorkflowId", "IdempotencyKey"],
            refused,
        )
        for topic, schemas in topics.items()
    }
    anything = _signal(
        "signalWorkflow",
        "Send a value to a workflow that has not ended",
        ANYTHING,
        ["WorkflowId", "Topic", "IdempotencyKey"],
        refused,
    )
    return declared | {"/signal/{workflow_id}/{topic}": anything}


def _signal(
    name: str, summary: str, body: Schema, parameters: list[str], refused: Errors
) -> dict[str, Operation]:
    answers = ACCEPTED | refused(FORBIDDEN, 404, 408, 409, 413, 415, 422)
    body = _json(body, required=True)
    return {
        "post": _operation(name, "control", summary, answers, parameters, requestBody=body),
    }


def _about(refused: Errors) -> dict[str, Operation]:
    answers = {"200": answer("An OpenAPI document.", {"type": "object"}), **refused()}
    return {"get": _operation("getOpenapi", "about", "This document", answers)}


def _encoded(name: str) -> str:
    return quote(name, safe="")
