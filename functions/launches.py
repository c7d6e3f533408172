"""One launch: what is enqueued, how, and what there is already instead."""

import hashlib
import json
import math
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from dbos import DBOSClient, EnqueueOptions, WorkflowHandle
from dbos import error as dbos_error
from starlette.requests import Request

from .access import Caller, caller, visible
from .body import json_calls
from .catalog import Workflow, catalog
from .client import engine
from .errors import (
    BadParameter,
    DuplicateWorkflow,
    KeyReused,
    NotWithBatch,
    NotWithKey,
    PartitionKeyMeaningless,
    PartitionKeyMissing,
    ReplayIncomplete,
)
from .parameters import Query, idempotency_key
from .settings import settings
from .tables import add_to_batch, holder, time_now
from .tracing import trace_context
from .waiting import LONGEST as LONGEST_WAIT

LONGEST_DELAY = 10 * 366 * 24 * 3600.0
"""Seconds; ten years."""

HIGHEST_PRIORITY = 2**31 - 1

NAMESPACE = uuid.UUID("0d7a8b52-6f3c-4f7e-9d0b-6a6f0f1c2b3d")
"""In which an Idempotency-Key becomes a workflow id (UUID version 5, RFC 9562)."""

FINGERPRINT = "idempotency_fingerprint"
"""The attribute of a workflow that tells which arguments its Idempotency-Key came with."""


@dataclass(frozen=True)
class Launch:
    """What a caller wants to be launched: one workflow, or a batch of it."""

    workflow: str
    calls: Mapping[str, dict[str, Any]]
    by: Caller
    key: str | None
    options: EnqueueOptions
    wait: float

    @property
    def is_batch(self) -> bool:
        """Whether the body was an array."""
        return "" not in self.calls

    @cached_property
    def ids(self) -> list[str]:
        """The ids of the new workflows: random, or what the Idempotency-Key always leads to."""
        return [self._id(at) for at in range(len(self.calls))]

    def _id(self, at: int) -> str:
        if self.key is None:
            return str(uuid.uuid4())
        scope = [settings().app_name, self.by.name, self.workflow, self.key, at]
        return str(uuid.uuid5(NAMESPACE, json.dumps(scope)))

    @cached_property
    def fingerprint(self) -> str:
        """Tells these arguments from others; it depends on the id, so that it cannot be guessed."""
        body = [self.ids[0], self.is_batch, [*self.calls.values()]]
        return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


class PartlyThere(Exception):
    """Of a batch with an Idempotency-Key not the first workflow is there, but others are."""


class Launched(NamedTuple):
    """What became of a launch: a new workflow, or the one that there is already."""

    workflow_id: str
    name: str
    status: str
    replayed: bool = False
    pause: int = 1
    """Seconds before which nothing will happen."""


async def read_launch(request: Request, workflow: str) -> Launch:
    """What `request` wants, before the database is asked about it.

    Raises what Query, `idempotency_key` and `json_calls` raise, NotWithBatch and NotWithKey.
    """
    query = Query(
        request,
        "delay",
        "timeout",
        "priority",
        "deduplication_id",
        "on_duplicate",
        "partition_key",
        "wait",
    )
    by, key = caller(request), idempotency_key(request)
    options, wait = _options(query, by), query.number("wait", LONGEST_WAIT)
    if trace := trace_context(request):
        options["otel_context"] = trace
    launch = Launch(workflow, await json_calls(request), by, key, options, wait or 0.0)
    for parameter in ("deduplication_id", "wait"):
        if launch.is_batch and query.text(parameter) is not None:
            raise NotWithBatch(parameter=parameter)
    if key and options.get("duplication_policy") == "return-existing":
        raise NotWithKey(parameter="on_duplicate")  # Nothing could tell later what was returned.
    return launch


def _options(query: Query, by: Caller) -> EnqueueOptions:
    given = {
        "delay_seconds": query.number("delay", LONGEST_DELAY) or None,
        "workflow_timeout": query.number("timeout", LONGEST_DELAY, least=0.001),
        "priority": query.integer("priority", 1, HIGHEST_PRIORITY),
        "deduplication_id": _scoped(query.text("deduplication_id"), by),
        "queue_partition_key": query.text("partition_key"),
        "authenticated_user": by.name,
        "authenticated_roles": list(by.roles) or None,
    }
    options = EnqueueOptions(workflow_name="", queue_name="")
    options.update({name: value for name, value in given.items() if value is not None})  # type: ignore[typeddict-item]
    on_duplicate = query.choice("on_duplicate", "reject", "return")
    if on_duplicate and "deduplication_id" in options:
        options["duplication_policy"] = "reject" if on_duplicate == "reject" else "return-existing"
    return options


