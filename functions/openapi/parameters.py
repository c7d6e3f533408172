"""What requests may carry beside a body, as components."""

from typing import Any

from ..answers import STATUSES
from ..cursor import LONGEST as LONGEST_CURSOR
from ..cursor import PATTERN as CURSOR_PATTERN
from ..launches import HIGHEST_PRIORITY, LONGEST_DELAY
from ..parameters import LONGEST
from ..signals import LONGEST_TOPIC
from ..waiting import LONGEST as LONGEST_WAIT

Component = dict[str, Any]


def _parameter(
    where: str, name: str, description: str, schema: Component, **more: Any
) -> Component:
    return {"name": name, "in": where, "description": description, "schema": schema, **more}


def _seconds(**bounds: float) -> Component:
    return {"type": "number", **bounds}


def _many(items: Component) -> Component:
    return {"type": "array", "items": items}


TEXT = {
    "type": "string",
    "minLength": 1,
    "maxLength": LONGEST,
    "pattern": r"^[^\x00]*[^\x00\s][^\x00]*$",
}

TOPIC = TEXT | {"maxLength": LONGEST_TOPIC, "pattern": r"^[^/\x00]*[^/\x00\s][^/\x00]*$"}

MOMENT = {"type": "string", "format": "date-time"}

KEY = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]([ -~]*[!-~])?$"}
"""Printable ASCII; HTTP takes spaces off its ends."""

PARAMETERS = {
    "WorkflowId": _parameter(
        "path",
        "workflow_id",
        "The id of a workflow, as its launch has answered it.",
        TEXT,
        required=True,
    ),
    "Topic": _parameter("path", "topic", "What the workflow listens for.", TOPIC, required=True),
    "Delay": _parameter(
        "query", "delay", "Seconds before it may begin.", _seconds(minimum=0, maximum=LONGEST_DELAY)
    ),
    "Timeout": _parameter(
        "query",
        "timeout",
        "Seconds it may take once it has begun; then it is cancelled.",
        _seconds(minimum=0.001, maximum=LONGEST_DELAY),
    ),
    "Priority": _parameter(
        "query",
        "priority",
        "In its queue, lower ones run first.",
        {"type": "integer", "minimum": 1, "maximum": HIGHEST_PRIORITY},
    ),
    "DeduplicationId": _parameter(
        "query", "deduplication_id", "At most one active workflow in its queue has it.", TEXT
    ),
    "OnDuplicate": _parameter(
        "query",
        "on_duplicate",
        "Whether an active duplicate by `deduplication_id` is refused (409), as it is without "
        "this, or answered in its place (202), which no Idempotency-Key can have. Without "
        "`deduplication_id` there is no duplicate, and this makes no difference.",
        {"type": "string", "enum": ["reject", "return"]},
    ),
    "PartitionKey": _parameter(
        "query", "partition_key", "Its part of the queue.", TEXT, required=True
    ),
    "Wait": _parameter(
        "query",
        "wait",
        "Hold the answer until the workflow has ended, for so many seconds at most.",
        _seconds(minimum=0, maximum=LONGEST_WAIT),
    ),
    "Events": _parameter(
        "query",
        "events",
        "Whether all that the workflow has told is shown; not with a stream of events.",
        {"type": "boolean", "default": False},
    ),
    "Progress": _parameter(
        "query",
        "progress",
        "Whether the progress of each is shown.",
        {"type": "boolean", "default": False},
    ),
    "CancelChildren": _parameter(
        "query",
        "cancel_children",
        "Whether the workflows that it has started are cancelled, too.",
        {"type": "boolean", "default": False},
    ),
    "Status": _parameter(
        "query",
        "status",
        "Only workflows in one of these states.",
        _many({"type": "string", "enum": [*STATUSES]}),
    ),
    "Workflow": _parameter(
        "query", "workflow", "Only workflows of one of these names.", _many(TEXT)
    ),
    "Since": _parameter("query", "since", "Only what was created then or later.", MOMENT),
    "Until": _parameter("query", "until", "Only what was created before.", MOMENT),
    "Limit": _parameter(
        "query",
        "limit",
        "How many there are on one page.",
        {"type": "integer", "minimum": 1, "maximum": 100, "default": 20},
    ),
    "Cursor": _parameter(
        "query",
        "cursor",
        "The `next_cursor` of the page before.",
        {"type": "string", "maxLength": LONGEST_CURSOR, "pattern": f"^{CURSOR_PATTERN}$"},
    ),
    "IdempotencyKey": _parameter(
        "header",
        "Idempotency-Key",
        "Printable ASCII. A second request with the same key is answered like the first, and has "
        "no effect of its own.",
        KEY,
    ),
    "IfNoneMatch": _parameter(
        "header",
        "If-None-Match",
        "An `ETag`; as long as it is still the status', the answer is 304.",
        {"type": "string"},
    ),
    "LastEventId": _parameter(
        "header",
        "Last-Event-ID",
        "Where a stream of events goes on: the `id` of an event, which is never longer than 8192 "
        "characters. Without a stream it means nothing.",
        {"type": "string"},
    ),
}
