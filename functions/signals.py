"""One signal: a message to a workflow, which receives it with `DBOS.recv(topic)`."""

import json
import uuid
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from dbos import DBOSClient
from dbos import error as dbos_error
from starlette.requests import Request

from .access import Caller, caller, visible
from .answers import UNFINISHED, as_json
from .arguments import check
from .body import json_value
from .catalog import catalog
from .client import engine
from .errors import (
    InvalidArguments,
    InvalidSignal,
    KeyReused,
    NothingHere,
    UnknownWorkflowId,
    ValueTooLarge,
    WrongState,
)
from .parameters import Query, idempotency_key
from .settings import settings
from .tables import Workflow, message
from .target import argument, checked_id

LONGEST_TOPIC = 255

NAMESPACE = uuid.UUID("a4bb4a4c-5b6e-4ff5-8f2e-0c4f6c1f7a11")
"""In which an Idempotency-Key becomes the id of a message (UUID version 5, RFC 9562)."""


@dataclass(frozen=True)
class Signal:
    """What a caller wants a workflow to be told."""

    workflow_id: str
    topic: str
    value: Any
    by: Caller
    key: str | None

    @cached_property
    def idempotency_key(self) -> str:
        """The key for DBOS, which knows one scope only: a workflow.

        There always is one, so that a second attempt on another connection sends nothing twice.
        """
        if self.key is None:
            return str(uuid.uuid4())
        return str(uuid.uuid5(NAMESPACE, repr((self.by.name, self.topic, self.key))))


async def read_signal(request: Request) -> Signal:
    """What `request` wants; raises NothingHere, UnknownWorkflowId and what `json_value` raises."""
    Query(request)
    workflow_id, _, topic = argument(request).rpartition("/")
    if not topic.strip() or "\0" in topic or len(topic) > LONGEST_TOPIC or not workflow_id:
        raise NothingHere
    key = idempotency_key(request)
    value = await json_value(request)
    if len(as_json(value)) > (limit := settings().max_value_bytes):
        raise ValueTooLarge(limit=limit)
    return Signal(checked_id(workflow_id), topic, value, caller(request), key)


def send(signal: Signal, client: DBOSClient) -> tuple[Workflow, bool]:
    """Send the signal, unless it was sent before; whether its Idempotency-Key says so.

    Raises UnknownWorkflowId, WrongState, InvalidSignal, KeyReused.
    """
    workflow = visible(signal.by, signal.workflow_id)
    if signal.key and _is_sent(signal):
        return workflow, True
    if workflow.status in UNFINISHED:
        _check(workflow, signal)
        _deliver(signal, client)
    elif not _is_sent(signal):  # By an attempt whose connection has died.
        raise WrongState(workflow_id=signal.workflow_id, state=workflow.status, done="signalled")
    return workflow, False


def _deliver(signal: Signal, client: DBOSClient) -> None:
    try:
        client.send(signal.workflow_id, signal.value, signal.topic, signal.idempotency_key)
    except dbos_error.DBOSNonExistentWorkflowError as error:
        raise UnknownWorkflowId(workflow_id=signal.workflow_id) from error
    if signal.key:
        _is_sent(signal)  # Perhaps by somebody else, at the same time.


def _check(workflow: Workflow, signal: Signal) -> None:
    """Raise InvalidSignal unless the value is what the workflow has declared for the topic."""
    declared = catalog().workflows().get(workflow.name)
    if declared and signal.topic in declared.signals:
        try:
            check({"": signal.value}, declared.signal_validators[signal.topic])
        except InvalidArguments as error:
            raise InvalidSignal(errors=vars(error)["errors"]) from None


def _is_sent(signal: Signal) -> bool:
    """Whether the same was sent, by an earlier attempt or with the key; raises KeyReused."""
    message_id = f"{signal.idempotency_key}::{signal.workflow_id}"  # As DBOS makes it.
    sent = message(engine(), message_id)
    if sent and (sent[0].bytes or _canonical(sent[0].value) != _canonical(signal.value)):
        raise KeyReused
    return bool(sent)


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
