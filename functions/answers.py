"""The bodies and headers of answers."""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import zip_longest
from typing import Any, Protocol
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from .failures import UNNAMED, failure
from .settings import settings
from .tables import MAX_STEPS, Events, Outcome, Step, Value, Workflow

UNFINISHED = {"ENQUEUED", "DELAYED", "PENDING"}

STATUSES = (*sorted(UNFINISHED), "SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED")

LONGEST_PAUSE = 3600
"""Seconds; a delay may be changed meanwhile."""

FIRST_TIME, LAST_TIME = -62_135_596_800_000, 253_402_300_799_000
"""Milliseconds of the epoch: the years 1 to 9999."""

STARTED_PER_SECOND = 100
"""What a worker starts at least of a queue without limits, to say when asking again is worth it."""


NOT_MODIFIED = {"etag", "cache-control", "vary", "retry-after"}
"""Headers that a 304 has, too."""


class Known(Protocol):
    """Whatever tells which workflow it is, and how it is."""

    @property
    def workflow_id(self) -> str:
        """Its id."""

    @property
    def name(self) -> str:
        """What was launched."""

    @property
    def status(self) -> str:
        """DBOS's own status."""


class Answer(JSONResponse):
    """A JSON answer that can carry every string there is, and that no cache keeps."""

    def __init__(
        self,
        content: Any,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        media_type: str | None = None,
    ) -> None:
        uncached = {"Cache-Control": "private, no-store"}
        super().__init__(content, status_code, uncached | dict(headers or {}), media_type)

    def render(self, content: Any) -> bytes:
        """The content as JSON."""
        return as_json(content)


