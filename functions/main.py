"""The functions: each parses its request, uses a client of its own, and answers."""

import gc

gc.disable()  # Until all is imported: to look for garbage meanwhile is a tenth of a cold start.

import re
from collections.abc import Callable
from contextlib import suppress

from dbos import DBOSClient
from starlette.requests import Request
from starlette.responses import Response

from . import answers, tables
from .access import Caller, caller, visible
from .catalog import catalog
from .client import engine, use_client
from .cursor import LONGEST as LONGEST_CURSOR
from .cursor import Cursor
from .errors import (
    DatabaseRefused,
    DatabaseUnavailable,
    NothingHere,
    NotWithEventStream,
    UnknownWorkflowId,
    WrongState,
)
from .launches import enqueue, read_launch
from .parameters import Query
from .settings import settings
from .tables import INTERNAL_QUEUE, Workflow
from .target import argument, target, workflow_id
from .waiting import LONGEST as LONGEST_WAIT
from .waiting import finished, unless_gone

gc.freeze()
gc.enable()

NO = re.compile(r"\bq=0(\.0*)?$")
"""What says of a media type that it is not wanted (RFC 9110)."""


@target("POST")
async def launch(request: Request) -> Response:
    """`POST /{workflow}` with its named arguments in JSON, or an array of them: enqueue it."""
    wanted = await read_launch(request, argument(request))
    launched = await use_client(lambda client: enqueue(wanted, client))
    one = launched[0]
    if wanted.is_batch:
        return answers.accepted_batch(launched, replayed=one.replayed, pause=one.pause)
    if wanted.wait:
        # It was launched all the same.
        with suppress(DatabaseUnavailable, DatabaseRefused, UnknownWorkflowId):
            await unless_gone(request, finished(one.workflow_id, wanted.wait))
            ended = await use_client(_status(wanted.by, one.workflow_id))
            if "Retry-After" not in ended.headers:
                ended.headers.update(answers.replay(one.replayed))
                return ended
    return answers.accepted(one, replayed=one.replayed, pause=one.pause)


@target("GET")
async def status(request: Request) -> Response:
    """`GET /{workflow_id}`: its state, whether it runs, has finished or has failed."""
    wanted, by = workflow_id(request), caller(request)
    query = Query(request, "wait", "events")
    wait = query.number("wait", LONGEST_WAIT) or 0.0
    events = query.choice("events", "true", "false") == "true"
    if _wants_events(request):
        if events:
            raise NotWithEventStream(parameter="events")
        from .events import event_stream  # Only here, to keep other cold starts short.

        return await event_stream(request, by, wanted)
    read = _status(by, wanted, events=events)
    answer = await use_client(read)
    if wait and "Retry-After" in answer.headers:
        await unless_gone(request, finished(wanted, wait))
        answer = await use_client(read)
    return answers.if_changed(request, answer)


@target("POST")
async def cancel(request: Request) -> Response:
    """`POST /{workflow_id}`: end it before its next step, and its children if that is wanted."""
    query = Query(request, "cancel_children")
    children = query.choice("cancel_children", "true", "false") == "true"

    def end(client: DBOSClient, workflow: Workflow) -> bool:
        if workflow.status not in answers.UNFINISHED:
            return False
        client.cancel_workflow(workflow.workflow_id, cancel_children=children)
        return True

    now = await _control(request, "cancelled", end)
    if now.status in ("SUCCESS", "ERROR"):  # It was faster.
        raise WrongState(workflow_id=now.workflow_id, state=now.status, done="cancelled")
    return answers.accepted(now)


@target("POST")
async def resume(request: Request) -> Response:
    """`POST /{workflow_id}`: enqueue it again, to go on from its last step."""
    Query(request)

    def enqueue_again(_: DBOSClient, workflow: Workflow) -> bool:
        published = catalog().workflows().get(workflow.name)
        queue = published.queue if published else INTERNAL_QUEUE
        return tables.resume(engine(), workflow.workflow_id, queue)

    return answers.accepted(await _control(request, "resumed", enqueue_again))