def _scoped(deduplication_id: str | None, by: Caller) -> str | None:
    """The deduplication id of this caller alone, so that nobody can block or find others'."""
    if deduplication_id is None or by.name is None:
        return deduplication_id
    return f"{hashlib.sha256(by.name.encode()).hexdigest()[:16]}:{deduplication_id}"


def enqueue(launch: Launch, client: DBOSClient) -> list[Launched]:
    """Enqueue what is to be launched, all of it or nothing, or find what it was launched as before.

    Raises UnknownWorkflow, InvalidArguments, PartitionKeyMissing, PartitionKeyMeaningless,
    DuplicateWorkflow, KeyReused, ReplayIncomplete.
    """
    options = _complete(launch, catalog().accept(launch.workflow, launch.calls))
    try:
        ids = _insert(launch, options, client)
    except (dbos_error.DBOSWorkflowIDInUseError, PartlyThere):
        return _replay(launch, client) or enqueue(launch, client)
    except dbos_error.DBOSQueueDeduplicatedError:
        # Of two that come with the same Idempotency-Key at the same time, one may see this first.
        if launch.key and (replayed := _replay(launch, client)):
            return replayed
        if other := holder(engine(), options["queue_name"], options["deduplication_id"]):
            raise DuplicateWorkflow(workflow_id=other) from None
        return enqueue(launch, client)  # It has ended meanwhile.
    if ids != launch.ids:
        there = visible(launch.by, ids[0])
        return [Launched(there.workflow_id, there.name, there.status)]
    delay = launch.options.get("delay_seconds")
    status, pause = ("DELAYED", math.ceil(delay)) if delay else ("ENQUEUED", 1)
    return [Launched(each, launch.workflow, status, pause=pause) for each in ids]


def _complete(launch: Launch, workflow: Workflow) -> EnqueueOptions:
    if workflow.partitioned and "queue_partition_key" not in launch.options:
        raise PartitionKeyMissing(queue=workflow.queue)
    if workflow.partitioned and "deduplication_id" in launch.options:
        raise BadParameter("deduplication_id", "absent, since the queue is partitioned")
    if not workflow.partitioned and "queue_partition_key" in launch.options:
        raise PartitionKeyMeaningless(queue=workflow.queue)
    options = launch.options | EnqueueOptions(
        workflow_name=workflow.name, queue_name=workflow.queue
    )
    if delay := launch.options.get("delay_seconds"):
        options["delay_seconds"] = delay + _behind()
    if launch.key:
        options["workflow_id_reuse_policy"] = "reject"
        options["attributes"] = {FINGERPRINT: launch.fingerprint}
    return options


def _behind() -> float:
    """By how many seconds the clock here, from which DBOS delays, is behind that of Postgres."""
    return time_now(engine()) - time.time()


def _insert(launch: Launch, options: EnqueueOptions, client: DBOSClient) -> list[str]:
    (new_id, arguments), *others = zip(launch.ids, launch.calls.values(), strict=True)
    first = options | {"workflow_id": new_id}
    if not launch.is_batch:
        handle: WorkflowHandle[Any] = client.enqueue(first, **arguments)
        return [handle.workflow_id]
    with engine().begin() as transaction:
        client.enqueue_in_transaction(transaction, first, **arguments)
        new = add_to_batch(transaction, launch.ids[0], dict(others))
        if launch.key and new < len(others):
            raise PartlyThere
    return launch.ids


def _replay(launch: Launch, client: DBOSClient) -> list[Launched]:
    """What was launched with this Idempotency-Key; nothing if that has been deleted.

    Raises KeyReused, ReplayIncomplete.
    """
    found = client.list_workflows(workflow_ids=launch.ids, load_input=False, load_output=False)
    if any((each.attributes or {}).get(FINGERPRINT) != launch.fingerprint for each in found):
        raise KeyReused
    if 0 < len(found) < len(launch.ids):
        raise ReplayIncomplete
    statuses = {each.workflow_id: each.status for each in found}
    return [
        Launched(each, launch.workflow, status, replayed=True)
        for each in launch.ids
        if (status := statuses.get(each))
    ]
