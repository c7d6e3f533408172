"""The bodies and headers of answers."""

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from dbos import WorkflowStatus
from starlette.responses import JSONResponse

from .settings import settings
from .tables import Outcome

UNFINISHED = {"ENQUEUED", "DELAYED", "PENDING"}

RETRY_AFTER = {"Retry-After": "1"}
"""Seconds after which asking again is worth it (RFC 9110)."""


class Answer(JSONResponse):
    """A JSON answer that can carry every string there is."""

    def render(self, content: Any) -> bytes:
        """Write lone surrogates as JSON escapes, since UTF-8 cannot hold them."""
        text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode(errors="backslashreplace")


def launched(workflow_id: str, workflow: str) -> Answer:
    """202: the workflow is enqueued; `Location` is where to follow it."""
    body = {
        "workflow_id": workflow_id,
        "workflow": workflow,
        "status": "ENQUEUED",
        "links": _links(workflow_id),
    }
    return Answer(body, 202, RETRY_AFTER | {"Location": _status_url(workflow_id)})


def status(workflow: WorkflowStatus, outcome: Outcome) -> Answer:
    """200: the state of a workflow; times are RFC 3339 in UTC, or null."""
    body = {
        "workflow_id": workflow.workflow_id,
        "workflow": workflow.name,
        "queue": workflow.queue_name,
        "status": workflow.status,
        "created_at": _time(workflow.created_at),
        "updated_at": _time(workflow.updated_at),
        "started_at": _time(workflow.dequeued_at),
        "completed_at": _time(workflow.completed_at),
        "attempts": workflow.recovery_attempts,
        "application_version": workflow.app_version,
        "progress": outcome.progress,
    }
    if workflow.status == "SUCCESS":
        body["result"] = outcome.result
    if workflow.status == "ERROR":
        body["error"] = _error(outcome.error)
    body["links"] = _links(workflow.workflow_id)
    return Answer(body, headers=RETRY_AFTER if workflow.status in UNFINISHED else None)


def _links(workflow_id: str) -> dict[str, str]:
    return {"status": _status_url(workflow_id)}


def _status_url(workflow_id: str) -> str:
    return f"{settings().status_url}/{quote(workflow_id, safe='')}"


def _time(milliseconds: int | None) -> str | None:
    if milliseconds is None:
        return None
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _error(error: Any) -> dict[str, str]:
    if not isinstance(error, dict):
        return {"name": "Error", "message": "The error is not stored as portable JSON."}
    return {"name": str(error.get("name")), "message": str(error.get("message"))}