@target("POST")
async def signal(request: Request) -> Response:
    """`POST /{workflow_id}/{topic}` with a JSON value: send it to the workflow."""
    from .signals import read_signal, send  # Only here, to keep other cold starts short.

    wanted = await read_signal(request)
    workflow, replayed = await use_client(lambda client: send(wanted, client))
    return answers.accepted(workflow, replayed=replayed)


@target("GET")
async def list(request: Request) -> Response:
    """`GET /`: a page of the workflows that the caller may see, newest first."""
    if argument(request):
        raise NothingHere
    query = Query(request, "status", "workflow", "since", "until", "limit", "cursor", "progress")
    progress = query.choice("progress", "true", "false") == "true"
    limit = query.integer("limit", 1, 100) or 20
    last = Cursor.parse(text) if (text := query.text("cursor", LONGEST_CURSOR)) else None
    sight = caller(request).sight
    filters = {
        "statuses": query.choices("status", answers.STATUSES) or None,
        "names": query.texts("workflow") or None,
        "since": query.time("since"),
        "until": query.time("until"),
        "last_created_at": last and last.created_at,
        "last_id": last and last.workflow_id,
    }
    found = await use_client(
        lambda _: tables.workflows(engine(), sight, progress=progress, limit=limit + 1, **filters)
    )
    shown, more = found.workflows[:limit], len(found.workflows) > limit
    next_cursor = str(Cursor(shown[-1].created_at, shown[-1].workflow_id)) if more else None
    return answers.page(shown, next_cursor, found.progress[:limit])


@target("GET")
async def steps(request: Request) -> Response:
    """`GET /{workflow_id}`: what it has recorded so far, in order."""
    Query(request)
    wanted, by = workflow_id(request), caller(request)

    def read(_: DBOSClient) -> Response:
        visible(by, wanted)
        return answers.steps(wanted, tables.steps(engine(), wanted))

    return await use_client(read)


@target("GET")
async def explain(request: Request) -> Response:
    """`GET /{workflow_id}`: why it is where it is."""
    from .explanation import Situation  # Only here, to keep other cold starts short.

    Query(request)
    wanted, by = workflow_id(request), caller(request)

    def read(_: DBOSClient) -> Response:
        workflow = visible(by, wanted)
        rows = tables.situation(engine(), settings().app_name, wanted)
        situation = Situation(*rows, published=workflow.name in catalog().workflows())
        return answers.explanation(workflow, *situation.explain(), situation.facts())

    return await use_client(read)


@target("GET")
async def openapi(request: Request) -> Response:
    """`GET /openapi.json`: all functions, with the types of every workflow in the catalog."""
    if argument(request) not in ("", "openapi.json"):
        raise NothingHere
    from .openapi import document  # Only here, to keep other cold starts short.

    Query(request)
    workflows = await use_client(lambda _: catalog().workflows())
    usable = [each for each in workflows.values() if each.is_usable]
    return answers.Answer(document(usable, auth=settings().auth))


def _status(by: Caller, wanted: str, *, events: bool = False) -> Callable[[DBOSClient], Response]:
    def read(_: DBOSClient) -> Response:
        return answers.status(*tables.status(engine(), by.sight, wanted, events=events))

    return read


def _wants_events(request: Request) -> bool:
    accepted = request.headers.get("accept", "").lower().replace(" ", "").split(",")
    ranges = [each.partition(";")[::2] for each in accepted]
    return any(media == "text/event-stream" and not NO.search(rest) for media, rest in ranges)


async def _control(
    request: Request, done: str, act: Callable[[DBOSClient, Workflow], bool]
) -> Workflow:
    """Do something to the workflow in the path; returns how it is now.

    `act` tells whether its state allowed it. Raises UnknownWorkflowId, WrongState.
    """
    wanted, by = workflow_id(request), caller(request)
    tried = False

    def work(client: DBOSClient) -> Workflow:
        nonlocal tried
        again, tried = tried, True  # When a connection has died, it may have been done already.
        acted = act(client, visible(by, wanted))
        now = visible(by, wanted)
        if not acted and not again:
            raise WrongState(workflow_id=wanted, state=now.status, done=done)
        return now

    return await use_client(work)


if __name__ == "main":  # The name that functions-framework gives it: an instance is starting.
    from . import internals

    settings()
    internals.limit_headers()
    internals.route_every_method()