def as_json(content: Any) -> bytes:
    """JSON in UTF-8, with lone surrogates as escapes, since UTF-8 cannot hold them."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode(errors="backslashreplace")


def accepted(workflow: Known, *, replayed: bool = False, pause: int = 1) -> Answer:
    """202: what was wanted is under way; `Location` is where to follow it.

    `pause` is after how many seconds asking is worth it.
    """
    headers = {"Location": _status_url(workflow.workflow_id), "Retry-After": str(pause)}
    return Answer(_accepted(workflow), 202, headers | replay(replayed))


def accepted_batch(workflows: Iterable[Known], *, replayed: bool = False, pause: int = 1) -> Answer:
    """202: all workflows of a batch are enqueued."""
    headers = {"Retry-After": str(pause)} | replay(replayed)
    return Answer({"workflows": [_accepted(each) for each in workflows]}, 202, headers)


def status(workflow: Workflow, outcome: Outcome) -> Answer:
    """200: the state of a workflow, and an entity tag (RFC 9110) that changes with it."""
    answer = Answer(status_body(workflow, outcome))
    answer.headers["ETag"] = f'"{hashlib.sha256(answer.body).hexdigest()[:32]}"'
    answer.headers["Cache-Control"] = "private, no-cache"
    answer.headers["Vary"] = "Accept"
    if workflow.status in UNFINISHED:
        answer.headers["Retry-After"] = str(_pause(workflow, outcome))
    return answer


def if_changed(request: Request, answer: Response) -> Response:
    """The answer, or 304 if it is what `If-None-Match` says that the caller has."""
    tags = [tag.strip().removeprefix("W/") for tag in _if_none_match(request)]
    if answer.headers["ETag"] not in tags and "*" not in tags:
        return answer
    kept = {name: value for name, value in answer.headers.items() if name in NOT_MODIFIED}
    return Response(status_code=304, headers=kept)


def status_body(workflow: Workflow, outcome: Outcome) -> dict[str, Any]:
    """All that is known of a workflow."""
    body = _summary(workflow) | told("progress", outcome.progress)
    if outcome.events is not None:
        body |= _told_events(outcome.events)
    if workflow.status == "SUCCESS":
        body |= told("result", outcome.result)
    if workflow.status == "ERROR":
        body["error"] = failure_body(outcome.error, workflow.workflow_id)
    return body | {"links": _links(workflow.workflow_id)}


def told(name: str, value: Value) -> dict[str, Any]:
    """A member with a value; what is too large is null, beside a member with its size in bytes."""
    size = {} if value.bytes is None else {f"{name}_bytes": value.bytes}
    return {name: value.value} | size


def failure_body(error: Value, workflow_id: str, step: int | None = None) -> dict[str, Any]:
    """The error of a workflow, or of one of its steps; of one that is too large only its size."""
    if error.bytes is not None:
        return {"name": UNNAMED, "message": f"The error is too large: {error.bytes} bytes."}
    return failure(error.value, workflow_id, step)


def page(
    workflows: Iterable[Workflow], next_cursor: str | None, progress: Sequence[Value] = ()
) -> Answer:
    """200: a page of workflows, perhaps each with its progress, and where the next one begins."""
    listed = [
        _summary(workflow)
        | (told("progress", known) if known else {})
        | {"links": _links(workflow.workflow_id)}
        for workflow, known in zip_longest(workflows, progress)
    ]
    return Answer({"workflows": listed, "next_cursor": next_cursor})


def steps(workflow_id: str, recorded: Sequence[Step]) -> Answer:
    """200: what a workflow has recorded, or the first MAX_STEPS of it."""
    listed = [
        {
            "name": step.name,
            "started_at": rfc3339(step.started_at),
            "completed_at": rfc3339(step.completed_at),
            "error": failure_body(step.error, workflow_id, step.number) if step.failed else None,
            "child_workflow_id": step.child_workflow_id,
        }
        for step in recorded[:MAX_STEPS]
    ]
    more = {"more": True} if len(recorded) > MAX_STEPS else {}
    return Answer({"workflow_id": workflow_id, "steps": listed} | more)


def explanation(workflow: Known, reason: str, sentence: str, facts: dict[str, Any]) -> Answer:
    """200: why a workflow is where it is."""
    body = {"reason": reason, "explanation": sentence, "facts": facts}
    return Answer(_accepted(workflow) | body)


def replay(replayed: bool) -> dict[str, str]:
    """The header that tells whether an Idempotency-Key was answered before."""
    return {"Idempotency-Replayed": "true"} if replayed else {}


def rfc3339(milliseconds: int | None) -> str | None:
    """A time of the database as RFC 3339 in UTC, which has four digits for the year."""
    if milliseconds is None:
        return None
    clamped = max(FIRST_TIME, min(milliseconds, LAST_TIME))
    moment = datetime.fromtimestamp(clamped / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _summary(workflow: Workflow) -> dict[str, Any]:
    return {
        "workflow_id": workflow.workflow_id,
        "workflow": workflow.name,
        "queue": workflow.queue_name,
        "status": workflow.status,
        "created_at": rfc3339(workflow.created_at),
        "updated_at": rfc3339(workflow.updated_at),
        "started_at": rfc3339(workflow.started_at),
        "completed_at": rfc3339(workflow.completed_at),
        "attempts": workflow.attempts,
        "application_version": workflow.application_version,
    }


def _accepted(workflow: Known) -> dict[str, Any]:
    return {
        "workflow_id": workflow.workflow_id,
        "workflow": workflow.name,
        "status": workflow.status,
        "links": _links(workflow.workflow_id),
    }


def _pause(workflow: Workflow, outcome: Outcome) -> int:
    """Seconds after which asking again is worth it."""
    if workflow.status == "DELAYED" and outcome.due_in is not None:
        return min(max(math.ceil(outcome.due_in), 1), LONGEST_PAUSE)
    return 1 + outcome.ahead // STARTED_PER_SECOND


def _if_none_match(request: Request) -> list[str]:
    return ",".join(request.headers.getlist("if-none-match")).split(",")


def _links(workflow_id: str) -> dict[str, str]:
    return {"status": _status_url(workflow_id)}


def _status_url(workflow_id: str) -> str:
    return f"{settings().status_url}/{quote(workflow_id, safe='')}"


def _told_events(events: Events) -> dict[str, Any]:
    sizes = {key: each.bytes for key, each in events.values.items() if each.bytes is not None}
    return (
        {"events": {key: each.value for key, each in events.values.items()}}
        | ({"events_bytes": sizes} if sizes else {})
        | ({"more_events": True} if events.more else {})
    )
